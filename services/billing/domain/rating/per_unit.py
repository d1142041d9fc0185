"""Per unit: every unit costs the same."""

from decimal import Decimal

from services.billing.domain.rating.exact import text
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import TierPart


def per_unit(price: Price, quantity: Decimal) -> tuple[TierPart, ...]:
    assert price.unit_amount is not None, "a price per unit has an amount"
    return (TierPart(0, quantity, price.unit_amount, Decimal(0), bounds="", counted=text(quantity)),)
