"""Routes of plan overlays."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.application import queries
from services.catalog.application.create_plan_overlay import create_plan_overlay
from services.catalog.application.ports import PlanOverlayFilter
from services.catalog.application.withdraw_plan_overlay import WithdrawPlanOverlay, withdraw_plan_overlay
from services.catalog.entrypoints.coupon_bodies import CustomerId
from services.catalog.entrypoints.dependencies import ClockDep, MakeCall, ReadCall, WriteCall
from services.catalog.entrypoints.plan_bodies import PlanId
from services.catalog.entrypoints.plan_overlay_bodies import (
    OverlayId,
    PlanOverlayBody,
    PlanOverlayCreateBody,
)

router = LateRouter(prefix="/v1/plan-overlays", tags=["plan overlays"])


@router.post("", status_code=201, response_model=PlanOverlayBody, summary="Make a plan overlay")
async def post_plan_overlay(body: PlanOverlayCreateBody, call: MakeCall, clock: ClockDep) -> Response:
    """One customer's own amounts for a plan version, without a copy of the plan. Every fault is listed.

    It never changes: withdraw it and make another one. A customer has one for a version at a time.
    """
    command = body.to_command()

    async def work(uow: CatalogUnitOfWork) -> PlanOverlayBody:
        return PlanOverlayBody.from_domain(await create_plan_overlay(command, uow=uow, clock=clock))

    return await call.once(work, location=lambda made: f"/v1/plan-overlays/{made.id}")


@router.get("", response_model=Page[PlanOverlayBody], summary="List plan overlays")
async def list_plan_overlays(
    call: ReadCall,
    page: PageDep,
    customer_id: Annotated[CustomerId | None, Query()] = None,
    plan_id: Annotated[PlanId | None, Query()] = None,
    withdrawn: Annotated[bool | None, Query(description="Only withdrawn ones, or only others.")] = None,
) -> Response:
    """Oldest first, withdrawn ones included unless told otherwise."""
    wanted = PlanOverlayFilter(customer_id=customer_id, plan_id=plan_id, withdrawn=withdrawn)

    async def work(uow: CatalogUnitOfWork) -> Slice[PlanOverlayBody]:
        return (await queries.list_plan_overlays(wanted, page, uow=uow)).map(PlanOverlayBody.from_domain)

    return await call.page(work)


@router.get("/{overlay_id}", response_model=PlanOverlayBody, summary="Show a plan overlay")
async def get_plan_overlay(overlay_id: OverlayId, call: ReadCall) -> Response:
    async def work(uow: CatalogUnitOfWork) -> PlanOverlayBody:
        return PlanOverlayBody.from_domain(await queries.get_plan_overlay(overlay_id, uow=uow))

    return await call.read(work)


@router.post("/{overlay_id}/withdrawal", response_model=PlanOverlayBody, summary="Withdraw a plan overlay")
async def post_plan_overlay_withdrawal(overlay_id: OverlayId, call: WriteCall, clock: ClockDep) -> Response:
    """It is no longer offered; a subscription that has it keeps it. Withdrawing it again changes nothing."""
    command = WithdrawPlanOverlay(overlay_id=overlay_id)

    async def work(uow: CatalogUnitOfWork) -> PlanOverlayBody:
        withdrawn = await withdraw_plan_overlay(
            command, uow=uow, clock=clock, check_version=call.require_version
        )
        return PlanOverlayBody.from_domain(withdrawn)

    return await call.change(work)
