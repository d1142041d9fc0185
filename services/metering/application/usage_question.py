"""A question about usage: whose, of which meter, from when until when, of which groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.metering.application.ports import UnitOfWork
from services.metering.application.queries import MeteredItemNotFound, MeterNotFound, UsageQuestionUnclear
from services.metering.domain.group_filter import GroupFilter, check_dimensions, read_filters
from services.metering.domain.meter import Meter
from services.metering.domain.usage_slices import SliceLength, month_around

Fill = Literal["zero", "none"]


@dataclass(frozen=True, slots=True)
class UsageQuestion:
    """Whose usage, of which meter, from when until when, and how it is to be cut.

    At most one of `item_id`, `subscription_id` and `customer_id` is named; `asset_id` and `subject` stand alone, or
    narrow what is named. `of` is the customer who asks for himself: nothing but his own is shown to him. Without
    bounds the local month of now is meant. `filters` are `dimension:value`.
    """

    meter: str
    subject: str | None = None
    item_id: str | None = None
    subscription_id: str | None = None
    customer_id: str | None = None
    asset_id: str | None = None
    of: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    length: SliceLength = "none"
    zone: str = "UTC"
    group_by: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    fill: Fill | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """The question with what is known of it: all versions of the meter, the newest last, and whose items are meant.

    `item_ids` is None when a subject is meant as a whole, bound or not. `now` is the latest by any clock that
    it is about: a level lasts until then, and no longer.
    """

    question: UsageQuestion
    versions: Sequence[Meter]
    item_ids: Sequence[str] | None
    start: datetime
    end: datetime
    dimensions: tuple[str, ...]
    filters: GroupFilter
    now: datetime

    @property
    def meter(self) -> Meter:
        return self.versions[-1]

    @property
    def filled_until(self) -> datetime | None:
        return filled_until(self.versions, self.start, self.end)


def filled_until(versions: Sequence[Meter], start: datetime, end: datetime) -> datetime | None:
    """Up to when all usage of that time is summed up; None when all of it is."""
    behind = [
        version.filled_until or start
        for version in versions
        if version.filled_at is None
        and max(start, version.valid_from or start) < min(end, version.valid_until or end)
        and (version.filled_until is None or version.filled_until < end)
    ]
    return min(behind, default=None)


async def make_clear(question: UsageQuestion, now: datetime, *, uow: UnitOfWork) -> Asked:
    """Raises: MeterNotFound, MeteredItemNotFound, UsageQuestionUnclear, DimensionUnknown, UsageFilterUnclear."""
    versions = await uow.reads.list_meter_versions(question.meter)
    if not versions:
        raise MeterNotFound(
            "no meter has this code", remedy="GET /v1/meters lists them.", meter=question.meter
        )
    known = dimension_names(versions)
    check_dimensions(question.group_by, known)
    first, last = month_around(now, question.zone)
    item_ids = await _items(question, uow)
    latest = await uow.reads.latest_clock(item_ids) if versions[-1].carries_over else None
    return Asked(
        question=question,
        versions=versions,
        item_ids=item_ids,
        start=question.start or first,
        end=question.end or max(last, question.start or last),
        dimensions=tuple(dict.fromkeys(question.group_by)),
        filters=read_filters(question.filters, known),
        now=max(now, latest or now),
    )


def dimension_names(versions: Sequence[Meter]) -> list[str]:
    """Of all versions; where one lacks a dimension, all its usage has none of its values."""
    return list(dict.fromkeys(dimension.name for version in versions for dimension in version.dimensions))


async def _items(question: UsageQuestion, uow: UnitOfWork) -> Sequence[str] | None:
    owners = [question.item_id, question.subscription_id, question.customer_id]
    if sum(name is not None for name in owners) > 1:
        raise UsageQuestionUnclear("name one of item_id, subscription_id and customer_id")
    is_named = any(name is not None for name in (*owners, question.asset_id))
    if not is_named and question.of is None:
        if question.subject is None:
            raise UsageQuestionUnclear(
                "name a subject, an asset, an item, a subscription or a customer",
                remedy="Add subject, asset_id, item_id, subscription_id or customer_id.",
            )
        return None
    items = await uow.reads.find_items(
        item_id=question.item_id,
        subscription_id=question.subscription_id,
        customer_id=question.customer_id if is_named else question.of,
        asset_id=question.asset_id,
        of=question.of,
    )
    if items is None and is_named:
        raise MeteredItemNotFound("nothing that is metered has this id")
    return items or []
