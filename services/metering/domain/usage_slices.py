"""A stretch of time cut by the minutes, hours, days … or years of a time zone, for answers that show usage over time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import ClassVar, Literal

from libs.common.errors import RuleViolation
from libs.common.periods import local_date, start_of_day

SliceLength = Literal["none", "minute", "hour", "day", "week", "month", "quarter", "year"]

SLICES_MAX = 5_000
_DAY = timedelta(days=1)
# Steps of elapsed time inside of a local day; days in a step; months in a step.
_STEPS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}
_DAYS = {"minute": 1, "hour": 1, "day": 1, "week": 7}
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
_SHORTEST = {
    **_STEPS,
    "day": timedelta(hours=12),
    "week": timedelta(days=5),
    "month": timedelta(days=27),
    "quarter": timedelta(days=88),
    "year": timedelta(days=363),
}


class TooManySlices(RuleViolation):
    code: ClassVar[str] = "too_many_windows"
    title: ClassVar[str] = "The answer would have too many rows"


class EmptyRange(RuleViolation):
    code: ClassVar[str] = "empty_range"
    title: ClassVar[str] = "The time asked for is empty"


def slice_bounds(
    start: datetime, end: datetime, length: SliceLength, zone: str, *, slices_max: int = SLICES_MAX
) -> list[datetime]:
    """`start`, every local boundary between, and `end`: neighbours are one slice, cut at both ends if need be.

    Of a longer time the first `slices_max` slices; asked again from where they end, the others follow, so that what
    is put together is what one answer would have been. Weeks begin on Mondays, quarters in January, April, July
    and October. Hours and minutes are elapsed time from the start of their local day, so that a day on which clocks
    change has 23 or 25 hours, or as many and a half. A day that a zone skipped has no slice.
    Raises: EmptyRange, UnknownZone.
    """
    if start >= end:
        raise EmptyRange("from must lie before to", remedy="Ask for a later to, or an earlier from.")
    bounds = [start]
    if length != "none":
        for boundary in _boundaries(start, length, zone):
            if boundary >= end:
                break
            if boundary > bounds[-1]:
                bounds.append(boundary)
            if len(bounds) > slices_max:
                return bounds
    return [*bounds, end]


def slice_count_max(start: datetime, end: datetime, length: SliceLength) -> int:
    """No fewer than the slices that the time has, without looking at any clock."""
    return 1 if length == "none" else (end - start) // _SHORTEST[length] + 2


def month_around(now: datetime, zone: str) -> tuple[datetime, datetime]:
    """The local month in which `now` lies."""
    first = local_date(now, zone).replace(day=1)
    return start_of_day(first, zone), start_of_day(_months_later(first, 1), zone)


def _boundaries(start: datetime, length: SliceLength, zone: str) -> Iterator[datetime]:
    """In order, some twice where a local day was skipped; the first may lie before `start`."""
    on = _first_day(local_date(start, zone), length)
    while True:
        following = on + _DAYS[length] * _DAY if length in _DAYS else _months_later(on, _MONTHS[length])
        end = start_of_day(following, zone)
        if length in _STEPS:
            yield from _steps(start_of_day(on, zone), end, start, _STEPS[length])
        yield end
        on = following


def _steps(day_start: datetime, day_end: datetime, start: datetime, step: timedelta) -> Iterator[datetime]:
    number = max(0, (start - day_start) // step) + 1
    while (at := day_start + number * step) < day_end:
        yield at.astimezone(UTC)
        number += 1


def _first_day(on: date, length: SliceLength) -> date:
    if length == "week":
        return on - on.weekday() * _DAY
    if length in _MONTHS:
        return on.replace(month=on.month - (on.month - 1) % _MONTHS[length], day=1)
    return on


def _months_later(first: date, months: int) -> date:
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    return date(year, month + 1, 1)
