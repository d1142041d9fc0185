"""Periods: counted from the anchor, half-open, on local dates."""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import pytest

from libs.common.periods import (
    InstantOutsidePeriod,
    Interval,
    IntervalUnit,
    InvalidInterval,
    Period,
    PeriodReversed,
    UnknownZone,
    boundary,
    days_between,
    days_in_use,
    index_on,
    local_date,
    nth_period,
    period_at,
    start_of_day,
)

MONTH = Interval("month")
JUNE = Period.between(date(2025, 6, 1), date(2025, 7, 1), "UTC")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


class Steps(NamedTuple):
    name: str
    anchor_on: str
    unit: IntervalUnit
    step: int
    dates: list[str]


STEPS = [
    #     name                     anchor         unit     step   dates
    Steps("month_ends_come_back",  "2026-01-31", "month",  1, ["2026-02-28", "2026-03-31", "2026-04-30"]),
    Steps("leap_february",         "2024-01-30", "month",  1, ["2024-02-29", "2024-03-30", "2024-04-30"]),
    Steps("leap_day_by_years",     "2024-02-29", "year",   1, ["2025-02-28", "2026-02-28", "2027-02-28"]),
    Steps("leap_day_comes_back",   "2024-02-29", "year",   4, ["2028-02-29", "2032-02-29", "2036-02-29"]),
    Steps("no_leap_day_in_2100",   "2096-02-29", "year",   4, ["2100-02-28", "2104-02-29", "2108-02-29"]),
    Steps("quarters",              "2025-11-30", "month",  3, ["2026-02-28", "2026-05-30", "2026-08-30"]),
    Steps("over_the_new_year",     "2025-12-15", "month",  1, ["2026-01-15", "2026-02-15", "2026-03-15"]),
    Steps("weeks",                 "2025-12-29", "week",   2, ["2026-01-12", "2026-01-26", "2026-02-09"]),
    Steps("days",                  "2026-02-27", "day",    1, ["2026-02-28", "2026-03-01", "2026-03-02"]),
]  # fmt: skip


@pytest.mark.parametrize("case", STEPS, ids=lambda case: case.name)
def test_boundaries_are_counted_from_the_anchor(case: Steps) -> None:
    anchor_on, interval = date.fromisoformat(case.anchor_on), Interval(case.unit, case.step)
    assert [boundary(anchor_on, interval, index).isoformat() for index in (1, 2, 3)] == case.dates
    assert boundary(anchor_on, interval, 0) == anchor_on


def test_boundaries_before_the_anchor_have_negative_indexes() -> None:
    assert boundary(date(2026, 3, 31), MONTH, -1) == date(2026, 2, 28)
    assert boundary(date(2026, 3, 31), MONTH, -3) == date(2025, 12, 31)


@pytest.mark.parametrize(
    ("on", "index"),
    [("2026-01-30", -1), ("2026-01-31", 0), ("2026-02-27", 0), ("2026-02-28", 1), ("2026-03-30", 1)],
)
def test_a_date_lies_in_the_period_whose_boundary_it_has_reached(on: str, index: int) -> None:
    assert index_on(date(2026, 1, 31), MONTH, date.fromisoformat(on)) == index


@pytest.mark.parametrize(("unit", "count"), [("month", 0), ("month", -1), ("fortnight", 1)])
def test_an_interval_has_a_known_unit_and_at_least_one_step(unit: str, count: int) -> None:
    with pytest.raises(InvalidInterval):
        Interval(unit, count)  # type: ignore[arg-type]


class Day(NamedTuple):
    name: str
    zone: str
    on: str
    start: str


DAYS = [
    #   name                            zone                 date          first instant
    Day("no_change",                    "Europe/Amsterdam",  "2026-01-15", "2026-01-14T23:00:00"),
    Day("spring_at_two",                "Europe/Amsterdam",  "2025-03-30", "2025-03-29T23:00:00"),
    Day("the_day_after_is_in_summer",   "Europe/Amsterdam",  "2025-03-31", "2025-03-30T22:00:00"),
    Day("midnight_does_not_exist",      "America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00"),
    Day("midnight_comes_twice",         "America/Havana",    "2013-11-03", "2013-11-03T04:00:00"),
    Day("put_back_over_midnight",       "America/St_Johns",  "2006-10-29", "2006-10-29T02:30:00"),
    Day("the_day_after_that",           "America/St_Johns",  "2006-10-30", "2006-10-30T03:30:00"),
    Day("before_the_skipped_date",      "Pacific/Apia",      "2011-12-29", "2011-12-29T10:00:00"),
    Day("the_skipped_date",             "Pacific/Apia",      "2011-12-30", "2011-12-30T10:00:00"),
    Day("after_the_skipped_date",       "Pacific/Apia",      "2011-12-31", "2011-12-30T10:00:00"),
    Day("the_first_zone_into_a_day",    "Pacific/Kiritimati","2026-01-01", "2025-12-31T10:00:00"),
    Day("the_last_zone_into_a_day",     "Pacific/Pago_Pago", "2026-01-01", "2026-01-01T11:00:00"),
]  # fmt: skip


