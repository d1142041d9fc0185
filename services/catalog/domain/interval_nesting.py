"""Whether one interval is made of whole periods of another: a month of days is not, a year of months is."""

from __future__ import annotations

from collections.abc import Iterator

from libs.common.errors import InputError
from libs.common.periods import Interval

INTERVAL_COUNT_MAX = {"day": 366, "week": 104, "month": 120, "year": 10}

_STEPS = {"day": ("day", 1), "week": ("day", 7), "month": ("month", 1), "year": ("month", 12)}


def nest(one: Interval, other: Interval) -> bool:
    """Whether the longer one is a whole number of the shorter ones."""
    (one_kind, one_step), (other_kind, other_step) = _STEPS[one.unit], _STEPS[other.unit]
    shorter, longer = sorted((one.count * one_step, other.count * other_step))
    return one_kind == other_kind and longer % shorter == 0


def is_same(one: Interval, other: Interval) -> bool:
    """Another spelling of the same length: 12 months and a year."""
    (one_kind, one_step), (other_kind, other_step) = _STEPS[one.unit], _STEPS[other.unit]
    return (one_kind, one.count * one_step) == (other_kind, other.count * other_step)


def length_faults(interval: Interval, at: str) -> Iterator[InputError]:
    """What is wrong with how long it is."""
    count_max = INTERVAL_COUNT_MAX[interval.unit]
    if interval.count > count_max:
        yield {"pointer": f"{at}/count", "detail": f"has at most {count_max} {interval.unit}s: use fewer"}


def nesting_faults(interval: Interval, within: Interval, at: str, *, of: str) -> Iterator[InputError]:
    """What is wrong with an interval that must nest with `within`, which is that of `of`."""
    if not nest(interval, within):
        detail = (
            f"{spelled(interval)} and {spelled(within)}, that of {of}, are no whole number of each other: "
            "choose one that divides it or is a multiple of it"
        )
        yield {"pointer": at, "detail": detail}


def spelled(interval: Interval) -> str:
    """`1 month`, `3 weeks`."""
    return f"{interval.count} {interval.unit}{'' if interval.count == 1 else 's'}"
