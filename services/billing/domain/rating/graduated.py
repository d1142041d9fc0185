"""Graduated: each tier prices only the units that fall in it, and each tier reached is a line of its own."""

from __future__ import annotations

from libs.common.exact import EXACT, Number, subtract
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import NOTHING, Part

_minus = EXACT.subtract


def graduated(price: Price, billable: Number) -> list[Part]:
    """The tiers that `billable` reaches, in order; the first is reached by nothing, too.

    Where nothing is billable, the price may waive what the first tier adds once.
    """
    parts: list[Part] = []
    lower = NOTHING
    flat_waived = not billable and not price.charges_first_flat_at_zero
    for ordinal, tier in enumerate(price.tiers, start=1):
        up_to = tier.up_to
        flat = NOTHING if flat_waived else tier.flat_amount or NOTHING
        if up_to is None or billable <= up_to:
            units = billable if ordinal == 1 else subtract(billable, lower)
            parts.append((ordinal, units, tier.unit_amount, flat, tier.cap_amount, None))
            return parts
        units = up_to if ordinal == 1 else _minus(up_to, lower)
        parts.append((ordinal, units, tier.unit_amount, flat, tier.cap_amount, None))
        lower = up_to
    raise AssertionError("the last tier of a price has no end")
