"""Changes inside a period under every convention: what one side gives back and the other is charged meet exactly."""

from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import Money
from libs.common.periods import MICROSECOND, Interval, Period, nth_period
from services.billing.domain.proration import ProrationOptions
from services.billing.domain.rating.price import Proration
from tests.cases.settling import Part, recurring_price, settled, sum_of

JANUARY = nth_period(date(2026, 1, 1), Interval("month"), "UTC", 0)
HUNDRED, OTHER = ({"amount": "100"}, {"amount": "310"})
ONE = Decimal(1)


def charges_of_change(
    full: Period, at: datetime, method: Proration, options: ProrationOptions, new: dict[str, str]
) -> tuple[Money, Money]:
    """What is given back, and what is charged."""
    old_price, new_price = (
        recurring_price(id, terms, "EUR", proration=method) for id, terms in (("old", HUNDRED), ("new", new))
    )
    whole = Part("plan", old_price, ONE, full.start, full.end)
    recorded = settled(full, [whole], until=full.start, options=options)
    parts = [whole._replace(end=at), whole._replace(price=new_price, start=at)]
    added = settled(full, parts, recorded=recorded, until=at, options=options)
    return sum_of(added, "EUR", sign=-1), sum_of(added, "EUR", sign=1)


class Counted(NamedTuple):
    name: str
    method: Proration
    options: ProrationOptions
    credit: str
    charge: str


USUAL = ProrationOptions()
CASES = [
    #       name          method    options                                        credit   charge
    Counted("new_day",    "day",    USUAL,                                         "54.84", "170.00"),
    Counted("old_day",    "day",    ProrationOptions(change_day="old"),            "51.61", "160.00"),
    Counted("thirty",     "day",    ProrationOptions(day_count="thirty_day_months"), "53.33", "165.33"),
    Counted("end_day",    "day",    ProrationOptions(end_day="used"),              "54.84", "170.00"),
    Counted("second",     "second", USUAL,                                         "53.23", "165.00"),
    Counted("none",       "none",   USUAL,                                         "0.00",  "0.00"),
    Counted("full",       "full",   USUAL,                                         "0.00",  "310.00"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_change_at_noon_on_the_15th(case: Counted) -> None:
    at = JANUARY.start + (JANUARY.end - JANUARY.start) * 29 / 62
    found = charges_of_change(JANUARY, at, case.method, case.options, OTHER)
    assert [format(amount.to_decimal(), "f") for amount in found] == [case.credit, case.charge]


@pytest.mark.parametrize(("end_day", "charge"), [("unused", "45.16"), ("used", "48.39")])
def test_the_day_of_an_end_is_in_use_or_not(end_day: str, charge: str) -> None:
    at = JANUARY.start + (JANUARY.end - JANUARY.start) * 29 / 62
    price = recurring_price("fee", HUNDRED, "EUR", in_advance=False)
    options = ProrationOptions(end_day="used" if end_day == "used" else "unused")
    part = Part("plan", price, ONE, JANUARY.start, at)
    (found,) = settled(JANUARY, [part], until=JANUARY.end, ends_at=at, options=options)
    assert format(found.amount.to_decimal(), "f") == charge


@given(
    anchor_on=st.dates(date(2000, 1, 1), date(2040, 1, 1)),
    zone=st.sampled_from(["UTC", "Europe/Amsterdam", "America/St_Johns", "Pacific/Apia"]),
    cut=st.fractions(0, 1, max_denominator=10_000),
    method=st.sampled_from(["day", "second"]),
    options=st.builds(
        ProrationOptions,
        day_count=st.sampled_from(["actual", "thirty_day_months"]),
        change_day=st.sampled_from(["new", "old"]),
        end_day=st.sampled_from(["unused", "used"]),
    ),
)
def test_a_change_to_the_same_price_by_another_name_costs_nothing(
    anchor_on: date, zone: str, cut: Fraction, method: Proration, options: ProrationOptions
) -> None:
    full = nth_period(anchor_on, Interval("month"), zone, 0)
    at = full.start + full.length_us * cut.numerator // cut.denominator * MICROSECOND
    credit, charge = charges_of_change(full, at, method, options, HUNDRED)
    assert credit == charge
    assert credit.amount_minor <= 100_00
