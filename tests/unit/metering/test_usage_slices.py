"""Time cut by the clocks of a zone: slices tile the range, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.periods import local_date
from services.metering.domain.usage_slices import EmptyRange, TooManySlices, month_around, slice_bounds

ZONES = [
    "UTC",
    "America/New_York",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(
    start=st.integers(946_684_800, 1_893_456_000).map(lambda s: datetime.fromtimestamp(s, UTC)),
    length_s=st.integers(1, 40 * 86_400),
    length=st.sampled_from(["none", "hour", "day", "month"]),
    zone=st.sampled_from(ZONES),
)
def test_slices_tile_the_range(start: datetime, length_s: int, length: str, zone: str) -> None:
    end = start + timedelta(seconds=length_s)
    bounds = slice_bounds(start, end, length, zone)  # type: ignore[arg-type]
    assert bounds[0] == start
    assert bounds[-1] == end
    assert bounds == sorted(set(bounds))
    if length == "day":
        for first, last in pairwise(bounds):
            assert local_date(first, zone) == local_date(last - timedelta(microseconds=1), zone)


@pytest.mark.parametrize(("on", "hours"), [("2025-03-09", 23), ("2025-11-02", 25), ("2025-06-01", 24)])
def test_a_day_has_as_many_hours_as_it_lasts(on: str, hours: int) -> None:
    zone = "America/New_York"
    start, end = slice_bounds(utc(f"{on}T12:00:00"), utc(f"{on}T12:00:01"), "none", zone)
    day = slice_bounds(start - timedelta(days=1), end + timedelta(days=1), "day", zone)[1:3]
    assert len(slice_bounds(day[0], day[1], "hour", zone)) - 1 == hours


def test_months_begin_where_local_months_do() -> None:
    bounds = slice_bounds(utc("2025-01-15"), utc("2025-04-01T04:00:00"), "month", "America/New_York")
    assert bounds == [
        utc("2025-01-15"),
        utc("2025-02-01T05:00:00"),
        utc("2025-03-01T05:00:00"),
        utc("2025-04-01T04:00:00"),
    ]
    assert month_around(utc("2025-01-01T04:59:59"), "America/New_York") == (
        utc("2024-12-01T05:00:00"),
        utc("2025-01-01T05:00:00"),
    )


def test_what_cannot_be_cut_is_refused() -> None:
    at = utc("2025-01-01")
    with pytest.raises(EmptyRange):
        slice_bounds(at, at, "none", "UTC")
    with pytest.raises(TooManySlices):
        slice_bounds(at, at + timedelta(hours=5_001), "hour", "UTC")
    assert len(slice_bounds(at, at + timedelta(hours=5_000), "hour", "UTC")) == 5_001
