"""Routes of subscriptions."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import Code, ExternalId
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application import queries
from services.subscriptions.application.cancel_subscription import (
    WithdrawCancellation,
    cancel_subscription,
    withdraw_cancellation,
)
from services.subscriptions.application.ports import SubscriptionFilter
from services.subscriptions.application.start_subscription import start_subscription
from services.subscriptions.domain.plan import PlanNotFound
from services.subscriptions.domain.subscription import SubscriptionState
from services.subscriptions.entrypoints.bodies import (
    CancellationBody,
    SubscriptionBody,
    SubscriptionCreateBody,
    SubscriptionId,
)
from services.subscriptions.entrypoints.customer_bodies import CustomerId
from services.subscriptions.entrypoints.dependencies import (
    AgreeCall,
    ClockDep,
    MakeCall,
    PortalReadCall,
    WriteCall,
)

router = LateRouter(prefix="/v1/subscriptions", tags=["subscriptions"])


@router.post("", status_code=201, response_model=SubscriptionBody, summary="Start a subscription")
async def post_subscription(body: SubscriptionCreateBody, call: AgreeCall, clock: ClockDep) -> Response:
    """It begins at once, or on a day to come. A start in the past is caught up with, period by period.

    A plan that was published a moment ago is waited for.
    """

    async def work(uow: SubscriptionsUnitOfWork) -> SubscriptionBody:
        started = await start_subscription(body.to_command(), uow=uow, clock=clock)
        return SubscriptionBody.from_domain(started)

    return await call.once(
        work, location=lambda made: f"/v1/subscriptions/{made.id}", awaiting=(PlanNotFound,)
    )


@router.get("", response_model=Page[SubscriptionBody], summary="List subscriptions")
async def list_subscriptions(
    call: PortalReadCall,
    page: PageDep,
    customer_id: Annotated[CustomerId | None, Query()] = None,
    status: Annotated[SubscriptionState | None, Query()] = None,
    external_id: Annotated[ExternalId | None, Query()] = None,
    plan: Annotated[Code | None, Query(description="The plan's code.")] = None,
) -> Response:
    """Oldest first, those that are over included."""
    wanted = SubscriptionFilter(
        customer_id=customer_id, state=status, external_id=external_id, plan_code=plan
    )

    async def work(uow: SubscriptionsUnitOfWork) -> Slice[SubscriptionBody]:
        found = await queries.list_subscriptions(wanted, page, portal_customer=call.customer, uow=uow)
        return found.map(SubscriptionBody.from_domain)

    return await call.page(work)


@router.get("/{subscription_id}", response_model=SubscriptionBody, summary="Show a subscription")
async def get_subscription(subscription_id: SubscriptionId, call: PortalReadCall) -> Response:
    """With its items, its current period and what comes next."""

    async def work(uow: SubscriptionsUnitOfWork) -> SubscriptionBody:
        found = await queries.get_subscription(subscription_id, portal_customer=call.customer, uow=uow)
        return SubscriptionBody.from_domain(found)

    return await call.read(work)


@router.post(
    "/{subscription_id}/cancellation", response_model=SubscriptionBody, summary="Cancel a subscription"
)
async def post_cancellation(
    subscription_id: SubscriptionId, body: CancellationBody, call: MakeCall, clock: ClockDep
) -> Response:
    """At once, at an instant to come, or at the end of the current period. What was paid in advance stays paid.

    One that then never begins is over at once; every other ends when its time comes.
    """
    command = body.to_command(subscription_id)

    async def work(uow: SubscriptionsUnitOfWork) -> SubscriptionBody:
        canceled = await cancel_subscription(
            command, uow=uow, clock=clock, check_version=call.require_version
        )
        return SubscriptionBody.from_domain(canceled)

    return await call.once(work, status=200)


@router.delete(
    "/{subscription_id}/cancellation", response_model=SubscriptionBody, summary="Withdraw a cancellation"
)
async def delete_cancellation(subscription_id: SubscriptionId, call: WriteCall, clock: ClockDep) -> Response:
    """Possible until the end has come."""
    command = WithdrawCancellation(subscription_id=subscription_id)

    async def work(uow: SubscriptionsUnitOfWork) -> SubscriptionBody:
        running = await withdraw_cancellation(
            command, uow=uow, clock=clock, check_version=call.require_version
        )
        return SubscriptionBody.from_domain(running)

    return await call.change(work)
