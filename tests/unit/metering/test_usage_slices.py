"""Time cut by the clocks of a zone: slices tile the range, whatever the clocks do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.periods import local_date, zone_names
from services.metering.domain.usage_slices import (
    EmptyRange,
    SliceLength,
    month_around,
    slice_bounds,
    slice_count_max,
)

ZONES = sorted(zone_names() - {"Factory"})
# What may not change inside of a slice.
SAME: dict[SliceLength, Callable[[date], Any]] = {
    "hour": lambda on: on,
    "day": lambda on: on,
    "week": lambda on: on - timedelta(days=on.weekday()),
    "month": lambda on: (on.year, on.month),
    "quarter": lambda on: (on.year, (on.month - 1) // 3),
    "year": lambda on: on.year,
}
STEPS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


starts = st.integers(-2_200_000_000, 4_100_000_000).map(lambda s: datetime.fromtimestamp(s, UTC))
ranges = st.one_of(
    st.tuples(st.sampled_from(["minute"]), st.integers(1, 2 * 86_400)),
    st.tuples(st.sampled_from(["none", "hour", "day"]), st.integers(1, 40 * 86_400)),
    st.tuples(st.sampled_from(["week", "month", "quarter", "year"]), st.integers(1, 900 * 86_400)),
)


@given(start=starts, asked=ranges, zone=st.sampled_from(ZONES))
def test_slices_tile_the_range(start: datetime, asked: tuple[SliceLength, int], zone: str) -> None:
    length, length_s = asked
    end = start + timedelta(seconds=length_s)
    bounds = slice_bounds(start, end, length, zone)
    assert (bounds[0], bounds[-1]) == (start, end)
    assert bounds == sorted(set(bounds))
    assert len(bounds) - 1 <= slice_count_max(start, end, length)
    if length in SAME:
        of = SAME[length]
        for first, last in pairwise(bounds):
            assert of(local_date(first, zone)) == of(local_date(last - timedelta(microseconds=1), zone))
    if length in STEPS:
        assert all(last - first <= STEPS[length] for first, last in pairwise(bounds))
    elif length != "none":
        of = SAME[length]
        assert all(
            of(local_date(first, zone)) != of(local_date(last, zone)) for first, last in pairwise(bounds[:-1])
        )


@given(start=starts, asked=ranges, zone=st.sampled_from(ZONES), slices_max=st.integers(1, 50))
def test_pages_put_together_are_the_whole(
    start: datetime, asked: tuple[SliceLength, int], zone: str, slices_max: int
) -> None:
    length, length_s = asked
    end = start + timedelta(seconds=length_s)
    whole = slice_bounds(start, end, length, zone)[:500]
    together = [start]
    while together[-1] < end and len(together) < len(whole):
        page = slice_bounds(together[-1], end, length, zone, slices_max=slices_max)
        assert 2 <= len(page) <= slices_max + 1
        together += page[1:]
    assert together[: len(whole)] == whole


class Case(NamedTuple):
    name: str
    zone: str
    start: str
    end: str
    length: SliceLength
    inner: list[str]


CASES = [
    Case(
        "months_of_new_york", "America/New_York", "2025-01-15T00:00", "2025-04-01T04:00", "month",
        ["2025-02-01T05:00", "2025-03-01T05:00"],
    ),
    Case(
        "weeks_begin_on_monday", "Europe/Zurich", "2025-03-20T00:00", "2025-04-03T00:00", "week",
        ["2025-03-23T23:00", "2025-03-30T22:00"],
    ),
    Case(
        "quarters", "Asia/Kolkata", "2025-02-01T00:00", "2025-08-01T00:00", "quarter",
        ["2025-03-31T18:30", "2025-06-30T18:30"],
    ),
    Case("years", "Asia/Kathmandu", "2024-06-01T00:00", "2025-06-01T00:00", "year", ["2024-12-31T18:15"]),
    Case(
        "hours_of_a_45_minute_zone", "Asia/Kathmandu", "2025-01-01T00:00", "2025-01-01T02:15", "hour",
        ["2025-01-01T00:15", "2025-01-01T01:15"],
    ),
    Case(
        "a_day_of_samoa_that_never_was", "Pacific/Apia", "2011-12-29T10:00", "2012-01-01T10:00", "day",
        ["2011-12-30T10:00", "2011-12-31T10:00"],
    ),
    Case(
        "midnight_that_never_was", "America/Sao_Paulo", "2017-10-14T03:00", "2017-10-16T02:00", "day",
        ["2017-10-15T03:00"],
    ),
    Case(
        "minutes", "UTC", "2025-01-01T23:58:30", "2025-01-02T00:01", "minute",
        ["2025-01-01T23:59", "2025-01-02T00:00"],
    ),
    Case("none", "UTC", "2025-01-01T00:00", "2026-01-01T00:00", "none", []),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_where_slices_begin(case: Case) -> None:
    start, end = utc(case.start), utc(case.end)
    inner = [utc(at) for at in case.inner]
    assert slice_bounds(start, end, case.length, case.zone) == [start, *inner, end]


@pytest.mark.parametrize(
    ("zone", "on", "hours"),
    [
        ("America/New_York", "2025-03-09", [60] * 23),
        ("America/New_York", "2025-11-02", [60] * 25),
        ("America/New_York", "2025-06-01", [60] * 24),
        ("Australia/Lord_Howe", "2025-10-05", [60] * 23 + [30]),
        ("Australia/Lord_Howe", "2025-04-06", [60] * 24 + [30]),
    ],
)
def test_a_day_has_as_many_hours_as_it_lasts(zone: str, on: str, hours: list[int]) -> None:
    noon = utc(f"{on}T02:00:00")
    day = slice_bounds(noon - timedelta(days=2), noon + timedelta(days=2), "day", zone)
    [(start, end)] = [pair for pair in pairwise(day) if local_date(pair[0], zone) == date.fromisoformat(on)]
    lengths = [last - first for first, last in pairwise(slice_bounds(start, end, "hour", zone))]
    assert lengths == [timedelta(minutes=minutes) for minutes in hours]


def test_the_month_around_an_instant_is_local() -> None:
    assert month_around(utc("2025-01-01T04:59:59"), "America/New_York") == (
        utc("2024-12-01T05:00:00"),
        utc("2025-01-01T05:00:00"),
    )
    assert month_around(utc("2025-12-31T12:00:00"), "UTC") == (utc("2025-12-01"), utc("2026-01-01"))


def test_a_range_without_length_is_refused() -> None:
    at = utc("2025-01-01")
    with pytest.raises(EmptyRange):
        slice_bounds(at, at, "none", "UTC")
