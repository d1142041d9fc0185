"""What an amount or a quantity in a price may look like."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from libs.common.errors import InputError

DECIMALS_MAX = 12
WHOLE_DIGITS_MAX = 18
PERCENT_MAX = 100


def amount_faults(amount: Decimal, at: str) -> Iterator[InputError]:
    """Everything wrong with a number that must be finite, not negative, and storable exactly."""
    if not amount.is_finite():
        yield {"pointer": at, "detail": "must be a number"}
        return
    if amount < 0:
        yield {"pointer": at, "detail": "must not be negative: credits are made by billing, not by prices"}
    if _decimals(amount) > DECIMALS_MAX:
        yield {"pointer": at, "detail": f"has more than {DECIMALS_MAX} decimals: round it"}
    if amount.adjusted() >= WHOLE_DIGITS_MAX:
        yield {"pointer": at, "detail": f"has more than {WHOLE_DIGITS_MAX} digits before the decimal point"}


def percent_faults(percent: Decimal, at: str) -> Iterator[InputError]:
    """Everything wrong with a rate in percent of what it is taken of."""
    yield from amount_faults(percent, at)
    if percent.is_finite() and percent > PERCENT_MAX:
        detail = f"is more than {PERCENT_MAX} %: for a mark-up use a dynamic price with a unit_amount above 1"
        yield {"pointer": at, "detail": detail}


def plain(number: Decimal) -> str:
    """The one spelling of a number: no exponent, no zeros at the end. 5.20 and 5.2 are the same number."""
    text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text


def _decimals(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    assert isinstance(exponent, int), "only finite numbers have decimals"
    if exponent >= 0:
        return 0
    return len(plain(amount).partition(".")[2])
