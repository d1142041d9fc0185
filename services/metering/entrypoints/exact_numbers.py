"""Numbers of JSON, exactly, in one spelling, and bounded before they can cost anything."""

from __future__ import annotations

from decimal import Context, Decimal

from services.metering.domain.measurement import DIGITS_MAX

INTEGER_BOUND = 10**DIGITS_MAX
_WIDE = Context(prec=DIGITS_MAX)


class NumberTooLong(Exception):
    """More digits than are kept. Raised on the fast way; the careful one tells where it stands."""


class TooLong:
    """Stands where a number with too many digits stood, until its place is told."""


TOO_LONG = TooLong()


def exact(text: str) -> int | Decimal:
    """A number with a point or an exponent: 1.50 is 1.5, and 1e2 is 100. Raises: NumberTooLong."""
    number = Decimal(text)
    if text[-1] != "0" and len(text) <= DIGITS_MAX and "e" not in text and "E" not in text:
        return number  # as most are written: nothing of it is to be left out
    if len(text) > DIGITS_MAX or "e" in text or "E" in text:
        _, digits, exponent = number.as_tuple()
        assert isinstance(exponent, int), "JSON has neither NaN nor infinity"
        if len(digits) > DIGITS_MAX or exponent < -DIGITS_MAX or number.adjusted() >= DIGITS_MAX:
            raise NumberTooLong
    whole = int(number)
    return whole if whole == number else number.normalize(_WIDE)


def integer(text: str) -> int | TooLong:
    return int(text) if len(text.lstrip("-")) <= DIGITS_MAX else TOO_LONG


def decimal(text: str) -> int | Decimal | TooLong:
    try:
        return exact(text)
    except NumberTooLong:
        return TOO_LONG
