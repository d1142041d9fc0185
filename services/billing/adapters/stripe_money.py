"""Amounts as Stripe counts them, which is not always in the minor units of ISO 4217.

Source: "Supported currencies" of Stripe's documentation: zero-decimal currencies, three-decimal ones, special cases.
"""

from __future__ import annotations

from decimal import Decimal

from libs.common.money import Money, exponent

_WHOLE = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF")
)
_THOUSANDTHS_BY_TEN = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])
_WHOLE_TOLD_IN_HUNDREDTHS = frozenset({"ISK"})


def stripe_amount(money: Money) -> int | None:
    """None where Stripe cannot be asked for this amount, or its documentation leaves open by which factor it counts."""
    decimals = _decimals(money.currency)
    if decimals is None:
        return None
    scaled = money.to_decimal().scaleb(decimals)
    if scaled != scaled.to_integral_value():
        return None
    amount = int(scaled)
    step = 10 if money.currency in _THOUSANDTHS_BY_TEN else 1
    return amount if amount % step == 0 else None


def money_of(amount: int, currency: str) -> Money:
    """An amount that Stripe told. Raises: ValueError of a currency in which it was never asked for anything."""
    code = currency.upper()
    decimals = _decimals(code)
    if decimals is None:
        raise ValueError(f"amounts in {code} cannot be read")
    return Money.from_decimal(Decimal(amount).scaleb(-decimals), code)


def _decimals(currency: str) -> int | None:
    if currency in _WHOLE:
        return 0
    if currency in _THOUSANDTHS_BY_TEN:
        return 3
    if currency in _WHOLE_TOLD_IN_HUNDREDTHS:
        return 2
    return 2 if exponent(currency) == 2 else None
