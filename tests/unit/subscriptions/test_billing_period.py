"""Billing periods tile time, counted from the anchor."""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.periods import InstantOutsidePeriod, Interval, zone_names
from services.subscriptions.domain.billing_period import Calendar
from tests.support.subscriptions import a_calendar, utc

ZONES = ["UTC", "America/New_York", "Pacific/Apia", "Pacific/Midway", "Asia/Kathmandu", "America/Havana"]


class Case(NamedTuple):
    name: str
    anchor_on: str
    interval: Interval
    nth: int
    start_on: str
    end_on: str


CASES = [
    #    name                    anchor        interval               nth  start         end
    Case("first_month",          "2013-01-01", Interval("month", 1),  0, "2013-01-01", "2013-02-01"),
    Case("month_end_is_kept",    "2025-01-31", Interval("month", 1),  1, "2025-02-28", "2025-03-31"),
    Case("leap_february",        "2024-01-31", Interval("month", 1),  1, "2024-02-29", "2024-03-31"),
    Case("leap_year",            "2024-02-29", Interval("year", 1),   1, "2025-02-28", "2026-02-28"),
    Case("quarter",              "2025-11-30", Interval("month", 3),  1, "2026-02-28", "2026-05-30"),
    Case("fortnight",            "2025-01-01", Interval("week", 2),   2, "2025-01-29", "2025-02-12"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nth_period(case: Case) -> None:
    period = a_calendar(case.anchor_on, case.interval).nth_period(case.nth)
    assert (period.start_on, period.end_on) == (
        date.fromisoformat(case.start_on),
        date.fromisoformat(case.end_on),
    )


def test_a_period_starts_with_the_local_day() -> None:
    period = a_calendar("2013-03-01").nth_period(0)
    assert (period.start, period.end) == (utc("2013-03-01T05:00"), utc("2013-04-01T04:00"))


anchors = st.dates(date(1990, 1, 1), date(2060, 12, 31))
intervals = st.builds(
    Interval, st.sampled_from(["day", "week", "month", "year"]), st.integers(min_value=1, max_value=13)
)
zones = st.one_of(st.sampled_from(ZONES), st.sampled_from(sorted(zone_names())))
calendars = st.builds(Calendar, anchors, intervals, zones)


@given(calendar=calendars, index=st.integers(0, 40))
def test_consecutive_periods_tile_time(calendar: Calendar, index: int) -> None:
    period, following = calendar.nth_period(index), calendar.nth_period(index + 1)
    assert period.start <= period.end == following.start
    assert period.start_on < period.end_on == following.start_on


@given(calendar=calendars, index=st.integers(0, 40), share=st.floats(0, 1, exclude_max=True))
def test_an_instant_lies_in_the_period_that_is_found_for_it(
    calendar: Calendar, index: int, share: float
) -> None:
    period = calendar.nth_period(index)
    at = period.start + (period.end - period.start) * share
    found = calendar.period_at(at)
    assert found.start <= at < found.end or found.start == found.end == at


@given(calendar=calendars, index=st.integers(0, 40), share=st.floats(0, 1))
def test_a_period_is_cut_within_its_bounds(calendar: Calendar, index: int, share: float) -> None:
    period = calendar.nth_period(index)
    at = period.start + (period.end - period.start) * share
    cut = calendar.cut(period, at)
    assert (cut.index, cut.start, cut.start_on, cut.end) == (period.index, period.start, period.start_on, at)
    assert period.start_on <= cut.end_on <= period.end_on


def test_the_day_of_the_cut_is_no_longer_in_use() -> None:
    calendar = a_calendar("2025-06-01")
    cut = calendar.cut(calendar.nth_period(0), utc("2025-06-16T12:00"))
    assert cut.end_on == date(2025, 6, 16)


def test_a_period_is_not_cut_outside_of_itself() -> None:
    calendar = a_calendar("2025-06-01")
    period = calendar.nth_period(0)
    with pytest.raises(InstantOutsidePeriod):
        calendar.cut(period, period.start - timedelta(microseconds=1))
    with pytest.raises(InstantOutsidePeriod):
        calendar.cut(period, period.end + timedelta(microseconds=1))
    assert calendar.cut(period, period.start).end == period.start
    assert calendar.cut(period, period.end) is period
