"""Routes of plan moves."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application import queries
from services.subscriptions.application.move_plan import start_plan_move
from services.subscriptions.application.ports import MoveResultFilter
from services.subscriptions.domain.plan import PlanNotFound
from services.subscriptions.domain.plan_move import MoveOutcome
from services.subscriptions.entrypoints.dependencies import AgreeCall, ClockDep, ReadCall
from services.subscriptions.entrypoints.plan_move_bodies import (
    MoveResultBody,
    PlanMoveBody,
    PlanMoveCreateBody,
    PlanMoveId,
)

router = LateRouter(prefix="/v1/plan-moves", tags=["plan moves"])


@router.post("", status_code=202, response_model=PlanMoveBody, summary="Move the customers of a plan version")
async def post_plan_move(body: PlanMoveCreateBody, call: AgreeCall, clock: ClockDep) -> Response:
    """To another version, some hundred at a time; its status says how far it has come. Each subscription is moved as by a
    change of its own. One that cannot be moved is listed with the reason, and stays as it is; so does one whose customer
    has prices of its own.
    """
    command = body.to_command()

    async def work(uow: SubscriptionsUnitOfWork) -> PlanMoveBody:
        return PlanMoveBody.from_domain(await start_plan_move(command, uow=uow, clock=clock))

    return await call.once(
        work, status=202, location=lambda made: f"/v1/plan-moves/{made.id}", awaiting=(PlanNotFound,)
    )


@router.get("", response_model=Page[PlanMoveBody], summary="List plan moves")
async def list_plan_moves(call: ReadCall, page: PageDep) -> Response:
    """Oldest first."""

    async def work(uow: SubscriptionsUnitOfWork) -> Slice[PlanMoveBody]:
        return (await queries.list_plan_moves(page, uow=uow)).map(PlanMoveBody.from_domain)

    return await call.page(work)


@router.get("/{plan_move_id}", response_model=PlanMoveBody, summary="Show how far a plan move has come")
async def get_plan_move(plan_move_id: PlanMoveId, call: ReadCall) -> Response:
    async def work(uow: SubscriptionsUnitOfWork) -> PlanMoveBody:
        return PlanMoveBody.from_domain(await queries.get_plan_move(plan_move_id, uow=uow))

    return await call.read(work)


@router.get(
    "/{plan_move_id}/results",
    response_model=Page[MoveResultBody],
    summary="List what became of each subscription",
)
async def list_plan_move_results(
    plan_move_id: PlanMoveId,
    call: ReadCall,
    page: PageDep,
    outcome: Annotated[MoveOutcome | None, Query()] = None,
) -> Response:
    """In the order in which they were looked at."""
    wanted = MoveResultFilter(plan_move_id, outcome)

    async def work(uow: SubscriptionsUnitOfWork) -> Slice[MoveResultBody]:
        found = await queries.list_plan_move_results(wanted, page, uow=uow)
        return found.map(MoveResultBody.from_domain)

    return await call.page(work)
