"""How much was used: of whom, of what, from when until when, cut by time and by dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from libs.common.clock import Clock
from libs.common.errors import RuleViolation
from services.metering.application.ports import UnitOfWork
from services.metering.application.queries import MeteredItemNotFound, MeterNotFound, UsageQuestionUnclear
from services.metering.application.reads import UsageRow
from services.metering.domain.aggregation import NO_USAGE, Usage
from services.metering.domain.meter import Meter
from services.metering.domain.usage_slices import SliceLength, TooManySlices, month_around, slice_bounds

ROWS_MAX = 10_000


class DimensionUnknown(RuleViolation):
    code: ClassVar[str] = "dimension_unknown"
    title: ClassVar[str] = "The meter has no such dimension"


@dataclass(frozen=True, slots=True)
class UsageQuestion:
    """Whose usage, of which meter, from when until when, and how it is to be cut.

    Exactly one of `item_id`, `subscription_id` and `customer_id` is named, or `subject`, which may also narrow
    the others. `of` is the customer who asks for himself: nothing but his own is shown to him.
    """

    meter: str
    subject: str | None = None
    item_id: str | None = None
    subscription_id: str | None = None
    customer_id: str | None = None
    of: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    length: SliceLength = "none"
    zone: str = "UTC"
    group_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageSlice:
    start: datetime
    end: datetime
    group: Mapping[str, str | None]
    usage: Usage


@dataclass(frozen=True, slots=True)
class UsageAnswer:
    """Everything stored by `as_of` is counted."""

    meter: Meter
    slices: Sequence[UsageSlice]
    as_of: datetime


async def ask_usage(question: UsageQuestion, *, uow: UnitOfWork, clock: Clock) -> UsageAnswer:
    """The usage that is stored by now. It always equals what the raw events say.

    Without groups there is a row for each slice, zero where nothing was used; with groups, one for each that
    was used. Without bounds the local month of now is meant.
    Raises: MeterNotFound, MeteredItemNotFound, UsageQuestionUnclear, DimensionUnknown, EmptyRange, TooManySlices.
    """
    as_of = clock.system_now()
    meter = await uow.reads.find_meter_by_code(question.meter)
    if meter is None:
        raise MeterNotFound("no meter has this code", meter=question.meter)
    first, last = month_around(as_of, question.zone)
    start, end = question.start or first, question.end or max(last, question.start or last)
    bounds = slice_bounds(start, end, question.length, question.zone)
    dimensions = _dimensions(meter, question.group_by)
    found = await uow.reads.sum_usage(
        meter,
        bounds,
        subject=question.subject,
        item_ids=await _items(question, uow),
        dimensions=dimensions,
        rows_max=ROWS_MAX,
    )
    if len(found) > ROWS_MAX:
        raise TooManySlices(
            f"an answer has at most {ROWS_MAX} rows", remedy="Ask for less time, or group by less."
        )
    names = [meter.dimensions[number].name for number in dimensions]
    rows = found if names else _filled(found, len(bounds) - 1)
    slices = [
        UsageSlice(bounds[r.slice], bounds[r.slice + 1], dict(zip(names, r.group, strict=True)), r.usage)
        for r in rows
    ]
    return UsageAnswer(meter, slices, as_of)


async def _items(question: UsageQuestion, uow: UnitOfWork) -> Sequence[str] | None:
    """None when a subject is meant as a whole."""
    named = [question.item_id, question.subscription_id, question.customer_id]
    if sum(name is not None for name in named) > 1:
        raise UsageQuestionUnclear("name one of item_id, subscription_id and customer_id")
    customer_id = question.customer_id
    if not any(named):
        if question.of is None and question.subject is None:
            raise UsageQuestionUnclear("name a subject, an item, a subscription or a customer")
        if question.of is None:
            return None
        customer_id = question.of
    items = await uow.reads.find_items(
        item_id=question.item_id,
        subscription_id=question.subscription_id,
        customer_id=customer_id,
        of=question.of,
    )
    if items is None and any(named):
        raise MeteredItemNotFound("nothing that is metered has this id")
    return items or []


def _dimensions(meter: Meter, group_by: Sequence[str]) -> list[int]:
    names = [dimension.name for dimension in meter.dimensions]
    unknown = [name for name in group_by if name not in names]
    if unknown:
        raise DimensionUnknown(
            f"the meter {meter.code} has no dimension {unknown[0][:100]}",
            dimensions=", ".join(names),
            remedy="Group by the dimensions that the meter was defined with.",
        )
    return [names.index(name) for name in dict.fromkeys(group_by)]


def _filled(found: Sequence[UsageRow], slice_count: int) -> list[UsageRow]:
    by_slice = {row.slice: row for row in found}
    return [by_slice.get(number, UsageRow(number, (), NO_USAGE)) for number in range(slice_count)]
