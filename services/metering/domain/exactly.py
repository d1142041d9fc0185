"""Quantities that are a quotient, or what an expression came to: the one place where a quantity is rounded."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from fractions import Fraction

from libs.common.exact import Number, divide, plain

DECIMALS = 12
DIGITS_MAX = 38

# The interpreter's own context rounds to 28 digits without a word; this one would raise.
EXACT = Context(prec=400, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_ROUND = Context(prec=400, rounding=ROUND_HALF_UP, traps=[InvalidOperation, DivisionByZero, Overflow])
_STEP = Decimal(1).scaleb(-DECIMALS)


def quotient(dividend: Decimal, divisor: Decimal) -> Decimal:
    """Units: those of the dividend for each of the divisor. Rounding: once, to 12 decimals, half away from zero."""
    return rounded(divide(dividend, divisor))


def rounded(number: Number) -> Decimal:
    """To 12 decimals, half away from zero; in plain digits, without zeros at the end."""
    number = plain(number)
    if isinstance(number, Fraction):
        # One digit more than is kept, and whether anything is left: enough to round once.
        scaled = abs(number) * 10**DECIMALS
        whole, rest = divmod(scaled.numerator, scaled.denominator)
        whole += 2 * rest >= scaled.denominator
        number = EXACT.scaleb(Decimal(whole if number >= 0 else -whole), -DECIMALS)
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -DECIMALS:
        number = number.quantize(_STEP, context=_ROUND)
    return stripped(number)


def stripped(number: Decimal) -> Decimal:
    """The same number without zeros after the decimals, and never with an exponent above zero."""
    found = number.normalize(EXACT)
    exponent = found.as_tuple().exponent
    return found.quantize(Decimal(1), context=EXACT) if isinstance(exponent, int) and exponent > 0 else found


def quantity_of(number: Number) -> Decimal | None:
    """What an expression came to, as a quantity of at most 38 digits; None where it has more."""
    found = rounded(number)
    return found if len(found.as_tuple().digits) <= DIGITS_MAX else None
