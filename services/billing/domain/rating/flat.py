"""Flat: one fee for the period, whatever the quantity."""

from decimal import Decimal

from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import TierPart

ONE = Decimal(1)


def flat(price: Price, _quantity: Decimal) -> tuple[TierPart, ...]:
    assert price.unit_amount is not None, "a flat price has an amount"
    return (TierPart(0, ONE, price.unit_amount, Decimal(0), bounds="", counted="1"),)
