"""A price is data: what one charges for a thing, in one currency, by one model. Immutable."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Kind = Literal["recurring", "usage"]
Timing = Literal["advance", "arrears"]
Model = Literal["flat", "per_unit", "graduated", "volume", "package"]
Proration = Literal["none", "day", "second", "full"]


@dataclass(frozen=True, slots=True)
class PriceTier:
    """`up_to` is the running total at which the tier ends, itself included; the last has none.

    `flat_amount` is charged once, when the tier is reached.
    """

    up_to: Decimal | None
    unit_amount: Decimal
    flat_amount: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """Amounts are in major units with up to 12 decimals; they become money once, on the line.

    `unit_amount` is the whole fee of `flat`, the price of a unit of `per_unit`, of a package of `package`;
    `graduated` and `volume` have `tiers`. `included_quantity` is free before anything is counted.
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
    package_size: Decimal | None = None
    included_quantity: Decimal = Decimal(0)
    meter: str | None = None
    unit: str | None = None
    proration: Proration = "day"
