"""A level over time: its integral is that of a step function, however it was cut into buckets and slices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metering.domain.levels import LevelPart, area_by_days, integrate, weighted
from services.metering.domain.meter import LevelKind, LevelPer, MeterOptions

START = datetime(2026, 3, 1, tzinfo=UTC)
STEP = timedelta(minutes=1)

KINDS: list[LevelKind] = ["absolute", "change"]
events = st.lists(st.tuples(st.integers(0, 99), st.integers(-5, 9)), max_size=12).map(sorted)


@given(
    kind=st.sampled_from(KINDS),
    carried=st.integers(-3, 9),
    events=events,
    cuts=st.sets(st.integers(1, 99), max_size=4),
)
def test_the_integral_is_that_of_the_step_function(
    kind: LevelKind, carried: int, events: list[tuple[int, int]], cuts: set[int]
) -> None:
    bounds = [0, *sorted(cuts), 100]
    parts = [LevelPart(at(minute), at(minute), 1, Decimal(value), Decimal(0)) for minute, value in events]
    found = integrate(kind, Decimal(carried), parts, [at(bound) for bound in bounds])
    levels = minute_by_minute(kind, carried, events)
    for told, (first, last) in zip(found, pairwise(bounds), strict=True):
        assert told.area == sum(levels[first:last]) * 60_000_000
        assert told.event_count == sum(first <= minute < last for minute, _ in events)
        assert told.closing == levels[last - 1]


@given(
    kind=st.sampled_from(KINDS), carried=st.integers(-3, 9), events=events, size=st.sampled_from([10, 20, 50])
)
def test_events_that_were_summed_up_in_buckets_come_to_the_same(
    kind: LevelKind, carried: int, events: list[tuple[int, int]], size: int
) -> None:
    single = [LevelPart(at(minute), at(minute), 1, Decimal(value), Decimal(0)) for minute, value in events]
    buckets: list[LevelPart] = []
    for first in range(0, 100, size):
        mine = [(minute, value) for minute, value in events if first <= minute < first + size]
        if mine:
            buckets.append(bucket(kind, mine, first + size))
    bounds = [at(0), at(100)]
    (one,), (other,) = (integrate(kind, Decimal(carried), parts, bounds) for parts in (single, buckets))
    assert (one.area, one.event_count, one.closing) == (other.area, other.event_count, other.closing)


def bucket(kind: LevelKind, events: list[tuple[int, int]], end: int) -> LevelPart:
    """As running sums keep it: changes to the bucket's end, or what was set until the next was."""
    start = events[0][0]
    levels = minute_by_minute(kind, 0, events)[start:end]
    closing = sum(value for _, value in events) if kind == "change" else events[-1][1]
    return LevelPart(at(start), at(end), len(events), Decimal(closing), Decimal(sum(levels) * 60_000_000))


def minute_by_minute(kind: LevelKind, carried: int, events: list[tuple[int, int]]) -> list[int]:
    levels, level = [], carried
    for minute in range(100):
        for at_minute, value in events:
            if at_minute == minute:
                level = value if kind == "absolute" else level + value
        levels.append(level)
    return levels


def at(minute: int) -> datetime:
    return START + minute * STEP


@pytest.mark.parametrize(
    ("per", "told"),
    [("second", "3600"), ("minute", "60"), ("hour", "1"), ("day", "0.041666666667"), ("window", "0.5")],
)
def test_units_of_time(per: LevelPer, told: str) -> None:
    options = MeterOptions(level="absolute", per=per)
    area = Decimal(3_600_000_000)
    assert weighted(options, area, START, START + timedelta(hours=2)) == Decimal(told)


def test_a_change_weighs_for_the_days_from_its_own() -> None:
    """31 days of March in Berlin, one of which has 23 hours: the hour does not count."""
    start, end = datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 31, 22, tzinfo=UTC)
    changes = [
        (datetime(2026, 3, 15, 22, 59, tzinfo=UTC), Decimal(1)),
        (datetime(2026, 3, 31, 21, tzinfo=UTC), Decimal(4)),
    ]
    assert area_by_days(Decimal(2), changes, start, end, "Europe/Berlin") == (Decimal(62 + 17 + 4), 31)
