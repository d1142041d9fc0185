"""What a recurring price comes to for one of its periods, before any rounding.

Invoices are billing's, and so is all other rating. This is what an agreement is worth ahead of its invoices: fees that
remain are not rounded before they are added up (R1, R12), as the lines of an invoice are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from libs.common.errors import Conflict
from libs.common.exact import EXACT
from libs.common.periods import Interval

NOTHING = Decimal(0)
_add, _minus, _times = EXACT.add, EXACT.subtract, EXACT.multiply


class FeeNotReckoned(Conflict):
    """The price is reckoned in a way that says nothing of what it comes to later."""

    code = "fee_not_reckoned"
    title = "The fees that remain cannot be reckoned"


@dataclass(frozen=True, slots=True)
class FeeTier:
    """`up_to` is None on the last."""

    up_to: Decimal | None
    unit_amount: Decimal = NOTHING
    flat_amount: Decimal = NOTHING
    cap_amount: Decimal | None = None
    rate_percent: Decimal | None = None


@dataclass(frozen=True, slots=True)
class FeePrice:
    """Of a recurring price what decides its amount. Amounts are in major units; `interval` is how often it is charged."""

    id: str
    description: str
    model: str
    interval: Interval
    unit_amount: Decimal | None = None
    tiers: tuple[FeeTier, ...] = ()
    charges_first_flat_at_zero: bool = True
    package_size: Decimal | None = None
    package_rounding: Literal["up", "down"] = "up"
    rate_percent: Decimal | None = None
    minimum_amount: Decimal | None = None
    maximum_amount: Decimal | None = None


def fee_of(price: FeePrice, quantity: Decimal) -> Decimal:
    """What `quantity` costs for one whole period of the price.

    Rounding: none.
    Raises: FeeNotReckoned.
    """
    amount = _unbounded(price, quantity)
    if price.minimum_amount is not None:
        amount = max(amount, price.minimum_amount)
    return amount if price.maximum_amount is None else min(amount, price.maximum_amount)


def _unbounded(price: FeePrice, quantity: Decimal) -> Decimal:
    match price.model:
        case "flat":
            assert price.unit_amount is not None, "a flat price has an amount"
            return price.unit_amount
        case "per_unit":
            assert price.unit_amount is not None, "a price per unit has an amount"
            return _times(quantity, price.unit_amount)
        case "package":
            assert price.unit_amount is not None, "a price per package has an amount"
            assert price.package_size is not None, "a package has a size"
            whole, rest = EXACT.divmod(quantity, price.package_size)
            packages = _add(whole, Decimal(1)) if rest and price.package_rounding == "up" else whole
            return _times(packages, price.unit_amount)
        case "percentage":
            return _times(quantity, _share(price.rate_percent))
        case "graduated" | "graduated_percentage":
            return _graduated(price, quantity)
        case "volume":
            tier = next(tier for tier in price.tiers if tier.up_to is None or quantity <= tier.up_to)
            return _tier_amount(price, tier, quantity, is_first=tier is price.tiers[0], quantity=quantity)
        case _:
            raise FeeNotReckoned(
                f"what a {price.model} price comes to is known to billing only",
                price=price.id,
                remedy='Agree on a fixed fee, or let the end pass with {"waives_term": true} and a reason.',
            )


def _graduated(price: FeePrice, quantity: Decimal) -> Decimal:
    amount = lower = NOTHING
    for number, tier in enumerate(price.tiers):
        is_last = tier.up_to is None or quantity <= tier.up_to
        upper = quantity if is_last or tier.up_to is None else tier.up_to
        units = _minus(upper, lower)
        amount = _add(amount, _tier_amount(price, tier, units, is_first=number == 0, quantity=quantity))
        if is_last:
            break
        lower = upper
    return amount


def _tier_amount(
    price: FeePrice, tier: FeeTier, units: Decimal, *, is_first: bool, quantity: Decimal
) -> Decimal:
    flat = tier.flat_amount
    if is_first and not quantity and not price.charges_first_flat_at_zero:
        flat = NOTHING
    unit = _share(tier.rate_percent) if tier.rate_percent is not None else tier.unit_amount
    amount = _add(_times(units, unit), flat)
    return amount if tier.cap_amount is None else min(amount, tier.cap_amount)


def _share(percent: Decimal | None) -> Decimal:
    assert percent is not None, "a percentage has a rate"
    return EXACT.scaleb(percent, -2)


def sum_of(amounts: Sequence[Decimal]) -> Decimal:
    """The sum, unrounded."""
    total = NOTHING
    for amount in amounts:
        total = _add(total, amount)
    return total
