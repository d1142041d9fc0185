"""Periods over all IANA zones, with every change of their clocks from 1970 to 2040: they tile time, from the anchor.

What is expected is worked out another way: the offset of a zone is asked for week by week, the instants at which it
changes are found in between, and a date begins in the first stretch of one offset that shows it, or a later one. No
offset has held for less than a week: who passed one over would expect periods to begin elsewhere, and fail.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple

import pytest

from libs.common.periods import Interval, IntervalUnit, load_zone, nth_period, zone_names

WEEK, DAY, HOUR, SECOND = timedelta(days=7), timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
FIRST, LAST = date(1970, 1, 1), date(2041, 1, 1)
PROBED_FROM, PROBED_UNTIL = datetime(1969, 12, 1, tzinfo=UTC), datetime(2043, 2, 1, tzinfo=UTC)
OFFSET_MAX = 27 * HOUR  # no clock is as far from UTC as that, and none is changed by as much


@dataclass(frozen=True, slots=True)
class Clocks:
    """Stretches of one offset each: from `starts[n]` until `starts[n + 1]` clocks show UTC and `offsets[n]`."""

    starts: tuple[datetime, ...]
    offsets: tuple[timedelta, ...]

    def first_instant_of(self, on: date) -> datetime:
        """At which clocks show this date or a later one."""
        midnight = datetime(on.year, on.month, on.day, tzinfo=UTC)
        place = bisect_right(self.starts, midnight - OFFSET_MAX) - 1
        while True:
            shown_at = max(self.starts[place], midnight - self.offsets[place])
            if place + 1 == len(self.starts) or shown_at < self.starts[place + 1]:
                return shown_at
            place += 1

    def changes(self) -> Iterator[datetime]:
        return (at for at in self.starts if FIRST <= at.date() < LAST)


@cache
def clocks_of(zone: str) -> Clocks:
    rules = load_zone(zone)

    def offset(at: datetime) -> timedelta:
        told = at.astimezone(rules).utcoffset()
        assert told is not None
        return told

    starts, offsets = [PROBED_FROM], [offset(PROBED_FROM)]
    at = PROBED_FROM
    while at < PROBED_UNTIL:
        if offset(at + WEEK) == offsets[-1]:
            at += WEEK
            continue
        low, high, at = at, at + DAY, at + DAY
        if offset(high) == offsets[-1]:
            continue
        while high - low > SECOND:
            middle = low + (high - low) // SECOND // 2 * SECOND
            low, high = (middle, high) if offset(middle) == offsets[-1] else (low, middle)
        starts.append(high)
        offsets.append(offset(high))
    return Clocks(tuple(starts), tuple(offsets))


@cache
def names_of_zones() -> dict[str, list[str]]:
    """All names by the first of those that have the same rules, byte for byte."""
    by_rules: dict[bytes, list[str]] = {}
    for zone in sorted(zone_names()):
        rules = files("tzdata.zoneinfo").joinpath(*zone.split("/")).read_bytes()
        by_rules.setdefault(rules, []).append(zone)
    return {names[0]: names for names in by_rules.values()}


def distinct_zones() -> tuple[str, ...]:
    return tuple(names_of_zones())


class Case(NamedTuple):
    name: str
    unit: IntervalUnit
    every: int
    anchor_on: date

    def boundaries(self) -> list[tuple[int, date]]:
        """Index and first date of each period that begins in these years, and of the one after the last."""
        found = []
        for index in range(-30_000, 30_000):
            on = self.boundary(index)
            if on is not None and on >= FIRST:
                found.append((index, on))
                if on >= LAST:
                    break
        return found

    def boundary(self, index: int) -> date | None:
        """Counted from the anchor, with the last day of the month where it has no such day; None far from these years."""
        steps = index * self.every
        if self.unit in ("day", "week"):
            days = steps * (7 if self.unit == "week" else 1)
            return self.anchor_on + days * DAY if abs(days) < 40_000 else None
        months = (
            self.anchor_on.year * 12 + self.anchor_on.month - 1 + steps * (12 if self.unit == "year" else 1)
        )
        year, month = months // 12, months % 12 + 1
        if not 1900 < year < 2100:
            return None
        for day in range(self.anchor_on.day, 27, -1):
            if (date(year, month, 28) + (day - 28) * DAY).month == month:
                return date(year, month, day)
        return date(year, month, min(self.anchor_on.day, 28))


LEAP, SKIPPED, LONG_AGO = date(2004, 2, 29), date(2011, 12, 30), date(1970, 1, 31)
QUICK = [
    Case("ten_weeks_around_the_anchor", "week", 10, SKIPPED),
    Case("month_ends", "month", 1, LONG_AGO),
    Case("quarters_from_the_twenty_ninth", "month", 3, date(1971, 8, 29)),
    Case("quarters_from_the_end_of_november", "month", 3, date(1999, 11, 30)),
    Case("half_years_from_the_end_of_august", "month", 6, date(1970, 8, 31)),
    Case("years_from_a_leap_day", "year", 1, LEAP),
    Case("years_from_the_last_of_march", "year", 1, date(1990, 3, 31)),
]
LONG = [
    Case("days", "day", 1, LEAP),
    Case("hundred_days", "day", 100, LONG_AGO),
    Case("weeks", "week", 1, SKIPPED),
    Case("the_twenty_eighth", "month", 1, date(1980, 2, 28)),
    Case("the_twenty_ninth", "month", 1, LEAP),
    Case("the_thirtieth", "month", 1, date(1970, 4, 30)),
    Case("the_thirty_first", "month", 1, date(2040, 12, 31)),
    Case("two_weeks", "week", 2, date(1970, 1, 2)),
    Case("the_thirtieth_before_and_after_the_anchor", "month", 1, SKIPPED),
    Case("five_months", "month", 5, SKIPPED),
    Case("quarters", "month", 3, LONG_AGO),
    Case("half_years", "month", 6, LEAP),
    Case("eighteen_months", "month", 18, date(2000, 8, 31)),
    Case("leap_years", "year", 4, LEAP),
]


def check(case: Case, zones: tuple[str, ...]) -> None:
    interval, boundaries = Interval(case.unit, case.every), case.boundaries()
    assert boundaries[0][1] < FIRST + 1500 * DAY
    assert boundaries[-1][1] >= LAST
    for zone in zones:
        begins = [clocks_of(zone).first_instant_of(on) for _, on in boundaries]
        assert all(begin <= end for begin, end in pairwise(begins)), zone
        for (index, on), begin, end in zip(boundaries, begins, begins[1:], strict=False):
            period = nth_period(case.anchor_on, interval, zone, index)
            assert (period.start, period.end) == (begin, end), (zone, index, on)


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.name)
def test_periods_tile_seven_decades_in_every_zone(case: Case) -> None:
    check(case, distinct_zones())


@pytest.mark.long
@pytest.mark.parametrize("case", [*QUICK, *LONG], ids=lambda case: case.name)
def test_periods_tile_seven_decades_under_every_name_of_every_zone(case: Case) -> None:
    """But for single days, which are many: those under one name of each."""
    check(case, distinct_zones() if case.unit == "day" else tuple(sorted(zone_names())))


def test_days_tile_time_around_every_change_of_clocks() -> None:
    """The two days before and after each of them, and the day itself, wherever the change falls in it."""
    changes = 0
    for zone in distinct_zones():
        clocks = clocks_of(zone)
        days = {at.date() + days * DAY for at in clocks.changes() for days in range(-2, 3)}
        changes += len(list(clocks.changes()))
        for on in sorted(days):
            period = nth_period(on, Interval("day"), zone, 0)
            assert (period.start, period.end) == (
                clocks.first_instant_of(on),
                clocks.first_instant_of(on + DAY),
            ), (zone, on)
    assert changes > 10_000


def test_every_name_of_a_zone_begins_its_years_alike() -> None:
    """So that what is tried under one name holds under all."""
    tried = set()
    for zone, names in names_of_zones().items():
        begins = [
            (year, clocks_of(zone).first_instant_of(date(year, 1, 1))) for year in range(1970, 2041, 10)
        ]
        for name in names:
            for year, begin in begins:
                assert nth_period(date(year, 1, 1), Interval("year"), name, 0).start == begin, (name, year)
        tried.update(names)
    assert tried == zone_names()


@pytest.mark.parametrize(
    ("zone", "on", "begins"),
    [
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-30T10:00:00"),  # the date that Samoa left out
        ("Pacific/Apia", date(2011, 12, 31), "2011-12-30T10:00:00"),
        ("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04T03:00:00"),  # midnight was left out
        ("America/Havana", date(2025, 11, 2), "2025-11-02T04:00:00"),  # clocks went back after midnight
        ("America/Toronto", date(2006, 10, 29), "2006-10-29T04:00:00"),
        ("Africa/Monrovia", date(1972, 1, 7), "1972-01-07T00:44:30"),  # to the second
        ("Asia/Kolkata", date(2040, 2, 29), "2040-02-28T18:30:00"),
    ],
)
def test_what_is_expected_is_right_where_it_is_known(zone: str, on: date, begins: str) -> None:
    assert clocks_of(zone).first_instant_of(on) == datetime.fromisoformat(begins).replace(tzinfo=UTC)
