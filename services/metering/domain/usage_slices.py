"""A stretch of time cut by the hours, days or months of a time zone, for answers that show usage over time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import ClassVar, Literal

from libs.common.errors import RuleViolation
from libs.common.periods import local_date, start_of_day

SliceLength = Literal["none", "hour", "day", "month"]

SLICES_MAX = 5_000
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_SHORTEST = {"hour": timedelta(hours=1), "day": timedelta(hours=20), "month": timedelta(days=27)}


class TooManySlices(RuleViolation):
    code: ClassVar[str] = "too_many_windows"
    title: ClassVar[str] = "The answer would have too many rows"


class EmptyRange(RuleViolation):
    code: ClassVar[str] = "empty_range"
    title: ClassVar[str] = "The time asked for is empty"


def slice_bounds(start: datetime, end: datetime, length: SliceLength, zone: str) -> list[datetime]:
    """`start`, every local boundary between, and `end`: neighbours are one slice, cut at both ends if need be.

    An hour is an hour of elapsed time from the start of its local day, so that a day on which clocks change has
    23 or 25 of them. Raises: EmptyRange, TooManySlices, UnknownZone.
    """
    if start >= end:
        raise EmptyRange("from must lie before to")
    if length == "none":
        return [start, end]
    if (end - start) // _SHORTEST[length] > SLICES_MAX:
        raise TooManySlices(
            f"an answer has at most {SLICES_MAX} windows", remedy="Ask for less time, or for longer windows."
        )
    bounds = [start]
    on = local_date(start, zone)
    if length == "month":
        on = on.replace(day=1)
    while True:
        following = _following_month(on) if length == "month" else on + _DAY
        if length == "hour":
            bounds += _hours(start_of_day(on, zone), start_of_day(following, zone), start, end)
        boundary = start_of_day(following, zone)
        if boundary >= end:
            return [*bounds, end]
        if boundary > bounds[-1]:
            bounds.append(boundary)
        on = following


def month_around(now: datetime, zone: str) -> tuple[datetime, datetime]:
    """The local month in which `now` lies."""
    first = local_date(now, zone).replace(day=1)
    return start_of_day(first, zone), start_of_day(_following_month(first), zone)


def _hours(day_start: datetime, day_end: datetime, start: datetime, end: datetime) -> list[datetime]:
    hours = range(1, (day_end - day_start) // _HOUR + 1)
    found = (day_start + hour * _HOUR for hour in hours)
    return [at.astimezone(UTC) for at in found if start < at < end and at < day_end]


def _following_month(on: date) -> date:
    return date(on.year + on.month // 12, on.month % 12 + 1, 1)
