"""The usage of a window thing by thing, over HTTP."""

from __future__ import annotations

from typing import Annotated, Self

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import DecimalText, Instant, StrictBody
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.list_usage_segments import UsageSegment, list_usage_segments
from services.metering.entrypoints.bodies import AnyId, WindowId
from services.metering.entrypoints.dependencies import ClockDep, PortalReadCall

router = LateRouter(prefix="/v1/usage-windows", tags=["usage windows"])


class UsageSegmentBody(StrictBody):
    """What a subject counted from `start` until before `end`: while it was bound to the item, within the window."""

    subject: str
    asset_id: str | None
    start: Instant
    end: Instant
    quantity: DecimalText
    event_count: int

    @classmethod
    def from_view(cls, segment: UsageSegment) -> Self:
        return cls(
            subject=segment.binding.subject,
            asset_id=segment.binding.asset_id,
            start=segment.start,
            end=segment.end,
            quantity=segment.usage.quantity,
            event_count=segment.usage.event_count,
        )


@router.get(
    "/{window_id}/segments", response_model=Page[UsageSegmentBody], summary="List a window's usage by subject"
)
async def list_usage_window_segments(
    window_id: WindowId,
    call: PortalReadCall,
    page: PageDep,
    clock: ClockDep,
    item_id: Annotated[AnyId | None, Query()] = None,
) -> Response:
    """What stands behind one line: each thing that was bound to the item, one after another where one was exchanged.

    As what is stored by now counts, also what came after the window was closed. Of several items, `item_id` names one.
    """

    async def work(uow: MeteringUnitOfWork) -> Slice[UsageSegmentBody]:
        found = await list_usage_segments(window_id, item_id, page, of=call.customer, uow=uow, clock=clock)
        return found.map(UsageSegmentBody.from_view)

    return await call.page(work)