@pytest.mark.parametrize("case", DAYS, ids=lambda case: case.name)
def test_a_day_starts_at_the_first_instant_whose_date_is_not_earlier(case: Day) -> None:
    assert start_of_day(date.fromisoformat(case.on), case.zone) == utc(case.start)


def test_an_hour_that_comes_twice_belongs_to_the_day_that_has_started() -> None:
    half_past_eleven_again = utc("2006-10-29T03:00:00")
    assert local_date(half_past_eleven_again, "America/St_Johns") == date(2006, 10, 29)


@pytest.mark.parametrize(
    ("zone", "start_on", "end_on", "days"),
    [
        ("Europe/Amsterdam", "2025-03-01", "2025-04-01", 31),
        ("Pacific/Apia", "2011-12-01", "2012-01-01", 30),
        ("Pacific/Apia", "2011-12-30", "2011-12-31", 0),
        ("Pacific/Apia", "2011-12-29", "2011-12-30", 1),
        ("UTC", "2025-06-01", "2025-06-01", 0),
        ("UTC", "2025-06-02", "2025-06-01", 0),
    ],
)
def test_a_date_that_the_zone_skipped_is_no_day(zone: str, start_on: str, end_on: str, days: int) -> None:
    assert days_between(date.fromisoformat(start_on), date.fromisoformat(end_on), zone) == days


def test_the_day_of_a_change_counts_for_what_comes_after_it() -> None:
    until, after = JUNE.split(utc("2025-06-11T15:30:00"))
    assert (days_in_use(until), days_in_use(after)) == (10, 20)


def test_both_halves_of_one_day_are_not_a_day_before_its_end() -> None:
    part = Period(utc("2025-06-11T08:00:00"), utc("2025-06-11T17:00:00"), "UTC")
    assert days_in_use(part) == 0


def test_a_month_in_which_clocks_change_lasts_an_hour_more_or_less() -> None:
    march = nth_period(date(2025, 1, 1), MONTH, "Europe/Amsterdam", 2)
    assert (march.start_on, march.end_on) == (date(2025, 3, 1), date(2025, 4, 1))
    assert march.length_us == (31 * 24 - 1) * 3600 * 10**6


def test_a_period_holds_its_start_and_not_its_end() -> None:
    microsecond = timedelta(microseconds=1)
    assert JUNE.contains(JUNE.start)
    assert JUNE.contains(JUNE.end - microsecond)
    assert not JUNE.contains(JUNE.end)
    assert not JUNE.contains(JUNE.start - microsecond)


def test_overlap_is_what_both_have() -> None:
    late = Period(utc("2025-06-20T00:00:00"), utc("2025-08-01T00:00:00"), "UTC")
    assert JUNE.overlap(late) == Period(late.start, JUNE.end, "UTC")
    assert late.overlap(JUNE) == Period(late.start, JUNE.end, "UTC")


def test_periods_that_touch_do_not_overlap() -> None:
    july = Period.between(date(2025, 7, 1), date(2025, 8, 1), "UTC")
    assert JUNE.overlap(july) is None


def test_split_at_the_ends_leaves_one_part_empty() -> None:
    assert JUNE.split(JUNE.start) == (Period(JUNE.start, JUNE.start, "UTC"), JUNE)
    assert JUNE.split(JUNE.end) == (JUNE, Period(JUNE.end, JUNE.end, "UTC"))


def test_split_outside_is_refused() -> None:
    with pytest.raises(InstantOutsidePeriod):
        JUNE.split(JUNE.end + timedelta(microseconds=1))


def test_a_period_does_not_run_backwards() -> None:
    with pytest.raises(PeriodReversed):
        Period(JUNE.end, JUNE.start, "UTC")


def test_an_instant_without_a_zone_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        Period(datetime(2025, 6, 1), datetime(2025, 7, 1), "UTC")  # noqa: DTZ001


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../../etc/passwd", "europe/amsterdam", "zones"])
def test_a_zone_has_an_iana_name(zone: str) -> None:
    with pytest.raises(UnknownZone) as refused:
        start_of_day(date(2025, 1, 1), zone)
    assert refused.value.code == "unknown_zone"


def test_the_period_of_an_instant() -> None:
    found = period_at(date(2026, 1, 31), MONTH, "Asia/Tokyo", utc("2026-02-27T15:00:00"))
    assert (found.start_on, found.end_on) == (date(2026, 2, 28), date(2026, 3, 31))


@pytest.mark.parametrize(
    ("interval", "on", "index"),
    [
        (Interval("day", 3), "2026-02-02", 0),
        (Interval("day", 3), "2026-02-03", 1),
        (Interval("week", 2), "2026-02-13", 0),
        (Interval("week", 2), "2026-02-14", 1),
        (Interval("week", 2), "2026-01-30", -1),
    ],
)
def test_a_day_inside_a_period_of_days_or_weeks_has_its_index(
    interval: Interval, on: str, index: int
) -> None:
    assert index_on(date(2026, 1, 31), interval, date.fromisoformat(on)) == index
