"""Whether prices can be in a currency."""

from __future__ import annotations

from collections.abc import Iterator

from libs.common.errors import InputError
from libs.common.money import UnknownCurrency, exponent


def currency_faults(currency: str, at: str) -> Iterator[InputError]:
    """What is wrong with the code of a currency, if anything."""
    try:
        exponent(currency)
    except UnknownCurrency:
        yield {"pointer": at, "detail": "is no currency of ISO 4217 with a minor unit: use EUR, say"}
