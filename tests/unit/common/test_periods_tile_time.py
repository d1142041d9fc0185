"""Periods tile time: no gap, no overlap, in every zone, over month ends, leap days and skipped dates."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libs.common.periods import (
    MICROSECOND,
    Interval,
    boundary,
    days_between,
    days_in_use,
    index_on,
    load_zone,
    local_date,
    nth_period,
    period_at,
    start_of_day,
    zone_names,
)

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
CHANGES_AT_MIDNIGHT = ["America/Sao_Paulo", "Pacific/Apia", "America/St_Johns", "Africa/Cairo", "Asia/Beirut"]

zones = st.one_of(st.sampled_from(CHANGES_AT_MIDNIGHT), st.sampled_from(sorted(zone_names())))
anchors = st.one_of(
    st.dates(date(1950, 1, 1), date(2100, 1, 1)),
    st.sampled_from([date(2024, 2, 29), date(2025, 1, 31), date(2011, 12, 30), date(2025, 12, 31)]),
)
intervals = st.builds(Interval, st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 18))
indexes = st.integers(-40, 40)
instants = st.integers(0, 150 * 366 * 86400).map(lambda s: datetime(1950, 1, 1, tzinfo=UTC) + s * SECOND)


@given(anchor_on=anchors, interval=intervals, zone=zones, index=indexes)
@example(anchor_on=date(2011, 12, 30), interval=Interval("day"), zone="Pacific/Apia", index=0)
@example(anchor_on=date(2011, 11, 30), interval=Interval("month"), zone="Pacific/Apia", index=1)
def test_one_period_ends_where_the_next_begins(
    anchor_on: date, interval: Interval, zone: str, index: int
) -> None:
    period = nth_period(anchor_on, interval, zone, index)
    following = nth_period(anchor_on, interval, zone, index + 1)
    assert period.start <= period.end == following.start


@given(anchor_on=anchors, interval=intervals, index=indexes)
def test_boundaries_are_distinct_and_in_order(anchor_on: date, interval: Interval, index: int) -> None:
    assert boundary(anchor_on, interval, index) < boundary(anchor_on, interval, index + 1)


@given(anchor_on=anchors, interval=intervals, on=st.dates(date(1950, 1, 1), date(2100, 1, 1)))
def test_every_date_lies_in_one_period(anchor_on: date, interval: Interval, on: date) -> None:
    index = index_on(anchor_on, interval, on)
    assert boundary(anchor_on, interval, index) <= on < boundary(anchor_on, interval, index + 1)


@given(
    anchor_on=anchors,
    interval=intervals,
    zone=zones,
    instant=instants,
)
def test_every_instant_lies_in_its_period(
    anchor_on: date, interval: Interval, zone: str, instant: datetime
) -> None:
    assert period_at(anchor_on, interval, zone, instant).contains(instant)


@given(anchor_on=anchors, zone=zones, cut_us=st.integers(0, 40 * 86400 * 10**6))
def test_days_on_both_sides_of_a_cut_sum_to_the_days_of_the_period(
    anchor_on: date, zone: str, cut_us: int
) -> None:
    period = nth_period(anchor_on, Interval("month"), zone, 1)
    before, after = period.split(min(period.end, period.start + cut_us * MICROSECOND))
    assert days_in_use(before) + days_in_use(after) == days_in_use(period)


@pytest.mark.parametrize("year", [2011, 2024])
def test_days_tile_a_year_in_every_zone(year: int) -> None:
    """Each day starts just where the clocks of its zone show its date, or a later one, for the first time."""
    for zone in sorted(zone_names()):
        rules, starts = load_zone(zone), []
        for ordinal in range(date(year, 1, 1).toordinal(), date(year + 1, 1, 2).toordinal()):
            on = date.fromordinal(ordinal)
            start = start_of_day.__wrapped__(on, zone)  # past the cache, which this would only fill
            shown, shown_before = (at.astimezone(rules).date() for at in (start, start - MICROSECOND))
            assert shown_before < on <= shown, (zone, on)
            starts.append(start)
        days = sum(1 for start, end in pairwise(starts) if start < end)
        assert days == days_between(date(year, 1, 1), date(year + 1, 1, 1), zone), zone


def test_months_tile_two_decades_in_every_zone() -> None:
    for zone in sorted(zone_names()):
        end = nth_period(date(2010, 1, 31), Interval("month"), zone, -1).end
        for index in range(20 * 12):
            period = nth_period(date(2010, 1, 31), Interval("month"), zone, index)
            assert end == period.start < period.end, (zone, index)
            assert local_date(period.start, zone) == boundary(date(2010, 1, 31), Interval("month"), index)
            end = period.end
