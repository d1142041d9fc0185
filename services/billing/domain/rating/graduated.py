"""Graduated: each tier prices only the units that fall in it, and each tier reached is a line of its own."""

from decimal import Decimal

from services.billing.domain.rating.exact import difference, text
from services.billing.domain.rating.price import Price, PriceTier
from services.billing.domain.rating.rated_line import TierPart


def graduated(price: Price, quantity: Decimal) -> tuple[TierPart, ...]:
    """The tiers that `quantity` reaches, in order; the first is reached, with its flat amount, by nothing."""
    parts: list[TierPart] = []
    lower = Decimal(0)
    for ordinal, tier in enumerate(price.tiers, start=1):
        upper = quantity if tier.up_to is None else min(quantity, tier.up_to)
        parts.append(tier_part(tier, ordinal, lower, difference(upper, lower)))
        if tier.up_to is None or quantity <= tier.up_to:
            return tuple(parts)
        lower = tier.up_to
    raise AssertionError("the last tier of a price has no end")


def tier_part(tier: PriceTier, ordinal: int, lower: Decimal, quantity: Decimal) -> TierPart:
    """`quantity` at the price of this tier, which starts above `lower`."""
    above = f"above {text(lower)}" if lower else ""
    up_to = f"up to {text(tier.up_to)}" if tier.up_to is not None else ""
    bounds = " ".join(bound for bound in (above, up_to) if bound)
    return TierPart(
        tier=ordinal,
        quantity=quantity,
        unit_amount=tier.unit_amount,
        flat_amount=tier.flat_amount or Decimal(0),
        bounds=f"tier {ordinal}, {bounds}" if bounds else f"tier {ordinal}",
        counted=text(quantity),
    )
