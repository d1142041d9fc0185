"""Per unit: every unit costs the same."""

from __future__ import annotations

from libs.common.exact import Number
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import NOTHING, Part


def per_unit(price: Price, billable: Number) -> tuple[Part, ...]:
    assert price.unit_amount is not None, "a price per unit has an amount"
    return ((0, billable, price.unit_amount, NOTHING, None, None),)
