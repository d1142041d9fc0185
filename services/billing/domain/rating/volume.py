"""Volume: the tier that the whole quantity reaches prices every unit of it."""

from decimal import Decimal

from services.billing.domain.rating.graduated import tier_part
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import TierPart


def volume(price: Price, quantity: Decimal) -> tuple[TierPart, ...]:
    lower = Decimal(0)
    for ordinal, tier in enumerate(price.tiers, start=1):
        if tier.up_to is None or quantity <= tier.up_to:
            return (tier_part(tier, ordinal, lower, quantity),)
        lower = tier.up_to
    raise AssertionError("the last tier of a price has no end")
