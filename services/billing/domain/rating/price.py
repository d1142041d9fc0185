"""A price is data: what one charges for a thing, in one currency, by one model. Immutable."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Kind = Literal["recurring", "usage", "one_time"]
Timing = Literal["advance", "arrears"]
Model = Literal[
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
IntervalUnit = Literal["day", "week", "month", "year"]

ANY = "*"  # in a matrix cell, whatever the value of the dimension is


@dataclass(frozen=True, slots=True)
class PriceTier:
    """`up_to` is the running total at which the tier ends, itself included; the last has none.

    `flat_amount` is charged once, when the tier is reached; `rate_percent` stands in place of `unit_amount` in
    tiers of percentages; `cap_amount` is the most that the tier comes to, its flat amount included.
    """

    up_to: Decimal | None
    unit_amount: Decimal = Decimal(0)
    flat_amount: Decimal | None = None
    rate_percent: Decimal | None = None
    cap_amount: Decimal | None = None


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
    """Amounts are in major units with up to 12 decimals; they become money once, on the line.

    `unit_amount` is the whole fee of `flat`, the price of a unit of `per_unit`, of a package of `package`;
    `graduated` and `volume` have `tiers`. `included_quantity` is free before anything is counted.
    `interval_*` is how often it is charged (None: the plan's), `allowance_interval_*` how often what is included
    begins anew (None: as it is charged). Where there is an
    `allowance_pool`, what is included is earned with time, and what goes beyond it is owed once: at the end of that
    interval, or of the subscription. The other fields belong to the model that they are named after.
    """

    id: str
    code: str
    product_id: str
    description: str
    kind: Kind
    timing: Timing
    model: Model
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
    allowance_interval_unit: IntervalUnit | None = None
    allowance_interval_count: int = 1
    allowance_pool: AllowancePooling | None = None
    rollover: Rollover | None = None
    minimum_amount: Decimal | None = None
    maximum_amount: Decimal | None = None
    interval_unit: IntervalUnit | None = None
    interval_count: int = 1
    tax_behavior: TaxBehavior = "exclusive"
    tax_category: str | None = None
    phase: str | None = None
    meter: str | None = None
    unit: str | None = None
    proration: Proration = "day"
