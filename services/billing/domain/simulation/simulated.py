"""What a simulation comes to: charges with their lines and explanations, period by period."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from libs.common.exact import Number
from libs.common.money import Money, round_half_away
from services.billing.domain.plan_terms import PlanTerms
from services.billing.domain.rating.allowance import AllowanceBalance
from services.billing.domain.rating.commitment import CommitmentLine
from services.billing.domain.rating.explanation import Explanation
from services.billing.domain.rating.price import TaxBehavior
from services.billing.domain.rating.rated_line import QUANTITY_DECIMALS, LineKind, RatedLine

ChargeKind = Literal["recurring", "usage", "one_time", "commitment", "trial"]


@dataclass(frozen=True, slots=True)
class SimulatedLine:
    """As a line of an invoice: `quantity` is for people, `formula` says how `amount` came about."""

    kind: LineKind
    tier: int | None
    description: str
    bounds: str
    quantity: Decimal
    unit_amount: Decimal
    amount: Money
    formula: str

    @classmethod
    def of_price(cls, line: RatedLine) -> SimulatedLine:
        return cls(
            kind=line.kind,
            tier=line.tier or None,
            description=line.description,
            bounds=line.bounds if line.kind == "price" else "",
            quantity=line.shown_quantity,
            unit_amount=line.shown_unit_amount,
            amount=line.amount,
            formula=line.formula,
        )

    @classmethod
    def of_commitment(cls, line: CommitmentLine) -> SimulatedLine:
        return cls(
            kind=line.kind,
            tier=None,
            description=line.description,
            bounds="",
            quantity=_shown(line.quantity),
            unit_amount=line.unit_amount,
            amount=line.amount,
            formula=line.formula,
        )


def _shown(quantity: Number) -> Decimal:
    """Rounding: as on every line, to 6 decimals; the amount never comes from it."""
    if isinstance(quantity, Decimal):
        return quantity
    return Decimal(round_half_away(Fraction(quantity), QUANTITY_DECIMALS)).scaleb(-QUANTITY_DECIMALS)


@dataclass(frozen=True, slots=True)
class SimulatedCharge:
    """One charge of a price, what a commitment adds or takes off, or the trial. `code` is that of the price.

    It is for the time from `start_on` until before `end_on`. `allowance_before` is what could be used for nothing,
    `allowance_after` what is left for the next charge; None where nothing is carried on.
    """

    code: str
    kind: ChargeKind
    description: str
    model: str
    timing: str
    product_id: str | None
    tax_behavior: TaxBehavior
    tax_category: str | None
    start_on: date
    end_on: date
    lines: tuple[SimulatedLine, ...]
    amount: Money
    explanation: Explanation | None = None
    allowance_before: AllowanceBalance | None = None
    allowance_after: AllowanceBalance | None = None


@dataclass(frozen=True, slots=True)
class SimulatedPeriod:
    """`phase` is None where the plan has no phases."""

    index: int
    start_on: date
    end_on: date
    phase: str | None
    charges: tuple[SimulatedCharge, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """What whoever reads the amounts should know: what was assumed, what is left out. `code` is for programs."""

    code: str
    says: str


@dataclass(frozen=True, slots=True)
class SimulatedPlan:
    """`plan_steps` is how many of the periods make a billing period of the plan."""

    plan: PlanTerms
    currency: str
    trial: SimulatedCharge | None
    periods: tuple[SimulatedPeriod, ...]
    plan_steps: int
    notes: tuple[Note, ...]
