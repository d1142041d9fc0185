"""Routes of test clocks."""

from __future__ import annotations

from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application import queries
from services.subscriptions.application.create_test_clock import (
    CreateTestClock,
    TenantNotKnown,
    create_test_clock,
)
from services.subscriptions.application.move_test_clock import MoveTestClock, move_test_clock
from services.subscriptions.entrypoints.bodies import TestClockId
from services.subscriptions.entrypoints.clock_bodies import (
    ClockMoveBody,
    ClockMoveCreateBody,
    MoveId,
    TestClockBody,
    TestClockCreateBody,
)
from services.subscriptions.entrypoints.dependencies import ClockDep, ClockMakeCall, ClockReadCall

router = LateRouter(prefix="/v1/test-clocks", tags=["test clocks"])


@router.post("", status_code=201, response_model=TestClockBody, summary="Make a test clock")
async def post_test_clock(body: TestClockCreateBody, call: ClockMakeCall, clock: ClockDep) -> Response:
    """The time of sandbox customers: subscriptions that name it live by it."""
    command = CreateTestClock(name=body.name, starts_at=body.starts_at)

    async def work(uow: SubscriptionsUnitOfWork) -> TestClockBody:
        return TestClockBody.from_domain(await create_test_clock(command, uow=uow, clock=clock))

    return await call.once(
        work, location=lambda made: f"/v1/test-clocks/{made.id}", awaiting=(TenantNotKnown,)
    )


@router.get("", response_model=Page[TestClockBody], summary="List test clocks")
async def list_test_clocks(call: ClockReadCall, page: PageDep) -> Response:
    """Oldest first."""

    async def work(uow: SubscriptionsUnitOfWork) -> Slice[TestClockBody]:
        return (await queries.list_test_clocks(page, uow=uow)).map(TestClockBody.from_domain)

    return await call.page(work)


@router.get("/{test_clock_id}", response_model=TestClockBody, summary="Show a test clock")
async def get_test_clock(test_clock_id: TestClockId, call: ClockReadCall) -> Response:
    async def work(uow: SubscriptionsUnitOfWork) -> TestClockBody:
        return TestClockBody.from_domain(await queries.get_test_clock(test_clock_id, uow=uow))

    return await call.read(work)


@router.post(
    "/{test_clock_id}/moves", status_code=202, response_model=ClockMoveBody, summary="Move a test clock"
)
async def post_clock_move(
    test_clock_id: TestClockId, body: ClockMoveCreateBody, call: ClockMakeCall, clock: ClockDep
) -> Response:
    """Forward, through everything that falls due on the way; follow it at the Location.

    A clock makes one move at a time; to ask for the one under way again answers with that one.
    """
    command = MoveTestClock(test_clock_id=test_clock_id, to=body.to)

    async def work(uow: SubscriptionsUnitOfWork) -> ClockMoveBody:
        return ClockMoveBody.from_domain(await move_test_clock(command, uow=uow, clock=clock))

    return await call.once(
        work, status=202, location=lambda made: f"/v1/test-clocks/{test_clock_id}/moves/{made.id}"
    )


@router.get(
    "/{test_clock_id}/moves/{move_id}", response_model=ClockMoveBody, summary="Follow a move of a test clock"
)
async def get_clock_move(test_clock_id: TestClockId, move_id: MoveId, call: ClockReadCall) -> Response:
    """It has arrived when all that was due by then is done, in every service."""

    async def work(uow: SubscriptionsUnitOfWork) -> ClockMoveBody:
        return ClockMoveBody.from_domain(
            await queries.get_clock_move(move_id, test_clock_id=test_clock_id, uow=uow)
        )

    return await call.read(work)
