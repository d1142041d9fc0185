"""When an invoice is due: by days, by the end of the month, and on which day of the week."""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.billing.adapters.business_days import calendar_of
from services.billing.domain.payment_terms import PaymentTerms, due_date, month_end


class Case(NamedTuple):
    name: str
    issued_on: str
    terms: PaymentTerms
    country: str | None
    due_on: str


NET_0, NET_14, NET_30 = PaymentTerms(0), PaymentTerms(14), PaymentTerms(30)
MONTH_END, MONTH_END_30 = PaymentTerms(0, "month_end"), PaymentTerms(30, "month_end")

CASES = [
    #    name                       issued_on     terms         country due_on
    Case("at_once",                 "2026-04-25", NET_0,        None,   "2026-04-25"),
    Case("a_saturday_stays",        "2026-04-11", NET_14,       None,   "2026-04-25"),
    Case("saturday_to_tuesday",     "2026-04-11", NET_14,       "NL",   "2026-04-28"),  # Monday is King's Day
    Case("saturday_to_monday",      "2026-04-11", NET_14,       "DE",   "2026-04-27"),
    Case("a_business_day_stays",    "2026-04-14", NET_14,       "NL",   "2026-04-28"),
    Case("over_new_year",           "2026-12-01", NET_30,       "DE",   "2026-12-31"),
    Case("new_year_moves",          "2026-12-18", NET_14,       "DE",   "2027-01-04"),  # Friday the first
    Case("christmas_and_weekend",   "2026-12-25", NET_0,        "DE",   "2026-12-28"),
    Case("weekend_of_israel",       "2026-05-15", NET_0,        "IL",   "2026-05-17"),  # Friday to Sunday
    Case("sunday_in_germany",       "2026-05-17", NET_0,        "DE",   "2026-05-18"),
    Case("country_nobody_knows",    "2026-05-16", NET_0,        "QQ",   "2026-05-18"),
    Case("end_of_month",            "2026-02-03", MONTH_END,    None,   "2026-02-28"),
    Case("end_of_leap_february",    "2028-02-29", MONTH_END,    None,   "2028-02-29"),
    Case("thirty_after_its_month",  "2026-01-15", MONTH_END_30, None,   "2026-03-02"),
    Case("and_then_a_business_day", "2026-01-15", MONTH_END,    "NL",   "2026-02-02"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_due_date(case: Case) -> None:
    calendar = None if case.country is None else calendar_of(case.country)
    due_on = due_date(date.fromisoformat(case.issued_on), case.terms, calendar=calendar)
    assert due_on == date.fromisoformat(case.due_on)


def test_a_calendar_without_business_days_moves_nothing() -> None:
    class NeverOpen:
        def is_business_day(self, day: date) -> bool:
            return False

    assert due_date(date(2026, 4, 11), NET_14, calendar=NeverOpen()) == date(2026, 4, 25)


@settings(max_examples=60)
@given(
    issued_on=st.dates(date(2020, 1, 1), date(2030, 12, 31)),
    days=st.integers(0, 120),
    from_month_end=st.booleans(),
    country=st.sampled_from(["NL", "DE", "US", "IL", "AE"]),
)
def test_it_is_the_first_business_day_from_there_on(
    issued_on: date, days: int, from_month_end: bool, country: str
) -> None:
    terms = PaymentTerms(days, "month_end" if from_month_end else "issue")
    calendar = calendar_of(country)
    plain, moved = due_date(issued_on, terms), due_date(issued_on, terms, calendar=calendar)
    assert plain == (month_end(issued_on) if from_month_end else issued_on) + timedelta(days=days)
    assert calendar.is_business_day(moved)
    passed = [plain + timedelta(days=ahead) for ahead in range((moved - plain).days)]
    assert not any(calendar.is_business_day(day) for day in passed)
