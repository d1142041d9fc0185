"""Prices to rate in tests, with all that a test does not care about filled in."""

from decimal import Decimal

from services.billing.domain.rating.price import Model, Price, PriceTier, Proration


def a_price(
    model: Model,
    unit_amount: str | None = None,
    *,
    tiers: tuple[PriceTier, ...] = (),
    package_size: str | None = None,
    included: str = "0",
    currency: str = "EUR",
    proration: Proration = "day",
) -> Price:
    return Price(
        id="pri_1",
        code="desk",
        product_id="prd_1",
        description="Desk",
        kind="recurring",
        timing="advance",
        model=model,
        currency=currency,
        unit_amount=None if unit_amount is None else Decimal(unit_amount),
        tiers=tiers,
        package_size=None if package_size is None else Decimal(package_size),
        included_quantity=Decimal(included),
        proration=proration,
    )


def a_tier(up_to: str | None, unit_amount: str, flat_amount: str | None = None) -> PriceTier:
    return PriceTier(
        up_to=None if up_to is None else Decimal(up_to),
        unit_amount=Decimal(unit_amount),
        flat_amount=None if flat_amount is None else Decimal(flat_amount),
    )
