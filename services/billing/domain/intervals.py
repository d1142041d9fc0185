"""Intervals that are made of others: a year of twelve months, but no month of weeks."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.periods import Interval

YEAR = Interval("year")

_STEPS = {"day": ("day", 1), "week": ("day", 7), "month": ("month", 1), "year": ("month", 12)}


def times(longer: Interval, shorter: Interval) -> int | None:
    """How many of the shorter make the longer one; None where they are no whole number of them."""
    (kind, step), (short_kind, short_step) = _STEPS[longer.unit], _STEPS[shorter.unit]
    count, rest = divmod(step * longer.count, short_step * shorter.count)
    return count if kind == short_kind and not rest else None


def shortest(intervals: Sequence[Interval]) -> Interval:
    """The one of which the others are made, if there is one."""
    found = intervals[0]
    for interval in intervals[1:]:
        if times(found, interval) is not None:
            found = interval
    return found


def told(interval: Interval) -> str:
    """`month`, `3 weeks`."""
    return interval.unit if interval.count == 1 else f"{interval.count} {interval.unit}s"
