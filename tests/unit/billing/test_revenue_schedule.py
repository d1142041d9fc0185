"""When a line is earned: by calendar month, by days, to the cent."""

from datetime import date
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.money import Money, total
from services.billing.domain.revenue_schedule import EarnedLine, credited_schedule, schedule_of


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def day(text: str) -> date:
    return date.fromisoformat(text)


class Case(NamedTuple):
    name: str
    net: int
    start: str | None
    until: str | None
    invoiced: str
    at_issue: int
    later: list[tuple[str, int]]


CASES = [
    #    name                      net  start         until         invoiced      at issue  later
    Case("month_ahead",           3000, "2026-04-01", "2026-05-01", "2026-04-01",    0, [("2026-04-30", 3000)]),
    Case("month_behind",          3000, "2026-03-01", "2026-04-01", "2026-04-01", 3000, []),
    Case("one_day_left",          3100, "2026-03-01", "2026-04-01", "2026-03-31", 3000, [("2026-03-31", 100)]),
    Case("begins_the_day_after",   100, "2026-04-02", "2026-04-12", "2026-04-01",    0, [("2026-04-11", 100)]),
    Case("partly_behind",         2100, "2026-04-10", "2026-05-01", "2026-04-20", 1000, [("2026-04-30", 1100)]),
    Case("two_months",            3100, "2026-01-15", "2026-02-15", "2026-01-15",    0,
         [("2026-01-31", 1700), ("2026-02-14", 1400)]),
    Case("quarter_half_gone",     9100, "2026-04-01", "2026-07-01", "2026-05-16", 4500,
         [("2026-05-31", 1600), ("2026-06-30", 3000)]),
    Case("largest_remainder",      100, "2026-01-01", "2026-04-01", "2026-01-01",    0,
         [("2026-01-31", 35), ("2026-02-28", 31), ("2026-03-31", 34)]),
    Case("credit",               -3100, "2026-01-15", "2026-02-15", "2026-01-15",    0,
         [("2026-01-31", -1700), ("2026-02-14", -1400)]),
    Case("over_new_year",         6200, "2026-12-01", "2027-02-01", "2026-12-01",    0,
         [("2026-12-31", 3100), ("2027-01-31", 3100)]),
    Case("earned_at_once",         500, "2026-04-01", None,         "2026-04-01",  500, []),
    Case("no_service_period",      500, None,         None,         "2026-04-01",  500, []),
    Case("no_length_today",        500, "2026-04-01", "2026-04-01", "2026-04-01",  500, []),
    Case("no_length_later",        500, "2026-04-03", "2026-04-03", "2026-04-01",    0, [("2026-04-03", 500)]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_when_a_line_is_earned(case: Case) -> None:
    line = EarnedLine(
        eur(case.net),
        None if case.start is None else day(case.start),
        None if case.until is None else day(case.until),
    )
    schedule = schedule_of(line, day(case.invoiced))
    assert schedule.at_issue.amount_minor == case.at_issue
    assert [(str(part.on), part.amount.amount_minor) for part in schedule.later] == case.later


def test_a_year_has_twelve_parts_that_sum_to_it() -> None:
    schedule = schedule_of(EarnedLine(eur(120000), day("2026-01-01"), day("2027-01-01")), day("2026-01-01"))
    parts = [part.amount.amount_minor for part in schedule.later]
    assert parts == [10192, 9205, 10192, 9863, 10192, 9863, 10192, 10192, 9863, 10192, 9863, 10191]
    assert sum(parts) == 120000


dates = st.dates(date(2024, 1, 1), date(2027, 12, 31))
nets = st.integers(-(10**12), 10**12).map(eur)


@settings(max_examples=60)
@given(net=nets, start=dates, days=st.integers(0, 1500), invoiced=dates)
def test_a_schedule_is_the_whole_line_in_months_that_follow(
    net: Money, start: date, days: int, invoiced: date
) -> None:
    until = date.fromordinal(start.toordinal() + days)
    schedule = schedule_of(EarnedLine(net, start, until), invoiced)
    assert total([schedule.at_issue, *(part.amount for part in schedule.later)], "EUR") == net
    months = [(part.on.year, part.on.month) for part in schedule.later]
    assert months == sorted(set(months))
    assert all(part.on >= max(invoiced, start) for part in schedule.later)
    assert days == 0 or all(part.on < until for part in schedule.later)


@settings(max_examples=40)
@given(net=nets, days=st.integers(1, 400), cuts=st.lists(st.integers(0, 100), max_size=4), invoiced=dates)
def test_credits_of_all_of_a_line_take_all_of_its_schedule(
    net: Money, days: int, cuts: list[int], invoiced: date
) -> None:
    line = EarnedLine(net, date(2026, 1, 20), date.fromordinal(date(2026, 1, 20).toordinal() + days))
    whole = schedule_of(line, invoiced)
    levels = [eur(0), *(net.share(cut, 100) for cut in sorted(cuts)), net]
    taken = [
        credited_schedule(line, invoiced, before=before, credit=after - before)
        for before, after in pairwise(levels)
    ]
    assert total((part.at_issue for part in taken), "EUR") == whole.at_issue
    for index, month in enumerate(whole.later):
        assert total((part.later[index].amount for part in taken if part.later), "EUR") == month.amount
