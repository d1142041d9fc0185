"""Graduated percentage: each tier takes its percentage of the part of the amount that falls in it."""

from __future__ import annotations

from decimal import Decimal

from libs.common.exact import Number
from services.billing.domain.rating.graduated import graduated
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import Part

PERCENT = -2  # as a power of ten


def graduated_percentage(price: Price, billable: Number) -> list[Part]:
    """Units: the quantity is an amount in major units of the price's currency."""
    return [
        (ordinal, units, share_of(price.tiers[ordinal - 1].rate_percent), flat, cap, None)
        for ordinal, units, _, flat, cap, _ in graduated(price, billable)
    ]


def share_of(rate_percent: Decimal | None) -> Decimal:
    """What a percentage takes of one: 0.013 for 1.3 %."""
    assert rate_percent is not None, "a price in percent has a rate"
    return rate_percent.scaleb(PERCENT)
