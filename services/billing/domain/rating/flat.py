"""Flat: one fee for the period, whatever the quantity."""

from __future__ import annotations

from libs.common.exact import Number
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import NOTHING, ONE, Part


def flat(price: Price, _billable: Number) -> tuple[Part, ...]:
    assert price.unit_amount is not None, "a flat price has an amount"
    return ((0, ONE, price.unit_amount, NOTHING, None, None),)
