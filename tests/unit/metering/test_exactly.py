"""Quantities that are quotients are rounded once, to 12 decimals, half away from zero."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.exact import Number
from services.metering.domain.exactly import quantity_of, quotient, rounded


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (Fraction(1, 3), "0.333333333333"),
        (Fraction(-2, 3), "-0.666666666667"),
        (Fraction(1, 2 * 10**12), "0.000000000001"),
        (Fraction(-1, 2 * 10**12), "-0.000000000001"),
        (Decimal("0.0000000000005"), "0.000000000001"),
        (Decimal("0.00000000000049"), "0"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1.500"), "1.5"),
        (Decimal(0), "0"),
        (Decimal("9" * 38), "9" * 38),
    ],
)
def test_rounding(number: Number, told: str) -> None:
    assert format(rounded(number), "f") == told


@given(st.integers(-(10**40), 10**40), st.integers(1, 10**20))
def test_a_quotient_is_the_nearest_of_all_with_12_decimals(dividend: int, divisor: int) -> None:
    found = Fraction(quotient(Decimal(dividend), Decimal(divisor)))
    off = abs(found - Fraction(dividend, divisor))
    assert off <= Fraction(1, 2 * 10**12)
    assert (found * 10**12).denominator == 1
    if off == Fraction(1, 2 * 10**12):
        assert abs(found) > abs(Fraction(dividend, divisor))


def test_what_has_more_than_38_digits_is_no_quantity() -> None:
    assert quantity_of(Decimal("9" * 38)) == Decimal("9" * 38)
    assert quantity_of(Decimal("9" * 39)) is None
