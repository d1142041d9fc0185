"""Units added inside a period."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.billing.domain.rating.change import rate_change
from services.billing.domain.rating.rate import rate
from tests.unit.billing.prices import a_price, a_tier

SEATS = a_price("graduated", tiers=(a_tier("50", "30"), a_tier(None, "26")), currency="USD")
BY_VOLUME = a_price("volume", tiers=(a_tier("100", "10"), a_tier(None, "9")))
WITH_FEES = a_price("graduated", tiers=(a_tier("5", "1", "100"), a_tier(None, "2", "50", cap="60")))


def told(lines: tuple[object, ...]) -> list[tuple[str, Fraction, Fraction, int, str]]:
    return [
        (
            line.key,
            Fraction(line.quantity),
            Fraction(line.unit_amount),
            line.amount.amount_minor,
            line.formula,
        )  # type: ignore[attr-defined]
        for line in lines
    ]


def test_added_seats_cost_what_their_tier_costs_for_the_rest_of_the_month() -> None:
    lines = rate_change(SEATS, Decimal(50), Decimal(64), fraction=Fraction(21, 30))
    assert told(lines) == [("2", 14, 26, 25480, "14 * 26 * 7/10 = 254.80 USD")]


def test_seats_given_back_are_a_negative_quantity() -> None:
    assert told(rate_change(SEATS, Decimal(52), Decimal(49))) == [
        ("1", -1, 30, -3000, "-1 * 30 = -30.00 USD"),
        ("2", -2, 26, -5200, "-2 * 26 = -52.00 USD"),
    ]


def test_where_units_do_not_make_the_difference_it_is_charged_once() -> None:
    assert told(rate_change(WITH_FEES, Decimal(5), Decimal(6))) == [("2", 1, 52, 5200, "1 * 52 = 52.00 EUR")]
    assert told(rate_change(WITH_FEES, Decimal(20), Decimal(6), fraction=Fraction(1, 3))) == [
        ("2", -1, 8, -267, "-1 * 8 * 1/3 ≈ -2.67 EUR")
    ]


def test_no_change_is_no_line() -> None:
    assert rate_change(SEATS, Decimal(60), Decimal(60)) == ()


def test_by_volume_one_more_may_cost_less() -> None:
    assert told(rate_change(BY_VOLUME, Decimal(100), Decimal(101))) == [
        ("0", -1, 91, -9100, "-1 * 91 = -91.00 EUR")
    ]
    assert told(rate_change(BY_VOLUME, Decimal(101), Decimal(103))) == [
        ("0", 2, 9, 1800, "2 * 9 = 18.00 EUR")
    ]


def test_less_than_one_more_is_more() -> None:
    flat = a_price("graduated", tiers=(a_tier("1", "0"), a_tier(None, "0", "0.5")))
    assert told(rate_change(flat, Decimal(1), Decimal(2))) == [
        ("2", 1, Fraction(1, 2), 50, "1 * 0.5 = 0.50 EUR")
    ]


quantities = st.decimals(0, 200, places=1)


@given(quantities, quantities, st.fractions(0, 1, max_denominator=31))
def test_a_change_and_its_undoing_cancel_out(before: Decimal, after: Decimal, fraction: Fraction) -> None:
    for price in (SEATS, BY_VOLUME, WITH_FEES):
        there = rate_change(price, before, after, fraction=fraction)
        back = rate_change(price, after, before, fraction=fraction)
        assert sum(line.amount.amount_minor for line in (*there, *back)) == 0


@given(quantities, quantities)
def test_what_was_and_what_changed_is_what_is(before: Decimal, after: Decimal) -> None:
    """Nothing is gained or lost beyond the rounding of each line."""
    for price in (SEATS, BY_VOLUME, WITH_FEES):
        old, new = (sum(line.amount.amount_minor for line in rate(price, units)) for units in (before, after))
        lines = rate_change(price, before, after)
        assert abs(old + sum(line.amount.amount_minor for line in lines) - new) <= 2
