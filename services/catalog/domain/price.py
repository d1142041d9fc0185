"""A price: one way in which a product is charged within a plan. Once published, it never changes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from libs.common.ids import derived_id
from libs.common.periods import Interval
from services.catalog.domain.price_tier import PriceTier

PriceKind = Literal["recurring", "usage", "one_time"]
PriceTiming = Literal["advance", "arrears"]
PriceModel = Literal[
    "flat",
    "per_unit",
    "graduated",
    "volume",
    "package",
    "percentage",
    "graduated_percentage",
    "matrix",
    "dynamic",
    "capacity",
    "expression",
]
Proration = Literal["none", "day", "second", "full"]
PackageRounding = Literal["up", "down"]
CapacityBasis = Literal["peak", "time_weighted"]
TaxBehavior = Literal["exclusive", "inclusive"]
AllowancePooling = Literal["interval", "subscription"]

ANY = "*"  # in a matrix cell, whatever the value of the dimension is
DEFAULT_TIMING: dict[PriceKind, PriceTiming] = {
    "recurring": "advance",
    "usage": "arrears",
    "one_time": "advance",
}


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """What a unit costs whose dimensions have these values, in the order of the price's; `*` is any value."""

    values: tuple[str, ...]
    unit_amount: Decimal


@dataclass(frozen=True, slots=True)
class Rollover:
    """Included units left over go on to later periods: at most `cap` of them, for `periods` periods."""

    cap: Decimal | None = None
    periods: int = 1


@dataclass(frozen=True, slots=True)
class Price:
    """`code` is unique within its plan and currency. Amounts are in major units, and may be finer than a cent.

    `unit_amount` is the fee of a flat price, the amount for one unit or one package of others; `included_quantity`
    costs nothing and is counted anew in each allowance interval. `interval` is how often it is charged (None: the
    plan's), `allowance_interval` how often what is included begins anew (None: as it is charged); with an
    `allowance_pool` it is earned with time, and settled once. `minimum_amount` and `maximum_amount` bound what one
    charge comes to. `phase` names the phase in which it holds, None for all. `unit` is what is counted. The other
    fields belong to the model that they are named after.
    """

    code: str
    product_id: str
    description: str
    kind: PriceKind
    timing: PriceTiming
    model: PriceModel
    currency: str
    unit_amount: Decimal | None = None
    tiers: tuple[PriceTier, ...] = ()
    charges_first_flat_at_zero: bool = True
    package_size: Decimal | None = None
    package_rounding: PackageRounding = "up"
    rate_percent: Decimal | None = None
    fixed_amount_per_event: Decimal | None = None
    free_events: int | None = None
    free_amount: Decimal | None = None
    minimum_amount_per_event: Decimal | None = None
    maximum_amount_per_event: Decimal | None = None
    dimensions: tuple[str, ...] = ()
    cells: tuple[MatrixCell, ...] = ()
    capacity_basis: CapacityBasis | None = None
    expression: str | None = None
    included_quantity: Decimal = Decimal(0)
    allowance_interval: Interval | None = None
    allowance_pool: AllowancePooling | None = None
    rollover: Rollover | None = None
    minimum_amount: Decimal | None = None
    maximum_amount: Decimal | None = None
    interval: Interval | None = None
    tax_behavior: TaxBehavior = "exclusive"
    tax_category: str | None = None
    phase: str | None = None
    meter: str | None = None
    unit: str | None = None
    proration: Proration = "day"

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by within its plan: its code, and its currency."""
        return self.code, self.currency


def price_id(plan_version_id: str, price: Price, *, currency: str) -> str:
    """The id of a published price: the same for ever, whoever derives it. `currency` is the plan's own.

    A price in the plan's own currency has the id that it would have if there were no other currency.
    """
    other = () if price.currency == currency else (price.currency,)
    return derived_id("prc", plan_version_id, price.code, *other)
