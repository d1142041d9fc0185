"""Which part of a period's price is owed."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.periods import (
    MICROSECOND,
    InstantOutsidePeriod,
    Interval,
    Period,
    nth_period,
    zone_names,
)
from services.billing.domain.proration import fraction_in_use
from services.billing.domain.rating.price import Proration

ZONE = "Europe/Amsterdam"
JANUARY = Period.between(date(2026, 1, 1), date(2026, 2, 1), ZONE)


class Case(NamedTuple):
    name: str
    zone: str
    full: str
    used: str
    part: tuple[int, int]


CASES = [
    #    name                   zone            full period              in use                   part
    Case("first_part",          ZONE,           "2026-01-01/2026-02-01", "2026-01-15/2026-02-01", (17, 31)),
    Case("last_part",           ZONE,           "2026-07-15/2026-08-15", "2026-07-15/2026-08-01", (17, 31)),
    Case("whole",               ZONE,           "2026-01-01/2026-02-01", "2026-01-01/2026-02-01", (1, 1)),
    Case("nothing",             ZONE,           "2026-01-01/2026-02-01", "2026-01-15/2026-01-15", (0, 1)),
    Case("clocks_change",       ZONE,           "2025-03-01/2025-04-01", "2025-03-01/2025-03-31", (30, 31)),
    Case("leap_year",           ZONE,           "2024-01-01/2025-01-01", "2024-03-01/2025-01-01", (51, 61)),
    Case("a_date_was_skipped",  "Pacific/Apia", "2011-12-01/2012-01-01", "2011-12-29/2012-01-01", (2, 30)),
    Case("only_a_skipped_date", "Pacific/Apia", "2011-12-30/2011-12-31", "2011-12-30/2011-12-31", (0, 1)),
]  # fmt: skip


def days(text: str, zone: str) -> Period:
    start_on, end_on = (date.fromisoformat(on) for on in text.split("/"))
    return Period.between(start_on, end_on, zone)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_by_day(case: Case) -> None:
    full, used = days(case.full, case.zone), days(case.used, case.zone)
    assert fraction_in_use(used=used, full=full, method="day") == Fraction(*case.part)


def test_a_change_within_a_day_counts_from_the_start_of_that_day() -> None:
    at = datetime(2026, 1, 15, 14, 30, tzinfo=UTC)
    before, after = JANUARY.split(at)
    assert fraction_in_use(used=before, full=JANUARY, method="day") == Fraction(14, 31)
    assert fraction_in_use(used=after, full=JANUARY, method="day") == Fraction(17, 31)


def test_by_second_counts_what_a_day_lasted() -> None:
    march = Period.between(date(2025, 3, 1), date(2025, 4, 1), ZONE)
    last_day = Period.between(date(2025, 3, 30), date(2025, 3, 31), ZONE)
    assert fraction_in_use(used=last_day, full=march, method="second") == Fraction(23, 31 * 24 - 1)


@pytest.mark.parametrize(("method", "fraction"), [("none", 0), ("full", 1)])
def test_a_part_may_cost_nothing_or_the_whole(method: Proration, fraction: int) -> None:
    part = Period(JANUARY.start, JANUARY.end - MICROSECOND, ZONE)
    assert fraction_in_use(used=part, full=JANUARY, method=method) == fraction


@pytest.mark.parametrize("method", ["none", "day", "second", "full"])
def test_a_whole_period_costs_the_whole_by_every_method(method: Proration) -> None:
    assert fraction_in_use(used=JANUARY, full=JANUARY, method=method) == 1


def test_time_outside_the_period_is_refused() -> None:
    outside = Period(JANUARY.start, JANUARY.end + timedelta(days=1), ZONE)
    with pytest.raises(InstantOutsidePeriod):
        fraction_in_use(used=outside, full=JANUARY, method="day")


@given(
    zone=st.sampled_from(sorted(zone_names())),
    anchor_on=st.dates(date(1990, 1, 1), date(2040, 1, 1)),
    cut=st.fractions(0, 1),
    method=st.sampled_from(["day", "second"]),
)
def test_the_parts_before_and_after_a_change_are_one(
    zone: str, anchor_on: date, cut: Fraction, method: Proration
) -> None:
    full = nth_period(anchor_on, Interval("month"), zone, 0)
    cut_us = full.length_us * cut.numerator // cut.denominator
    before, after = full.split(full.start + cut_us * MICROSECOND)
    parts = [fraction_in_use(used=used, full=full, method=method) for used in (before, after)]
    assert sum(parts) == 1
