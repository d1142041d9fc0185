"""Routes of usage alerts, and of what they have fired."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import Code
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application import queries
from services.metering.application.define_usage_alert import define_usage_alert
from services.metering.application.queries import MeteredItemNotFound
from services.metering.application.reads import AlertFilter
from services.metering.application.withdraw_usage_alert import WithdrawUsageAlert, withdraw_usage_alert
from services.metering.entrypoints.bodies import AnyId
from services.metering.entrypoints.dependencies import ClockDep, MakeCall, PortalReadCall, WriteCall
from services.metering.entrypoints.usage_alert_bodies import (
    AlertId,
    FiringBody,
    UsageAlertBody,
    UsageAlertCreateBody,
)

router = LateRouter(prefix="/v1/usage-alerts", tags=["usage alerts"])


@router.post("", status_code=201, response_model=UsageAlertBody, summary="Make a usage alert")
async def post_usage_alert(body: UsageAlertCreateBody, call: MakeCall, clock: ClockDep) -> Response:
    """Marks that usage of the period under way has reached already fire at once."""
    command = body.to_command()

    async def work(uow: MeteringUnitOfWork) -> UsageAlertBody:
        return UsageAlertBody.from_domain(await define_usage_alert(command, uow=uow, clock=clock))

    return await call.once(
        work, location=lambda made: f"/v1/usage-alerts/{made.id}", awaiting=(MeteredItemNotFound,)
    )


@router.get("", response_model=Page[UsageAlertBody], summary="List usage alerts")
async def list_usage_alerts(
    call: PortalReadCall,
    page: PageDep,
    subscription_id: Annotated[AnyId | None, Query()] = None,
    customer_id: Annotated[AnyId | None, Query()] = None,
    item_id: Annotated[AnyId | None, Query()] = None,
    meter: Annotated[Code | None, Query()] = None,
) -> Response:
    wanted = AlertFilter(subscription_id, customer_id, item_id, meter)

    async def work(uow: MeteringUnitOfWork) -> Slice[UsageAlertBody]:
        found = await queries.list_usage_alerts(wanted, page, of=call.customer, uow=uow)
        return found.map(UsageAlertBody.from_domain)

    return await call.page(work)


@router.get("/{alert_id}", response_model=UsageAlertBody, summary="Show a usage alert")
async def get_usage_alert(alert_id: AlertId, call: PortalReadCall) -> Response:
    async def work(uow: MeteringUnitOfWork) -> UsageAlertBody:
        return UsageAlertBody.from_domain(await queries.get_usage_alert(alert_id, of=call.customer, uow=uow))

    return await call.read(work)


@router.delete("/{alert_id}", status_code=204, summary="Take a usage alert away")
async def delete_usage_alert(alert_id: AlertId, call: WriteCall) -> Response:
    """What it has fired is forgotten with it; one that is made again fires again."""

    async def work(uow: MeteringUnitOfWork) -> None:
        await withdraw_usage_alert(WithdrawUsageAlert(alert_id), uow=uow, check_version=call.require_version)

    return await call.change(work)


@router.get(
    "/{alert_id}/firings", response_model=Page[FiringBody], summary="List what a usage alert has fired"
)
async def list_firings(alert_id: AlertId, call: PortalReadCall, page: PageDep) -> Response:
    """One for each mark that was reached in each billing period."""

    async def work(uow: MeteringUnitOfWork) -> Slice[FiringBody]:
        found = await queries.list_firings(alert_id, page, of=call.customer, uow=uow)
        return found.map(FiringBody.from_domain)

    return await call.page(work)
