"""Rating: each model, the edges of tiers, parts of a period, and the sentence that explains a line."""

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest

from libs.common.money import Money
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rate import NegativeQuantity, rate
from tests.unit.billing.prices import a_price, a_tier

SEATS = (a_tier("50", "30"), a_tier(None, "26"))
VOLUME = (a_tier("100", "10"), a_tier(None, "9"))
WITH_FEES = (a_tier("5", "1", "100"), a_tier(None, "2", "50"))


class Case(NamedTuple):
    name: str
    price: Price
    quantity: str
    fraction: tuple[int, int]
    lines: list[tuple[int, str, int, str]]  # tier, quantity, minor units, formula


CASES = [
    Case("flat", a_price("flat", "99"), "7", (1, 1), [(0, "1", 9900, "1 * 99 = 99.00 EUR")]),
    Case("flat_for_a_part", a_price("flat", "99"), "7", (1, 3), [(0, "1", 3300, "1 * 99 * 1/3 = 33.00 EUR")]),
    Case("per_unit", a_price("per_unit", "3.28"), "400", (1, 1),
         [(0, "400", 131200, "400 * 3.28 = 1312.00 EUR")]),
    Case("unit_price_finer_than_a_cent", a_price("per_unit", "0.004305"), "85000", (1, 1),
         [(0, "85000", 36593, "85000 * 0.004305 ≈ 365.93 EUR")]),
    Case("part_of_a_period", a_price("per_unit", "9.00"), "10", (17, 31),
         [(0, "10", 4935, "10 * 9 * 17/31 ≈ 49.35 EUR")]),
    Case("included_units_are_free", a_price("per_unit", "0.95", included="12"), "16", (1, 1),
         [(0, "4", 380, "after 12 included: 4 * 0.95 = 3.80 EUR")]),
    Case("all_included", a_price("per_unit", "0.95", included="12"), "11", (1, 1),
         [(0, "0", 0, "after 12 included: 0 * 0.95 = 0.00 EUR")]),
    Case("nothing_is_a_line_of_zero", a_price("per_unit", "3"), "0", (1, 1),
         [(0, "0", 0, "0 * 3 = 0.00 EUR")]),
    Case("no_minor_units", a_price("per_unit", "0.5", currency="JPY"), "3", (1, 1),
         [(0, "3", 2, "3 * 0.5 ≈ 2 JPY")]),
    Case("a_begun_package_is_paid", a_price("package", "1.25", package_size="10", included="50"),
         "61", (1, 1), [(0, "2", 250, "after 50 included: ceil(11 / 10) * 1.25 = 2.50 EUR")]),
    Case("a_full_package_is_one", a_price("package", "1.25", package_size="10"), "10", (1, 1),
         [(0, "1", 125, "ceil(10 / 10) * 1.25 = 1.25 EUR")]),
    Case("no_package_for_nothing", a_price("package", "1.25", package_size="10"), "0", (1, 1),
         [(0, "0", 0, "ceil(0 / 10) * 1.25 = 0.00 EUR")]),
    Case("graduated_ends_on_the_edge", a_price("graduated", tiers=SEATS), "50", (1, 1),
         [(1, "50", 150000, "tier 1, up to 50: 50 * 30 = 1500.00 EUR")]),
    Case("graduated_beyond_the_edge", a_price("graduated", tiers=SEATS), "64", (1, 1),
         [(1, "50", 150000, "tier 1, up to 50: 50 * 30 = 1500.00 EUR"),
          (2, "14", 36400, "tier 2, above 50: 14 * 26 = 364.00 EUR")]),
    Case("graduated_a_hair_beyond", a_price("graduated", tiers=SEATS), "50.001", (1, 1),
         [(1, "50", 150000, "tier 1, up to 50: 50 * 30 = 1500.00 EUR"),
          (2, "0.001", 3, "tier 2, above 50: 0.001 * 26 ≈ 0.03 EUR")]),
    Case("flat_amounts_of_tiers_reached", a_price("graduated", tiers=WITH_FEES), "6", (1, 1),
         [(1, "5", 10500, "tier 1, up to 5: 5 * 1 + 100 = 105.00 EUR"),
          (2, "1", 5200, "tier 2, above 5: 1 * 2 + 50 = 52.00 EUR")]),
    Case("the_first_tier_is_reached_by_nothing", a_price("graduated", tiers=WITH_FEES), "0", (1, 1),
         [(1, "0", 10000, "tier 1, up to 5: 0 * 1 + 100 = 100.00 EUR")]),
    Case("flat_amounts_are_prorated_too", a_price("graduated", tiers=WITH_FEES), "5", (1, 2),
         [(1, "5", 5250, "tier 1, up to 5: (5 * 1 + 100) * 1/2 = 52.50 EUR")]),
    Case("volume_on_the_edge", a_price("volume", tiers=VOLUME), "100", (1, 1),
         [(1, "100", 100000, "tier 1, up to 100: 100 * 10 = 1000.00 EUR")]),
    Case("volume_beyond_costs_less", a_price("volume", tiers=VOLUME), "101", (1, 1),
         [(2, "101", 90900, "tier 2, above 100: 101 * 9 = 909.00 EUR")]),
    Case("one_open_tier", a_price("graduated", tiers=(a_tier(None, "1"),)), "2", (1, 1),
         [(1, "2", 200, "tier 1: 2 * 1 = 2.00 EUR")]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rate(case: Case) -> None:
    rated = rate(case.price, Decimal(case.quantity), fraction=Fraction(*case.fraction))
    currency = case.price.currency
    assert [(line.tier, line.quantity, line.amount, line.formula) for line in rated] == [
        (tier, Decimal(quantity), Money(minor, currency), formula)
        for tier, quantity, minor, formula in case.lines
    ]


def test_a_prorated_line_shows_the_quantity_in_use() -> None:
    (line,) = rate(a_price("per_unit", "9"), Decimal(10), fraction=Fraction(17, 31))
    assert str(line.shown_quantity) == "5.483871"


def test_a_whole_quantity_is_shown_without_exponent_or_zeros() -> None:
    (line,) = rate(a_price("per_unit", "9"), Decimal("400.000"))
    assert str(line.shown_quantity) == "400"


def test_the_way_a_number_is_written_changes_nothing() -> None:
    one = rate(a_price("per_unit", "5.20"), Decimal("100000"))
    other = rate(a_price("per_unit", "5.2000"), Decimal("1E+5"))
    assert [line.formula for line in one] == [line.formula for line in other]


def test_no_digit_is_lost_where_quantity_and_price_have_many() -> None:
    quantity, unit = Decimal("123456789012345.123456789012"), Decimal("0.000000000001")
    (line,) = rate(a_price("per_unit", str(unit)), quantity)
    assert line.exact == Fraction(quantity) * Fraction(unit)
    assert line.amount == Money(12346, "EUR")


def test_a_quantity_below_zero_is_refused() -> None:
    with pytest.raises(NegativeQuantity) as refused:
        rate(a_price("per_unit", "1"), Decimal("-0.001"))
    assert refused.value.code == "negative_quantity"


def test_more_than_a_period_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        rate(a_price("per_unit", "1"), Decimal(1), fraction=Fraction(32, 31))
