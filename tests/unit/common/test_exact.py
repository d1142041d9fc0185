"""Exact sums: decimals where they hold it, fractions where not, an error where neither was asked for."""

from __future__ import annotations

from decimal import Decimal, Inexact
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.exact import (
    DIGITS_MAX,
    EXACT,
    Number,
    absolute,
    add,
    divide,
    multiply,
    plain,
    subtract,
    text,
)

numbers = st.one_of(st.decimals(-(10**9), 10**9, places=6), st.fractions(max_denominator=99))


@given(one=numbers, other=numbers)
def test_sums_and_products_are_those_of_fractions(one: Number, other: Number) -> None:
    left, right = Fraction(one), Fraction(other)
    assert Fraction(add(one, other)) == left + right
    assert Fraction(subtract(one, other)) == left - right
    assert Fraction(multiply(one, other)) == left * right
    assert Fraction(absolute(one)) == abs(left)
    assert Fraction(plain(one)) == left
    if right:
        assert Fraction(divide(one, other)) == Fraction(left, right)


@pytest.mark.parametrize("reckon", [add, subtract, multiply])
def test_two_decimals_stay_a_decimal(reckon: object) -> None:
    assert isinstance(reckon(Decimal("1.5"), Decimal("0.5")), Decimal)  # type: ignore[operator]
    assert isinstance(reckon(Decimal("1.5"), Fraction(1, 2)), Fraction)  # type: ignore[operator]
    assert isinstance(reckon(Fraction(1, 2), Decimal("1.5")), Fraction)  # type: ignore[operator]


def test_a_quotient_is_a_decimal_where_it_comes_out_even() -> None:
    assert divide(Decimal(1), Decimal(8)) == Decimal("0.125")
    assert isinstance(divide(Decimal(1), Decimal(8)), Decimal)
    assert divide(Decimal(1), Decimal(3)) == Fraction(1, 3)
    assert isinstance(plain(Fraction(2107, 2)), Decimal)
    assert isinstance(plain(Fraction(1, 3)), Fraction)


@pytest.mark.parametrize("zero", [Decimal(0), Fraction(0)])
def test_nothing_is_divided_by_zero(zero: Number) -> None:
    with pytest.raises(ZeroDivisionError):
        divide(Decimal(1), zero)


def test_what_would_be_rounded_is_refused() -> None:
    long = Decimal(10**DIGITS_MAX + 1)
    with pytest.raises(Inexact):
        EXACT.plus(long)
    assert EXACT.plus(Decimal(10**DIGITS_MAX - 1)) == 10**DIGITS_MAX - 1


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (Decimal("5.2000"), "5.2"),
        (Decimal("1E+5"), "100000"),
        (Decimal("0E+3"), "0"),
        (Decimal("-0.00"), "0"),
        (Decimal("-0.50"), "-0.5"),
        (Decimal("1E-12"), "0.000000000001"),
        (Fraction(2, 3), "2/3"),
        (Fraction(4, 2), "2"),
        (7, "7"),
    ],
)
def test_numbers_as_text(number: Number | int, told: str) -> None:
    assert text(number) == told
