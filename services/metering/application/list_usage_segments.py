"""The usage of a window, thing by thing: what each subject counted while it was bound to the item."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.clock import Clock
from libs.common.paging import PageRequest, Slice
from services.metering.application.ports import UnitOfWork
from services.metering.application.queries import (
    MeteredItemNotFound,
    UsageQuestionUnclear,
    get_usage_window,
)
from services.metering.application.reads import BoundTo
from services.metering.domain.aggregation import NO_USAGE, Usage
from services.metering.domain.subject_binding import SubjectBinding


@dataclass(frozen=True, slots=True)
class UsageSegment:
    """What a subject counted from `start` until `end`: while it was bound, and within the window."""

    binding: SubjectBinding
    start: datetime
    end: datetime
    usage: Usage


async def list_usage_segments(
    window_id: str, item_id: str | None, page: PageRequest, *, of: str | None, uow: UnitOfWork, clock: Clock
) -> Slice[UsageSegment]:
    """In the order in which the subjects were bound, as what is stored by now counts.

    Segments of meters that add up sum to the item's usage of the window, with what came after it was closed.
    Raises: UsageWindowNotFound, MeteredItemNotFound, UsageQuestionUnclear.
    """
    window = await get_usage_window(window_id, of=of, uow=uow)
    found = {(item.item_id, item.meter) for item in window.measured_items if item_id in (None, item.item_id)}
    if not found:
        raise MeteredItemNotFound("the window has no such item", item_id=item_id)
    if len(found) > 1:
        raise UsageQuestionUnclear("the window has several items: name one by item_id")
    ((counted, meter),) = found
    versions = await uow.reads.list_meter_versions(meter)
    wanted = BoundTo(counted, meter, window.window_start, window.window_end)
    bindings = await uow.reads.list_bindings_of_item(wanted, page)
    now = clock.system_now()
    segments = []
    for binding in bindings.items:
        start = max(window.window_start, binding.bound_from)
        end = min(window.window_end, binding.bound_until or window.window_end)
        sums = await uow.reads.sum_usage(
            versions,
            [start, end],
            subject=binding.subject,
            item_ids=[counted],
            asset_id=None,
            dimensions=(),
            filters={},
            zone="UTC",
            until=min(end, now),
            rows_max=1,
        )
        segments.append(UsageSegment(binding, start, end, sums[0].usage if sums else NO_USAGE))
    return Slice(items=tuple(segments), next=bindings.next)
