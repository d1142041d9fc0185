"""Which part of a period's price is owed."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Literal, NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from libs.common.periods import (
    MICROSECOND,
    InstantOutsidePeriod,
    Interval,
    Period,
    nth_period,
    zone_names,
)
from services.billing.domain.proration import (
    ProrationOptions,
    days_of_fixed_months,
    fraction_in_use,
    measured_against,
)
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


THIRTY = ProrationOptions(day_count="thirty_day_months")

THIRTY_CASES = [
    #    name                       zone  full period              in use                   part
    Case("first_part",              ZONE, "2026-01-01/2026-02-01", "2026-01-15/2026-02-01", (16, 30)),
    Case("over_a_long_month",       ZONE, "2023-05-15/2023-06-15", "2023-05-23/2023-06-15", (22, 30)),
    Case("over_february",           ZONE, "2024-02-23/2024-03-23", "2024-02-23/2024-03-15", (22, 30)),
    Case("a_31st_is_a_30th",        ZONE, "2026-05-15/2026-06-15", "2026-05-31/2026-06-15", (15, 30)),
    Case("nothing_on_the_31st",     ZONE, "2026-05-15/2026-06-15", "2026-05-30/2026-05-31", (0, 1)),
    Case("the_end_of_february",     ZONE, "2026-02-01/2026-03-01", "2026-02-28/2026-03-01", (3, 30)),
    Case("whole_month_end_anchor",  ZONE, "2026-01-31/2026-02-28", "2026-01-31/2026-02-28", (1, 1)),
    Case("part_month_end_anchor",   ZONE, "2026-01-31/2026-02-28", "2026-02-14/2026-02-28", (14, 28)),
    Case("a_year",                  ZONE, "2024-01-01/2025-01-01", "2024-03-01/2025-01-01", (300, 360)),
    Case("a_day_that_is_no_day",    ZONE, "2026-01-30/2026-01-31", "2026-01-30/2026-01-31", (1, 1)),
]  # fmt: skip


@pytest.mark.parametrize("case", THIRTY_CASES, ids=lambda case: case.name)
def test_by_day_in_months_of_thirty_days(case: Case) -> None:
    full, used = days(case.full, case.zone), days(case.used, case.zone)
    assert fraction_in_use(used=used, full=full, method="day", options=THIRTY) == Fraction(*case.part)


def test_time_elapsed_knows_no_months() -> None:
    used = Period.between(date(2026, 1, 15), date(2026, 2, 1), ZONE)
    assert fraction_in_use(used=used, full=JANUARY, method="second", options=THIRTY) == Fraction(17, 31)


def test_months_may_have_another_length() -> None:
    assert days_of_fixed_months(date(2023, 6, 23), date(2023, 7, 15), month_days=28) == 20


class FirstPart(NamedTuple):
    name: str
    used: str
    full: str
    stub: Literal["anchored", "unclamped"]
    part: tuple[int, int]


FIRST_PARTS = [
    #         name                   in use                   full period              stub         part
    FirstPart("anchored",            "2026-02-10/2026-02-28", "2026-01-31/2026-02-28", "anchored",  (18, 28)),
    FirstPart("unclamped",           "2026-02-10/2026-02-28", "2026-01-31/2026-02-28", "unclamped", (18, 31)),
    FirstPart("the_same_for_both",   "2026-02-10/2026-02-15", "2026-01-15/2026-02-15", "unclamped", (5, 31)),
    FirstPart("whole_is_whole",      "2026-01-31/2026-02-28", "2026-01-31/2026-02-28", "unclamped", (1, 1)),
]  # fmt: skip


@pytest.mark.parametrize("case", FIRST_PARTS, ids=lambda case: case.name)
def test_what_a_first_part_is_measured_against(case: FirstPart) -> None:
    used, full = days(case.used, ZONE), days(case.full, ZONE)
    options = ProrationOptions(stub=case.stub)
    against = measured_against(used=used, full=full, interval=Interval("month"), options=options)
    assert fraction_in_use(used=used, full=against, method="day") == Fraction(*case.part)


METHODS: list[Proration] = ["none", "day", "second", "full"]
ZONES = st.sampled_from(sorted(zone_names()))
ANCHORS = st.dates(date(1990, 1, 1), date(2040, 1, 1))
INTERVALS = st.builds(Interval, st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 3))
OPTIONS = st.builds(
    ProrationOptions,
    day_count=st.sampled_from(["actual", "thirty_day_months"]),
    stub=st.sampled_from(["anchored", "unclamped"]),
)
CUTS = st.lists(st.fractions(0, 1, max_denominator=10_000), min_size=1, max_size=4)


def cut_at(full: Period, cuts: list[Fraction]) -> list[datetime]:
    return sorted(
        full.start + full.length_us * cut.numerator // cut.denominator * MICROSECOND for cut in cuts
    )


@given(zone=ZONES, anchor_on=ANCHORS, interval=INTERVALS, cuts=CUTS, options=OPTIONS)
@pytest.mark.parametrize("method", ["day", "second"])
def test_the_parts_of_a_period_are_one_by_every_convention(
    method: Proration,
    zone: str,
    anchor_on: date,
    interval: Interval,
    cuts: list[Fraction],
    options: ProrationOptions,
) -> None:
    """By the day and by the second, also in months of thirty days.

    `none` and `full` do not promise it: by them, parts cost nothing or the whole each.
    """
    full = nth_period(anchor_on, interval, zone, 0)
    assume(full.length_us)
    bounds = [full.start, *cut_at(full, cuts), full.end]
    parts = [Period(start, end, zone) for start, end in pairwise(bounds)]
    fractions = [fraction_in_use(used=part, full=full, method=method, options=options) for part in parts]
    assert sum(fractions) == 1
    assert all(0 <= part <= 1 for part in fractions)


@given(zone=ZONES, anchor_on=ANCHORS, interval=INTERVALS, cuts=CUTS, options=OPTIONS)
@pytest.mark.parametrize("method", METHODS)
def test_a_first_part_owes_no_more_than_the_whole(
    method: Proration,
    zone: str,
    anchor_on: date,
    interval: Interval,
    cuts: list[Fraction],
    options: ProrationOptions,
) -> None:
    """A stub that is measured against another period adds nothing up with that one's other part: there is none."""
    full = nth_period(anchor_on, interval, zone, 0)
    used = Period(cut_at(full, cuts)[0], full.end, zone)
    against = measured_against(used=used, full=full, interval=interval, options=options)
    part = fraction_in_use(used=used, full=against, method=method, options=options)
    assert 0 <= part <= fraction_in_use(used=used, full=full, method=method, options=options) <= 1


@given(zone=ZONES, anchor_on=ANCHORS, interval=INTERVALS, options=OPTIONS)
@pytest.mark.parametrize("method", METHODS)
def test_a_whole_period_costs_the_whole_by_every_convention(
    method: Proration, zone: str, anchor_on: date, interval: Interval, options: ProrationOptions
) -> None:
    full = nth_period(anchor_on, interval, zone, 0)
    assume(full.length_us)
    against = measured_against(used=full, full=full, interval=interval, options=options)
    assert fraction_in_use(used=full, full=against, method=method, options=options) == 1
