"""Volume: the tier that the whole quantity reaches prices every unit of it."""

from __future__ import annotations

from libs.common.exact import Number
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import NOTHING, Part


def volume(price: Price, billable: Number) -> tuple[Part, ...]:
    for ordinal, tier in enumerate(price.tiers, start=1):
        if tier.up_to is None or billable <= tier.up_to:
            is_waived = not billable and not price.charges_first_flat_at_zero
            flat = NOTHING if is_waived else tier.flat_amount or NOTHING
            return ((ordinal, billable, tier.unit_amount, flat, tier.cap_amount, None),)
    raise AssertionError("the last tier of a price has no end")
