"""A level over time, such as gigabytes stored: what it comes to when it is integrated over stretches of time.

Units: areas are the level's unit times microseconds; everything is exact until the one division at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from libs.common.periods import days_between, local_date
from services.metering.domain.exactly import EXACT, quotient
from services.metering.domain.meter import LevelKind, MeterOptions

MICROSECOND = timedelta(microseconds=1)
PER_US = {"second": 1_000_000, "minute": 60_000_000, "hour": 3_600_000_000, "day": 86_400_000_000}
_ZERO = Decimal(0)


class LevelPart(NamedTuple):
    """What happens to a level from `start`, where its first event is, until `end`.

    `level` is the last that was set, or what all changes add up to. `area` is the integral from `start` to `end` of the
    level that was set, or of the changes alone, beside the level that was there before.
    """

    start: datetime
    end: datetime
    event_count: int
    level: Decimal
    area: Decimal


@dataclass(slots=True)
class LevelSum:
    """The integral over one stretch, the level at its end, and how many events there were in it."""

    area: Decimal = _ZERO
    event_count: int = 0
    closing: Decimal = _ZERO


def integrate(
    kind: LevelKind, carried_in: Decimal, parts: Iterable[LevelPart], bounds: Sequence[datetime]
) -> list[LevelSum]:
    """Between each two neighbouring `bounds`, in one pass over the `parts` of one subject and group, in order of time.

    No part may lie across a bound: where one would, it must be taken apart into its events, each a part of its own that
    ends where it begins.
    """
    sums = [LevelSum() for _ in bounds[1:]]
    level, place, reached = carried_in, 0, bounds[0]
    for part in parts:
        while part.start >= bounds[place + 1]:
            _hold(sums[place], level, reached, bounds[place + 1])
            place, reached = place + 1, bounds[place + 1]
        _hold(sums[place], level, reached, part.start)
        found = sums[place]
        found.event_count += part.event_count
        if kind == "absolute":
            found.area, level = EXACT.add(found.area, part.area), part.level
        else:
            _hold(found, level, part.start, part.end)
            found.area, level = EXACT.add(found.area, part.area), EXACT.add(level, part.level)
        found.closing = level
        reached = part.end
    while place < len(sums):
        _hold(sums[place], level, reached, bounds[place + 1])
        place, reached = place + 1, bounds[place + 1]
    return sums


def _hold(found: LevelSum, level: Decimal, start: datetime, end: datetime) -> None:
    """The level stays as it is from `start` until `end`."""
    if start < end and level:
        found.area = EXACT.add(found.area, EXACT.multiply(level, Decimal((end - start) // MICROSECOND)))
    found.closing = level


def weighted(options: MeterOptions, area: Decimal, start: datetime, end: datetime) -> Decimal:
    """The integral in the unit of the meter: divided by a length of time, or by that of the span.

    Rounding: once, to 12 decimals, half away from zero.
    """
    assert options.per is not None, "a level is integrated by something"
    length = (end - start) // MICROSECOND if options.per == "window" else PER_US[options.per]
    return quotient(area, Decimal(length))


def area_by_days(
    carried_in: Decimal,
    changes: Iterable[tuple[datetime, Decimal]],
    start: datetime,
    end: datetime,
    zone: str,
    *,
    is_handed_on: bool = False,
) -> tuple[Decimal, int]:
    """The level added up over the local days of a span, and how many those are.

    A change weighs for each day from its own, that included, to the last. Where the subject counts for another from
    `end` on, the day on which that is belongs to the other. Source: R2, days in use of those of the period.
    """
    end_on = last_day(start, end, zone, is_handed_on=is_handed_on) + timedelta(days=1)
    day_count = days_between(local_date(start, zone), end_on, zone)
    total = EXACT.multiply(carried_in, Decimal(day_count))
    for at, change in changes:
        weight = days_between(local_date(at, zone), end_on, zone)
        total = EXACT.add(total, EXACT.multiply(change, Decimal(weight)))
    return total, day_count


def last_day(start: datetime, end: datetime, zone: str, *, is_handed_on: bool) -> date:
    """The last local date that counts of a span; the day before its first where none does."""
    if is_handed_on:
        return max(local_date(end, zone), local_date(start, zone)) - timedelta(days=1)
    return local_date(end - MICROSECOND, zone)
