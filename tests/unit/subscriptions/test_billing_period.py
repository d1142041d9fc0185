"""Billing periods tile time, counted from the anchor."""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.periods import DAY, InstantOutsidePeriod, Interval, start_of_day, zone_names
from services.subscriptions.domain.billing_period import BillingPeriod, Calendar
from tests.support.subscriptions import a_calendar, utc

ZONES = ["UTC", "America/New_York", "Pacific/Apia", "Pacific/Midway", "Asia/Kathmandu", "America/Havana"]


def nth(calendar: Calendar, index: int) -> BillingPeriod:
    """One period after another from the anchor on."""
    on = calendar.anchor_on
    period = calendar.period_from(on, start_of_day(on, calendar.zone), index=0)
    for _ in range(index):
        period = calendar.after(period)
    return period


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
    Case("leap_day_comes_back",  "2024-02-29", Interval("year", 1),   4, "2028-02-29", "2029-02-28"),
    Case("quarter",              "2025-11-30", Interval("month", 3),  1, "2026-02-28", "2026-05-30"),
    Case("fortnight",            "2025-01-01", Interval("week", 2),   2, "2025-01-29", "2025-02-12"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nth_period(case: Case) -> None:
    period = nth(a_calendar(case.anchor_on, case.interval), case.nth)
    assert (period.start_on, period.end_on) == (
        date.fromisoformat(case.start_on),
        date.fromisoformat(case.end_on),
    )


def test_a_period_starts_with_the_local_day() -> None:
    period = nth(a_calendar("2013-03-01"), 0)
    assert (period.start, period.end) == (utc("2013-03-01T05:00"), utc("2013-04-01T04:00"))


anchors = st.dates(date(1990, 1, 1), date(2060, 12, 31))
intervals = st.builds(
    Interval, st.sampled_from(["day", "week", "month", "year"]), st.integers(min_value=1, max_value=13)
)
zones = st.one_of(st.sampled_from(ZONES), st.sampled_from(sorted(zone_names())))
calendars = st.builds(Calendar, anchors, intervals, zones)


@given(calendar=calendars, index=st.integers(0, 20))
def test_consecutive_periods_tile_time(calendar: Calendar, index: int) -> None:
    period = nth(calendar, index)
    following = calendar.after(period)
    assert period.start <= period.end == following.start
    assert period.start_on < period.end_on == following.start_on
    assert (period.index, following.index, following.full) == (index, index + 1, None)


@given(calendar=calendars, days=st.integers(-2000, 2000))
def test_every_date_lies_in_the_bounds_around_it(calendar: Calendar, days: int) -> None:
    on = calendar.anchor_on + days * DAY
    bounds = calendar.bounds_on(on)
    assert bounds.start_on <= on < bounds.end_on
    assert calendar.bounds_on(bounds.end_on).start_on == bounds.end_on


ANCHORED = a_calendar("2025-01-31", zone="UTC")


def test_a_part_before_the_anchors_day_is_a_period_of_its_own() -> None:
    period = ANCHORED.period_from(date(2025, 2, 10), utc("2025-02-10"), index=0)
    assert (period.start_on, period.end_on) == (date(2025, 2, 10), date(2025, 2, 28))
    assert period.full == ANCHORED.bounds_on(date(2025, 2, 10))
    assert ANCHORED.after(period).full is None


def test_a_part_before_the_anchors_day_may_go_with_the_whole_after_it() -> None:
    period = ANCHORED.period_from(date(2025, 2, 10), utc("2025-02-10"), index=0, merges_stub=True)
    assert (period.start_on, period.end_on) == (date(2025, 2, 10), date(2025, 3, 31))
    assert (period.stub_start_on, period.stub_end_on) == (date(2025, 1, 31), date(2025, 2, 28))
    whole = ANCHORED.period_from(date(2025, 2, 28), utc("2025-02-28"), index=0, merges_stub=True)
    assert (whole.end_on, whole.stub_end_on) == (date(2025, 3, 31), None)


@given(calendar=calendars, index=st.integers(0, 20), share=st.floats(0, 1))
def test_a_period_is_cut_within_its_bounds(calendar: Calendar, index: int, share: float) -> None:
    period = nth(calendar, index)
    at = period.start + (period.end - period.start) * share
    cut = calendar.cut(period, at)
    assert (cut.index, cut.start, cut.start_on, cut.end) == (period.index, period.start, period.start_on, at)
    assert period.start_on <= cut.end_on <= period.end_on
    assert cut.full == (None if at == period.end else period.bounds)


def test_the_day_of_the_cut_is_no_longer_in_use() -> None:
    calendar = a_calendar("2025-06-01")
    cut = calendar.cut(nth(calendar, 0), utc("2025-06-16T12:00"))
    assert cut.end_on == date(2025, 6, 16)


def test_a_period_that_is_cut_twice_is_a_part_of_what_it_was_at_first() -> None:
    calendar = a_calendar("2025-06-01")
    once = calendar.cut(nth(calendar, 0), utc("2025-06-16T12:00"))
    assert calendar.cut(once, utc("2025-06-10T12:00")).full == nth(calendar, 0).bounds


def test_a_period_is_not_cut_outside_of_itself() -> None:
    calendar = a_calendar("2025-06-01")
    period = nth(calendar, 0)
    with pytest.raises(InstantOutsidePeriod):
        calendar.cut(period, period.start - timedelta(microseconds=1))
    with pytest.raises(InstantOutsidePeriod):
        calendar.cut(period, period.end + timedelta(microseconds=1))
    assert calendar.cut(period, period.start).end == period.start
    assert calendar.cut(period, period.end) is period


def test_in_another_zone_its_dates_stay_and_its_end_moves() -> None:
    calendar = a_calendar("2025-06-01", zone="Pacific/Tongatapu")
    period = nth(calendar, 0)
    moved = calendar.moved(period, "Pacific/Pago_Pago", utc("2025-06-10"))
    assert (moved.start, moved.start_on, moved.end_on) == (period.start, period.start_on, period.end_on)
    assert (period.end, moved.end) == (utc("2025-06-30T11:00"), utc("2025-07-01T11:00"))


def test_a_period_whose_last_day_is_over_in_the_other_zone_ends_at_once() -> None:
    calendar = a_calendar("2025-06-01", zone="Pacific/Pago_Pago")
    now = utc("2025-07-01T06:00")  # the last day still, but in Tonga the next month has begun
    moved = calendar.moved(nth(calendar, 0), "Pacific/Tongatapu", now)
    assert (moved.end, moved.end_on) == (now, date(2025, 7, 1))
    assert calendar.after(moved).start == now
