"""Routes of previews: what a new subscription, a change or the next invoice would come to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from fastapi import Request

from libs.common.clock import Clock
from libs.common.web.late_routes import LateRouter
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application.activate_subscription import activate_subscription
from services.subscriptions.application.cancel_subscription import cancel_subscription
from services.subscriptions.application.change_subscription import change_subscription
from services.subscriptions.application.now import business_now
from services.subscriptions.application.pause_subscription import (
    pause_subscription,
    resume_subscription,
)
from services.subscriptions.application.pointing import inside
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.application.preview import PreviewPeers, Rehearsed, Shown, rehearse, show
from services.subscriptions.application.start_subscription import start_subscription
from services.subscriptions.domain.plan import PlanNotFound
from services.subscriptions.domain.subscription import Subscription
from services.subscriptions.entrypoints.bodies import SubscriptionId
from services.subscriptions.entrypoints.dependencies import ClockDep, ReadCall
from services.subscriptions.entrypoints.preview_bodies import (
    NewSubscriptionPreviewBody,
    PreviewBody,
    SubscriptionPreviewBody,
)

router = LateRouter(prefix="/v1", tags=["previews"])

Change = Callable[[UnitOfWork], Awaitable[Subscription]]


@router.post(
    "/subscription-previews", response_model=PreviewBody, summary="Preview a subscription to be agreed on"
)
async def post_new_preview(
    body: NewSubscriptionPreviewBody, request: Request, call: ReadCall, clock: ClockDep
) -> PreviewBody:
    """What it would be, and the invoice that its beginning makes, or the next one too. Nothing is kept."""
    command = body.subscription.to_command()

    async def change(uow: UnitOfWork) -> Subscription:
        with inside("/subscription"):
            return await start_subscription(command, uow=uow, clock=clock)

    return await _preview(change, body.show, request, call, clock)


@router.post(
    "/subscriptions/{subscription_id}/previews",
    response_model=PreviewBody,
    summary="Preview a change or the next invoice",
)
async def post_preview(
    subscription_id: SubscriptionId,
    body: SubscriptionPreviewBody,
    request: Request,
    call: ReadCall,
    clock: ClockDep,
) -> PreviewBody:
    """By the very code that does it: the lines are those of the later invoice, if nothing else happens by then.

    Nothing is kept, whatever is asked for. Usage counts as of now.
    """

    async def change(uow: UnitOfWork) -> Subscription:
        return await _asked(subscription_id, body, uow, clock)

    return await _preview(change, body.show, request, call, clock)


async def _asked(id: str, body: SubscriptionPreviewBody, uow: UnitOfWork, clock: Clock) -> Subscription:
    with inside(f"/{body.asked}"):
        if body.change is not None:
            made = await change_subscription(body.change.to_command(id), uow=uow, clock=clock)
            return made.subscription
        if body.cancellation is not None:
            return await cancel_subscription(body.cancellation.to_command(id), uow=uow, clock=clock)
        if body.pause is not None:
            return await pause_subscription(body.pause.to_command(id), uow=uow, clock=clock)
        if body.resumption is not None:
            return await resume_subscription(body.resumption.to_command(id), uow=uow, clock=clock)
        if body.activation is not None:
            return await activate_subscription(body.activation.to_command(id), uow=uow, clock=clock)
    return await uow.subscriptions.get_for_update(id)


async def _preview(
    change: Change, shown: Shown, request: Request, call: ReadCall, clock: Clock
) -> PreviewBody:
    async def work(uow: SubscriptionsUnitOfWork) -> None:
        async def now(subscription: Subscription) -> datetime:
            return await business_now(subscription.test_clock_id, uow=uow, clock=clock)

        await rehearse(change, shown=shown, now=now, uow=uow)

    try:
        await call.run(work, awaiting=(PlanNotFound,))
    except Rehearsed as rehearsed:
        peers: PreviewPeers = request.app.state.preview_peers
        return PreviewBody.from_preview(await show(rehearsed, tenant=call.tenant, peers=peers))
    raise AssertionError("a rehearsal ends with what it showed")
