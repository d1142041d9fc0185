"""Sums of quantities that are never rounded: whatever does not fit exactly is an error, not a near miss."""

from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow

EXACT = Context(prec=200, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])


def difference(minuend: Decimal, subtrahend: Decimal) -> Decimal:
    return EXACT.subtract(minuend, subtrahend)


def text(number: Decimal) -> str:
    """The number in plain digits, without an exponent and without zeros at the end."""
    return format(EXACT.normalize(number), "f")
