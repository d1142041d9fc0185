"""Sums that are never rounded: decimals where decimals hold them, fractions where they do not.

What needs more than `DIGITS_MAX` digits is an error (`decimal.Inexact`), not a near miss.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from fractions import Fraction

DIGITS_MAX = 200

# The rounding is that of `to_integral_value`, which is asked for by name; nothing else may round.
EXACT = Context(
    prec=DIGITS_MAX, rounding=ROUND_HALF_UP, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow]
)

Number = Decimal | Fraction

_add, _subtract, _multiply = EXACT.add, EXACT.subtract, EXACT.multiply


def add(one: Number, other: Number) -> Number:
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return _add(one, other)
    return Fraction(one) + Fraction(other)


def subtract(minuend: Number, subtrahend: Number) -> Number:
    if isinstance(minuend, Decimal) and isinstance(subtrahend, Decimal):
        return _subtract(minuend, subtrahend)
    return Fraction(minuend) - Fraction(subtrahend)


def multiply(one: Number, other: Number) -> Number:
    if isinstance(one, Decimal) and isinstance(other, Decimal):
        return _multiply(one, other)
    return Fraction(one) * Fraction(other)


def divide(dividend: Number, divisor: Number) -> Number:
    """A decimal when it comes out even within `DIGITS_MAX` digits, else a fraction.

    Raises: ZeroDivisionError.
    """
    if isinstance(dividend, Decimal) and isinstance(divisor, Decimal) and divisor:
        try:
            return EXACT.divide(dividend, divisor)
        except Inexact:
            pass
    return Fraction(Fraction(dividend), Fraction(divisor))


def absolute(number: Number) -> Number:
    return subtract(Decimal(0), number) if number < 0 else number


def plain(number: Number) -> Number:
    """The same number, as a decimal where that holds it: 1053.5 for 2107/2."""
    return (
        divide(Decimal(number.numerator), Decimal(number.denominator))
        if isinstance(number, Fraction)
        else number
    )


def text(number: Number | int) -> str:
    """The number in plain digits, without an exponent and without zeros at the end; `2/3` for a fraction."""
    if isinstance(number, Decimal):
        return format(EXACT.normalize(number), "f") if number else "0"
    return str(number)
