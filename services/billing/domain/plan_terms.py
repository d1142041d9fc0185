"""A plan version as billing needs it to say what it comes to: prices, phases, trial, commitments. Immutable."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from libs.common.periods import Interval
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.rating.price import Price


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the plan, `periods` billing periods long; None on the last, which lasts."""

    code: str
    name: str
    periods: int | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What comes before the first billing period: free, or for `amount` in the plan's currency."""

    interval: Interval
    amount: Decimal | None = None


@dataclass(frozen=True, slots=True)
class PlanTerms:
    """`interval` is the billing period; prices and commitments are each in a currency of their own.

    What was published has an id and a number; a draft that is only spoken of has neither. An overlay is what
    `customer_id` has otherwise, agreed for `term`.
    """

    code: str
    name: str
    currency: str
    interval: Interval
    prices: tuple[Price, ...]
    phases: tuple[Phase, ...] = ()
    trial: Trial | None = None
    commitments: tuple[Commitment, ...] = ()
    plan_id: str | None = None
    plan_version_id: str | None = None
    number: int | None = None
    overlay_id: str | None = None
    customer_id: str | None = None
    term: Interval | None = None

    def in_currency(self, currency: str) -> tuple[Price, ...]:
        """The prices that a subscription in this currency takes."""
        return tuple(price for price in self.prices if price.currency == currency)

    def charge_interval(self, price: Price) -> Interval:
        """How often the price is charged."""
        if price.interval_unit is None:
            return self.interval
        return Interval(price.interval_unit, price.interval_count)

    def allowance_interval(self, price: Price) -> Interval:
        """How often what the price includes begins anew."""
        if price.allowance_interval_unit is None:
            return self.charge_interval(price)
        return Interval(price.allowance_interval_unit, price.allowance_interval_count)
