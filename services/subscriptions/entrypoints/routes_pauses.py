"""Routes of what a subscription goes through beside changes: pauses, its activation, its winning back."""

from __future__ import annotations

from starlette.responses import Response

from libs.common.web.late_routes import LateRouter
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application.activate_subscription import activate_subscription
from services.subscriptions.application.pause_subscription import (
    WithdrawPause,
    pause_subscription,
    resume_subscription,
    withdraw_pause,
)
from services.subscriptions.application.win_back import win_back
from services.subscriptions.domain.plan import PlanNotFound
from services.subscriptions.entrypoints.bodies import SubscriptionBody, SubscriptionId
from services.subscriptions.entrypoints.dependencies import AgreeCall, ClockDep, WriteCall
from services.subscriptions.entrypoints.pause_bodies import (
    ActivationBody,
    PauseCreateBody,
    ResumptionBody,
    WinBackBody,
)

router = LateRouter(prefix="/v1/subscriptions/{subscription_id}", tags=["subscriptions"])


@router.post("/pause", response_model=SubscriptionBody, summary="Pause a subscription")
async def post_pause(
    subscription_id: SubscriptionId, body: PauseCreateBody, call: AgreeCall, clock: ClockDep
) -> Response:
    """Now, on a date to come, or with effect from one that is over. What was charged for the time of the pause is given
    back as prices are prorated, also where it is settled later.
    """
    command = body.to_command(subscription_id)

    async def work(uow: SubscriptionsUnitOfWork) -> SubscriptionBody:
        paused = await pause_subscription(command, uow=uow, clock=clock, check_version=call.require_version)
        return SubscriptionBody.from_domain(paused)

    return await call.once(work, status=200)


@router.delete("/pause", response_model=SubscriptionBody, summary="Withdraw a planned pause")
async def delete_pause(subscription_id: SubscriptionId, call: WriteCall, clock: ClockDep) -> Response:
    """While it has not begun. One that has is ended by a resumption."""
    command = WithdrawPause(subscription_id)

    async def work(uow: SubscriptionsUnitOfWork) -> SubscriptionBody:
        going_on = await withdraw_pause(command, uow=uow, clock=clock, check_version=call.require_version)
        return SubscriptionBody.from_domain(going_on)

    return await call.change(work)


@router.post("/resumption", response_model=SubscriptionBody, summary="Resume a subscription")
async def post_resumption(
    subscription_id: SubscriptionId, body: ResumptionBody, call: AgreeCall, clock: ClockDep
) -> Response:
    """Now, on a date to come, or with effect from one that is over."""
    command = body.to_command(subscription_id)

    async def work(uow: SubscriptionsUnitOfWork) -> SubscriptionBody:
        resumed = await resume_subscription(command, uow=uow, clock=clock, check_version=call.require_version)
        return SubscriptionBody.from_domain(resumed)

    return await call.once(work, status=200)


@router.post("/activation", response_model=SubscriptionBody, summary="Activate a subscription")
async def post_activation(
    subscription_id: SubscriptionId, body: ActivationBody, call: AgreeCall, clock: ClockDep
) -> Response:
    """What its beginning waited for has come about. It begins on that day, or on the first of the month after it."""
    command = body.to_command(subscription_id)

    async def work(uow: SubscriptionsUnitOfWork) -> SubscriptionBody:
        begun = await activate_subscription(command, uow=uow, clock=clock, check_version=call.require_version)
        return SubscriptionBody.from_domain(begun)

    return await call.once(work, status=200)


@router.post("/win-back", status_code=201, response_model=SubscriptionBody, summary="Win a customer back")
async def post_win_back(
    subscription_id: SubscriptionId, body: WinBackBody, call: AgreeCall, clock: ClockDep
) -> Response:
    """A new subscription after the end of this one: on the same version of the plan, if that is still sold, or else on
    the newest, with the same add-ons and quantities, and without another trial.
    """
    command = body.to_command(subscription_id)

    async def work(uow: SubscriptionsUnitOfWork) -> SubscriptionBody:
        won = await win_back(command, uow=uow, clock=clock, check_version=call.require_version)
        return SubscriptionBody.from_domain(won)

    return await call.once(
        work, location=lambda made: f"/v1/subscriptions/{made.id}", awaiting=(PlanNotFound,)
    )
