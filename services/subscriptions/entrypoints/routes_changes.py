"""Routes of the changes of a subscription."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application import queries
from services.subscriptions.application.alter_change import WithdrawChange, alter_change, withdraw_change
from services.subscriptions.application.change_subscription import change_subscription
from services.subscriptions.application.ports import ChangeFilter
from services.subscriptions.domain.plan import PlanNotFound
from services.subscriptions.domain.scheduled_change import ChangeStatus
from services.subscriptions.entrypoints.bodies import SubscriptionId
from services.subscriptions.entrypoints.change_bodies import (
    ChangeAlterBody,
    ChangeBody,
    ChangeCreateBody,
    ChangeId,
    ChangeMadeBody,
)
from services.subscriptions.entrypoints.dependencies import AgreeCall, ClockDep, PortalReadCall, WriteCall

router = LateRouter(prefix="/v1/subscriptions/{subscription_id}/changes", tags=["changes"])


@router.post("", status_code=201, response_model=ChangeMadeBody, summary="Change a subscription")
async def post_change(
    subscription_id: SubscriptionId, body: ChangeCreateBody, call: AgreeCall, clock: ClockDep
) -> Response:
    """Now, with effect from a date that is over, at the end of the period, or on a date to come.

    What lies ahead waits as a scheduled change, which can be altered and withdrawn. It is checked now, and again when it
    is carried out. If-Match is about the subscription.
    """
    command = body.to_command(subscription_id)

    async def work(uow: SubscriptionsUnitOfWork) -> ChangeMadeBody:
        made = await change_subscription(command, uow=uow, clock=clock, check_version=call.require_version)
        return ChangeMadeBody.from_made(made)

    return await call.once(
        work,
        location=lambda made: f"/v1/subscriptions/{subscription_id}/changes/{made.id}",
        awaiting=(PlanNotFound,),
    )


@router.get("", response_model=Page[ChangeBody], summary="List the changes of a subscription")
async def list_changes(
    subscription_id: SubscriptionId,
    call: PortalReadCall,
    page: PageDep,
    status: Annotated[ChangeStatus | None, Query()] = None,
) -> Response:
    """In the order in which they were asked for; those that wait have the status scheduled."""
    wanted = ChangeFilter(subscription_id, status)

    async def work(uow: SubscriptionsUnitOfWork) -> Slice[ChangeBody]:
        found = await queries.list_changes(wanted, page, portal_customer=call.customer, uow=uow)
        return found.map(ChangeBody.from_domain)

    return await call.page(work)


@router.get("/{change_id}", response_model=ChangeBody, summary="Show a change of a subscription")
async def get_change(subscription_id: SubscriptionId, change_id: ChangeId, call: PortalReadCall) -> Response:
    async def work(uow: SubscriptionsUnitOfWork) -> ChangeBody:
        found = await queries.get_change(
            change_id, subscription_id=subscription_id, portal_customer=call.customer, uow=uow
        )
        return ChangeBody.from_domain(found)

    return await call.read(work)


@router.patch("/{change_id}", response_model=ChangeMadeBody, summary="Alter a scheduled change")
async def patch_change(
    subscription_id: SubscriptionId,
    change_id: ChangeId,
    body: ChangeAlterBody,
    call: WriteCall,
    clock: ClockDep,
) -> Response:
    """While it waits. What is left out stays as it was asked for."""
    command = body.to_command(subscription_id, change_id)

    async def work(uow: SubscriptionsUnitOfWork) -> ChangeMadeBody:
        made = await alter_change(command, uow=uow, clock=clock, check_version=call.require_version)
        return ChangeMadeBody.from_made(made)

    return await call.change(work, awaiting=(PlanNotFound,))


@router.delete("/{change_id}", response_model=ChangeMadeBody, summary="Withdraw a scheduled change")
async def delete_change(
    subscription_id: SubscriptionId, change_id: ChangeId, call: WriteCall, clock: ClockDep
) -> Response:
    """While it waits. It stays in the list, as withdrawn."""
    command = WithdrawChange(subscription_id, change_id)

    async def work(uow: SubscriptionsUnitOfWork) -> ChangeMadeBody:
        made = await withdraw_change(command, uow=uow, clock=clock, check_version=call.require_version)
        return ChangeMadeBody.from_made(made)

    return await call.change(work)
