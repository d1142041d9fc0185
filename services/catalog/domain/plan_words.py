"""Parts of plans in words, as a person would say them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, fields, is_dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from libs.common.money import round_half_away
from libs.common.periods import Interval
from services.catalog.domain.amount import plain
from services.catalog.domain.document import document_of
from services.catalog.domain.interval_nesting import spelled
from services.catalog.domain.price import Price
from services.catalog.domain.price_tier import PriceTier

FOLD_TOLD_MAX = 100  # beyond it a percentage says nothing to anybody

# How a field is called where its name alone would not be understood.
_CALLED = {
    "allowance_interval": "interval of the allowance",
    "allowance_pool": "pool of the allowance",
    "charges_first_flat_at_zero": "charge of the first flat amount for nothing",
    "for_plans": "plans that it goes with",
    "product_id": "product",
    "tax_behavior": "tax",
    "window_days": "number of days",
}

_UNTOLD = frozenset(("code", "feature_id"))  # who reads of a part knows its code; ids mean nothing to people


def called(name: str) -> str:
    """A field by what people call it."""
    return _CALLED.get(name, name.replace("_", " "))


def from_to(name: str, before: Any, after: Any) -> str:
    """What became of what is called `name`."""
    if is_none(before):
        return f"the {name} is now {told(after)}, where there was none"
    if is_none(after):
        return f"the {name} falls away, {told(before)} before"
    if isinstance(before, Decimal) and isinstance(after, Decimal):
        return f"the {name} goes from {told(before)} to {told(after)}{_by(before, after)}"
    return f"the {name} changes from {told(before)} to {told(after)}"


def _by(before: Decimal, after: Decimal) -> str:
    """Rounding: half away from zero, to hundredths of a percent."""
    if not before or after > before * FOLD_TOLD_MAX:
        return ""
    hundredths = round_half_away(Fraction(Fraction(after) - Fraction(before), Fraction(before)) * 100, 2)
    percent = plain(Decimal(abs(hundredths)).scaleb(-2))
    return f", {percent} % {'more' if hundredths > 0 else 'less'}" if hundredths else ""


def is_none(value: object) -> bool:
    return value is None or value in ((), "")


def told(value: Any) -> str:
    """A value as a person would say it; of a part, what is not as by default."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Interval):
        return spelled(value)
    if isinstance(value, tuple):
        return "; ".join(told(part) for part in value)
    if is_dataclass(value):
        parts = [
            (field, getattr(value, field.name)) for field in fields_of(value) if field.name not in _UNTOLD
        ]
        words = [f"{called(f.name)} {told(part)}" for f, part in parts if part != f.default]
        return ", ".join(words) or "without more"
    return str(document_of(value))


def fields_of(part: Any) -> Sequence[Field[Any]]:
    return fields(part)


def price_named(price: Price) -> str:
    return f"the price {price.code} in {price.currency}"


def charged(price: Price) -> str:
    """How it is charged, in short."""
    how = f"{price.kind}, {price.model}".replace("_", " ")
    if price.tiers:
        return f"{how}, {tiers_told(price.tiers)}"
    amount = "" if price.unit_amount is None else f", {plain(price.unit_amount)}"
    of = f" per {price.unit}" if amount and price.unit and price.model == "per_unit" else ""
    return f"{how}{amount}{of}"


def tiers_told(tiers: Sequence[PriceTier]) -> str:
    return "; ".join(f"{_told_tier(tier)}{reach(tier)}" for tier in tiers) or "none"


def _told_tier(tier: PriceTier) -> str:
    amount = f"{plain(tier.rate_percent)} %" if tier.rate_percent is not None else ""
    if tier.unit_amount is not None:
        amount = plain(tier.unit_amount)
    flat = f" and {plain(tier.flat_amount)} once" if tier.flat_amount else ""
    cap = f", at most {plain(tier.cap_amount)}" if tier.cap_amount is not None else ""
    return f"{amount}{flat}{cap}"


def reach(tier: PriceTier) -> str:
    return "" if tier.up_to is None else f" up to {plain(tier.up_to)}"
