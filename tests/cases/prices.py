"""The price of a case in the words of the engine; whatever there is no word for stops the case."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from services.billing.domain.rating.price import Model, Price, PriceTier
from services.billing.domain.rating.rated_line import NOTHING
from services.billing.domain.rating.validate_price import validate_price
from tests.cases.case_files import Case

EXACT_IN = "EUR"  # where a case has no currency: its amounts are compared before they are rounded
MODELS: Mapping[str, Model] = {
    "flat": "flat",
    "per_unit": "per_unit",
    "package": "package",
    "graduated": "graduated",
    "volume": "volume",
    "graduated_percentage": "graduated_percentage",
    "percentage": "percentage",
    "multiplier": "dynamic",
}
AMOUNTS = {
    "amount": "unit_amount",
    "unit_amount": "unit_amount",
    "package_amount": "unit_amount",
    "multiplier": "unit_amount",
    "package_size": "package_size",
    "free_units": "included_quantity",
    "rate_percent": "rate_percent",
    "fixed_amount_per_event": "fixed_amount_per_event",
    "free_amount": "free_amount",
    "min_amount_per_event": "minimum_amount_per_event",
    "max_amount_per_event": "maximum_amount_per_event",
}
OTHER_FIELDS = {"type", "tiers", "package_rounding", "payment_term", "free_events"}
TIER_FIELDS = {"up_to", "unit_amount", "flat_amount", "cap_amount", "rate_percent"}


def price_of(model: Mapping[str, Any], currency: str | None, *, first_flat_at_zero: bool = True) -> Price:
    """The same price in our words; whatever we have no word for stops the case."""
    unknown = set(model) - set(AMOUNTS) - OTHER_FIELDS
    assert not unknown, f"a price has no {', '.join(sorted(unknown))}"
    is_flat = model["type"] == "flat"
    numbers: dict[str, Any] = {
        AMOUNTS[name]: Decimal(model[name]) for name in AMOUNTS if model.get(name) is not None
    }
    return Price(
        id="price",
        code="case",
        product_id="product",
        description="Case",
        kind="recurring" if is_flat else "usage",
        timing="advance" if is_flat else "arrears",
        meter=None if is_flat else "case",
        model=MODELS[model["type"]],
        currency=currency or EXACT_IN,
        tiers=tuple(_tier(tier) for tier in model.get("tiers", ())),
        charges_first_flat_at_zero=first_flat_at_zero,
        package_rounding=model.get("package_rounding", "up"),
        free_events=None if model.get("free_events") is None else int(model["free_events"]),
        **numbers,
    )


def _tier(tier: Mapping[str, Any]) -> PriceTier:
    assert set(tier) <= TIER_FIELDS, "a tier has these fields and no more"
    return PriceTier(
        up_to=decimal_or_none(tier["up_to"]),
        unit_amount=decimal_or_none(tier.get("unit_amount")) or NOTHING,
        flat_amount=decimal_or_none(tier.get("flat_amount")),
        rate_percent=decimal_or_none(tier.get("rate_percent")),
        cap_amount=decimal_or_none(tier.get("cap_amount")),
    )


def valid_price(case: Case, model: Mapping[str, Any]) -> Price:
    """The price of a case with what its convention says about it, found valid."""
    charges_first = not case.names("flat_fee_at_zero_quantity").startswith("not charged")
    price = price_of(model, case.given["currency"], first_flat_at_zero=charges_first)
    if price.tiers and price.tiers[-1].up_to is not None:
        # Units beyond a last tier that ends are free: here that is a tier which says so.
        open_tier = PriceTier(None, rate_percent=NOTHING if price.model == "graduated_percentage" else None)
        price = replace(price, tiers=(*price.tiers, open_tier))
    if "minimum_packages" in case.convention:
        packages = Decimal(case.names("minimum_packages").split()[0])
        price = replace(price, minimum_amount=packages * (price.unit_amount or NOTHING))
    faults = validate_price(price)
    assert not faults, f"a price with faults: {faults}"
    return price


def decimal_or_none(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
