"""The agreement as billing needs it: who pays, in which currency, and the priced items."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from libs.common.periods import Interval
from services.billing.domain.rating.price import Price


@dataclass(frozen=True, slots=True)
class CustomerDetails:
    """The customer as copied onto an invoice."""

    id: str
    version: int
    name: str
    email: str | None
    external_id: str | None
    country: str | None


@dataclass(frozen=True, slots=True)
class BilledPeriod:
    """The n-th billing period: local dates in the agreement's zone, and the instants they stand for."""

    index: int
    start_on: date
    end_on: date
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class BilledItem:
    """One priced part. `quantity` is None where usage is metered."""

    id: str
    price: Price
    quantity: Decimal | None

    @property
    def is_metered(self) -> bool:
        return self.price.kind == "usage"


@dataclass(frozen=True, slots=True)
class Agreement:
    """A subscription as the newest event told it; `version` decides which one that is.

    `anchor_on` and `interval`, from which its periods are counted, are None of what was told of before they were kept.
    """

    id: str
    version: int
    customer: CustomerDetails
    currency: str
    zone: str
    items: tuple[BilledItem, ...]
    ends_at: datetime | None
    clock_id: str | None
    anchor_on: date | None = None
    interval: Interval | None = None

    @property
    def has_metered_items(self) -> bool:
        return any(item.is_metered for item in self.items)
