"""How much was used: of whom, of what, from when until when, cut by time and by dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.common.clock import Clock
from services.metering.application.ports import UnitOfWork
from services.metering.application.reads import AnswerPosition, UsageRow
from services.metering.application.usage_question import Asked, UsageQuestion, make_clear
from services.metering.domain.aggregation import NO_USAGE, Usage
from services.metering.domain.meter import Meter
from services.metering.domain.usage_slices import TooManySlices, slice_bounds

ROWS_MAX = 10_000
SLICES_DEFAULT = 1_000

Group = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class SlicePage:
    """At most `limit` slices, from the boundary `after` on, where the page before ended."""

    limit: int = SLICES_DEFAULT
    after: datetime | None = None


@dataclass(frozen=True, slots=True)
class UsageSlice:
    start: datetime
    end: datetime
    group: Mapping[str, str | None]
    usage: Usage


@dataclass(frozen=True, slots=True)
class UsageAnswer:
    """A page of whole slices, from `start` until `end` if it is the only one; `next` is where the following begins.

    All of it is read at one `position`. Until `filled_until` is None, older usage is still being summed up.
    """

    meter: Meter
    dimensions: tuple[str, ...]
    start: datetime
    end: datetime
    slices: Sequence[UsageSlice]
    position: AnswerPosition
    filled_until: datetime | None = None
    next: datetime | None = None


async def ask_usage(
    question: UsageQuestion, page: SlicePage, *, uow: UnitOfWork, clock: Clock
) -> UsageAnswer:
    """The usage that is stored by now. It always equals what the raw events say.

    Without groups there is a row for each slice, zero where nothing was used; with groups, one for each that
    was used. `fill` says otherwise: "none" leaves out what is zero, "zero" shows every group that was used at any
    time asked for in every slice. A page ends where its slices, or 10,000 rows, do.
    Raises: MeterNotFound, MeteredItemNotFound, UsageQuestionUnclear, DimensionUnknown, UsageFilterUnclear,
    EmptyRange, TooManySlices.
    """
    asked = await make_clear(question, clock.system_now(), uow=uow)
    position = await uow.reads.position()
    fill = question.fill or ("none" if asked.dimensions else "zero")
    groups: Sequence[Group] = [()]
    limit = page.limit
    if asked.dimensions and fill == "zero":
        groups = await _groups_seen(asked, uow)
        limit = max(1, min(limit, ROWS_MAX // max(1, len(groups))))
    bounds = slice_bounds(
        page.after or asked.start, asked.end, question.length, question.zone, slices_max=limit
    )
    found, slice_count = _whole_slices(await _sums(asked, bounds, uow), len(bounds) - 1)
    rows = _filled(found, groups, slice_count) if fill == "zero" else [row for row in found if _is_used(row)]
    reached = bounds[slice_count]
    return UsageAnswer(
        meter=asked.meter,
        dimensions=asked.dimensions,
        start=asked.start,
        end=asked.end,
        slices=[
            UsageSlice(
                bounds[row.slice],
                bounds[row.slice + 1],
                dict(zip(asked.dimensions, row.group, strict=True)),
                row.usage,
            )
            for row in rows
        ],
        position=position,
        filled_until=asked.filled_until,
        next=reached if reached < asked.end else None,
    )


async def _sums(asked: Asked, bounds: Sequence[datetime], uow: UnitOfWork) -> Sequence[UsageRow]:
    """By slice and group, nothing last; of more than `ROWS_MAX` rows the first and one more."""
    found = await uow.reads.sum_usage(
        asked.versions,
        bounds,
        subject=asked.question.subject,
        item_ids=asked.item_ids,
        asset_id=asked.question.asset_id,
        dimensions=asked.dimensions,
        filters=asked.filters,
        zone=asked.question.zone,
        until=asked.now,
        rows_max=ROWS_MAX,
    )
    return sorted(found, key=lambda row: (row.slice, _order(row.group)))


async def _groups_seen(asked: Asked, uow: UnitOfWork) -> Sequence[Group]:
    found = await _sums(asked, [asked.start, asked.end], uow)
    if len(found) > ROWS_MAX:
        raise _too_many_groups()
    return [row.group for row in found if _is_used(row)]


def _whole_slices(found: Sequence[UsageRow], slice_count: int) -> tuple[Sequence[UsageRow], int]:
    """The rows of the slices of which all rows are there, and how many slices that are."""
    if len(found) <= ROWS_MAX:
        return found, slice_count
    whole = found[ROWS_MAX].slice
    if not whole:
        raise _too_many_groups()
    return [row for row in found if row.slice < whole], whole


def _filled(found: Sequence[UsageRow], groups: Sequence[Group], slice_count: int) -> list[UsageRow]:
    known = {(row.slice, row.group): row for row in found}
    every = sorted({*groups, *(row.group for row in found)}, key=_order)
    return [
        known.get((number, group), UsageRow(number, group, NO_USAGE))
        for number in range(slice_count)
        for group in every
    ]


def _is_used(row: UsageRow) -> bool:
    """A level that was set before is used without an event."""
    return bool(row.usage.event_count or row.usage.quantity)


def _order(group: Group) -> tuple[tuple[bool, str], ...]:
    return tuple((value is None, value or "") for value in group)


def _too_many_groups() -> TooManySlices:
    return TooManySlices(
        f"one window has more than {ROWS_MAX} groups",
        remedy="Group by fewer dimensions, or let in fewer groups with filter.",
    )
