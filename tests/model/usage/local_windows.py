"""A stretch of time cut by the clocks and calendars of a place, by walking through its days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise

from tests.model.calendar import DAY, day_begins, day_of

Window = tuple[datetime, datetime]

STEPS = {
    "minute": timedelta(minutes=1),
    "quarter_hour": timedelta(minutes=15),
    "half_hour": timedelta(minutes=30),
    "hour": timedelta(hours=1),
}


def windows(start: datetime, end: datetime, length: str, zone: str) -> Sequence[Window]:
    """What is between two neighbouring boundaries is a window; the first and the last are cut by the bounds."""
    inner = {at for at in _boundaries(start, end, length, zone) if start < at < end}
    return list(pairwise([start, *sorted(inner), end]))


def _boundaries(start: datetime, end: datetime, length: str, zone: str) -> Iterator[datetime]:
    if length == "none":
        return
    on, last_on = day_of(start, zone), day_of(end, zone)
    while on <= last_on:
        begins, ends = day_begins(on, zone), day_begins(on + DAY, zone)
        if length in STEPS:  # counted in elapsed time from the beginning of the day
            while begins < ends:
                yield begins
                begins += STEPS[length]
        elif _is_first(on, length):
            yield begins
        on += DAY


def _is_first(on: date, length: str) -> bool:
    match length:
        case "day":
            return True
        case "week":
            return on.weekday() == 0
        case "month":
            return on.day == 1
        case "quarter":
            return on.day == 1 and on.month in (1, 4, 7, 10)
        case "year":
            return (on.month, on.day) == (1, 1)
    raise AssertionError(f"no window is a {length} long")
