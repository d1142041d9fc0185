"""The least and the most: of one charge, of several prices, of the whole plan; of money and of units."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import CurrencyMismatch, Money, total
from services.billing.domain.rating.commitment import (
    Commitment,
    CommitmentNotPriceable,
    Spent,
    settle,
)
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rate import rate, rate_usage
from services.billing.domain.rating.usage import Usage
from tests.unit.billing.prices import a_price, a_tier

LIGHT = replace(a_price("per_unit", "0.004305"), id="pri_light", code="light")
FEE = replace(a_price("flat", "100"), id="pri_fee", code="fee")
LEAST = Commitment("least", "Yearly minimum", "EUR", minimum_amount=Decimal(500))
MOST = Commitment("most", "Cap", "EUR", maximum_amount=Decimal(500))
UNITS = Commitment("units", "Light", "EUR", ("light",), minimum_quantity=Decimal(100_000))


def spent(price: Price, quantity: str, minor: int) -> Spent:
    return Spent(price, Decimal(quantity), Money(minor, "EUR"))


class Bound(NamedTuple):
    name: str
    minimum: str | None
    maximum: str | None
    quantity: str
    lines: list[tuple[str, str, int, str]]  # kind, quantity, minor units, formula


BOUNDS = [
    Bound("below", "100", None, "60", [("minimum", "1", 4000, "up to the minimum: 100 - 60 = 40.00 EUR")]),
    Bound("nothing", "100", None, "0", [("minimum", "1", 10000, "up to the minimum: 100 - 0 = 100.00 EUR")]),
    Bound("just_reached", "60", None, "60", []),
    Bound("a_cent_short", "60.01", None, "60", [("minimum", "1", 1, "up to the minimum: 60.01 - 60 = 0.01 EUR")]),
    Bound("less_than_half_a_cent_short", "60.004", None, "60", []),
    Bound("above", None, "100", "165", [("maximum", "-1", -6500, "beyond the maximum: 100 - 165 = -65.00 EUR")]),
    Bound("just_at_the_most", None, "165", "165", []),
    Bound("a_cent_beyond", None, "164.99", "165",
          [("maximum", "-1", -1, "beyond the maximum: 164.99 - 165 = -0.01 EUR")]),
    Bound("between", "10", "100", "50", []),
    Bound("a_most_of_nothing", None, "0", "5", [("maximum", "-1", -500, "beyond the maximum: 0 - 5 = -5.00 EUR")]),
    Bound("finer_than_a_cent", None, "10.005", "20",
          [("maximum", "-1", -999, "beyond the maximum: 10.005 - 20 ≈ -9.99 EUR")]),
]  # fmt: skip


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.name)
def test_what_a_charge_comes_to_at_least_and_at_most(bound: Bound) -> None:
    price = a_price("per_unit", "1", minimum_amount=bound.minimum, maximum_amount=bound.maximum)
    first, *rest = rate(price, Decimal(bound.quantity))
    assert first.quantity == Decimal(bound.quantity)
    assert [(line.kind, line.quantity, line.amount.amount_minor, line.formula) for line in rest] == [
        (kind, Decimal(quantity), minor, formula) for kind, quantity, minor, formula in bound.lines
    ]
    for line in rest:
        assert line.unit_amount > 0
        assert line.exact == Fraction(line.amount.to_decimal())
        assert (line.key, line.ordinal, line.tier, line.flat_amount) == (line.kind, 0, 0, 0)
        assert line.description == f"Desk: {line.formula.partition(': ')[0]}"


def test_a_minimum_holds_for_the_part_in_use() -> None:
    price = a_price("per_unit", "1", minimum_amount="10")
    lines = rate_usage(price, Usage(Decimal(8)), bounds_fraction=Fraction(25, 28)).lines
    assert [line.amount.amount_minor for line in lines] == [800, 93]
    assert lines[1].formula == "up to the minimum: 10 * 25/28 - 8 ≈ 0.93 EUR"
    prorated = rate(price, Decimal(8), fraction=Fraction(1, 2))
    assert [line.amount.amount_minor for line in prorated] == [400, 100]
    assert rate_usage(price, Usage(Decimal(8)), fraction=Fraction(1, 2)).lines == prorated


def test_the_bounds_are_held_against_all_tiers_together() -> None:
    price = a_price("graduated", tiers=(a_tier("5", "1"), a_tier(None, "2")), minimum_amount="8")
    assert [line.amount.amount_minor for line in rate(price, Decimal(6))] == [500, 200, 100]
    assert [line.amount.amount_minor for line in rate(price, Decimal(7))] == [500, 400]


class Case(NamedTuple):
    name: str
    commitment: Commitment
    spent: list[Spent]
    fraction: Fraction
    lines: list[tuple[str, str, str, int]]  # kind, quantity, unit amount, minor units


WHOLE, ONE = Fraction(1), Decimal(1)
CASES = [
    Case("of_the_whole_plan", LEAST, [spent(LIGHT, "1", 30000), spent(FEE, "1", 10000)], WHOLE,
         [("minimum", "1", "100.00", 10000)]),
    Case("of_some_prices", replace(LEAST, price_codes=("light",)), [spent(LIGHT, "1", 30000), spent(FEE, "1", 10000)],
         WHOLE, [("minimum", "1", "200.00", 20000)]),
    Case("nothing_spent", LEAST, [], WHOLE, [("minimum", "1", "500.00", 50000)]),
    Case("over_a_year", LEAST, [spent(LIGHT, "1", 4000)] * 12, WHOLE, [("minimum", "1", "20.00", 2000)]),
    Case("of_a_part_of_the_year", LEAST, [], Fraction(73, 365), [("minimum", "1", "100.00", 10000)]),
    Case("just_reached", LEAST, [spent(LIGHT, "1", 50000)], WHOLE, []),
    Case("a_cap", MOST, [spent(LIGHT, "1", 30000), spent(FEE, "1", 30000)], WHOLE,
         [("maximum", "-1", "100.00", -10000)]),
    Case("just_at_the_cap", MOST, [spent(LIGHT, "1", 50000)], WHOLE, []),
    Case("units_short", UNITS, [spent(LIGHT, "85000", 36593), spent(FEE, "1", 1)], WHOLE,
         [("shortfall", "15000", "0.004305", 6458)]),
    Case("units_of_several_months", UNITS, [spent(LIGHT, "40000", 0), spent(LIGHT, "45000", 0)], WHOLE,
         [("shortfall", "15000", "0.004305", 6458)]),
    Case("half_a_unit_short", replace(UNITS, minimum_quantity=Decimal(7)),
         [spent(replace(LIGHT, unit_amount=ONE), "6.5", 0)], WHOLE, [("shortfall", "0.5", "1", 50)]),
    Case("units_reached", UNITS, [spent(LIGHT, "100000", 43050)], WHOLE, []),
    Case("units_beyond", UNITS, [spent(LIGHT, "100001", 43050)], WHOLE, []),
    Case("days_of_outage", replace(UNITS, minimum_quantity=Decimal(1_200_000), per="year"),
         [spent(LIGHT, "1160000", 0)], Fraction(353, 365), [("shortfall", "40000/73", "0.004305", 236)]),
    Case("units_count_towards_the_amount", replace(UNITS, minimum_amount=Decimal(500)),
         [spent(LIGHT, "85000", 36593)], WHOLE,
         [("shortfall", "15000", "0.004305", 6458), ("minimum", "1", "69.49", 6949)]),
    Case("nothing_committed_to", Commitment("none", "None", "EUR"), [spent(LIGHT, "1", 5)], WHOLE, []),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_settling_a_commitment(case: Case) -> None:
    lines = settle(case.commitment, case.spent, fraction=case.fraction)
    assert [(line.kind, line.quantity, line.unit_amount, line.amount) for line in lines] == [
        (kind, Fraction(quantity), Decimal(unit), Money(minor, "EUR"))
        for kind, quantity, unit, minor in case.lines
    ]


def test_lines_of_a_commitment_say_how_they_came_about() -> None:
    (short,) = settle(UNITS, [spent(LIGHT, "85000", 36593)])
    assert short.description == "Light: short of the quantity committed to"
    assert short.formula == (
        "short of the quantity committed to: 100000 - 85000 = 15000; 15000 * 0.004305 ≈ 64.58 EUR"
    )
    (even,) = settle(UNITS, [spent(LIGHT, "90000", 0)], fraction=Fraction(24, 25))
    assert even.formula.endswith("100000 * 24/25 - 90000 = 6000; 6000 * 0.004305 = 25.83 EUR")
    (least,) = settle(LEAST, [spent(FEE, "1", 10000)], fraction=Fraction(2, 3))
    assert least.formula == "up to the minimum: 500 * 2/3 - 100 ≈ 233.33 EUR"
    assert least.description == "Yearly minimum: up to the minimum"


@pytest.mark.parametrize(
    "spending",
    [
        [],
        [spent(FEE, "1", 5)],
        [spent(replace(FEE, code="light"), "1", 5)],
        [spent(LIGHT, "1", 5), spent(replace(LIGHT, id="pri_other"), "1", 5)],
        [spent(replace(LIGHT, unit_amount=None), "1", 5)],
    ],
    ids=["nothing", "another", "flat", "two", "no_amount"],
)
def test_units_that_are_short_need_one_price_per_unit(spending: list[Spent]) -> None:
    with pytest.raises(CommitmentNotPriceable) as refused:
        settle(UNITS, spending)
    assert (refused.value.pointer, refused.value.facts) == ("/price_codes", {"commitment": "units"})


def test_what_is_spent_is_in_the_commitments_currency() -> None:
    with pytest.raises(CurrencyMismatch):
        settle(LEAST, [Spent(FEE, Decimal(1), Money(5, "USD"))])


@given(
    minors=st.lists(st.integers(0, 10**6), max_size=5),
    least=st.decimals(0, 5000, places=3),
    width=st.decimals(0, 5000, places=3),
    fraction=st.fractions(0, 1, max_denominator=366),
)
def test_with_its_lines_the_spending_lies_between_the_bounds(
    minors: list[int], least: Decimal, width: Decimal, fraction: Fraction
) -> None:
    terms = replace(LEAST, minimum_amount=least, maximum_amount=least + width)
    spending = [spent(FEE, "1", minor) for minor in minors]
    lines = settle(terms, spending, fraction=fraction)
    settled = total([*(part.amount for part in spending), *(line.amount for line in lines)], "EUR")
    low, high = (Money.from_decimal(Fraction(bound) * fraction, "EUR") for bound in (least, least + width))
    assert low.amount_minor <= settled.amount_minor <= high.amount_minor
    assert not lines or settled in (low, high)
    assert len(lines) <= 1
