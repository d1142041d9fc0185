"""The agreement as billing needs it: who pays, in which currency, and the priced items."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from libs.common.periods import Interval
from services.billing.domain.dunning_terms import AS_BY_DEFAULT as DUNNED_BY_DEFAULT
from services.billing.domain.dunning_terms import DunningTerms
from services.billing.domain.proration import AS_USUAL, ProrationOptions
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.rating.price import Price


@dataclass(frozen=True, slots=True)
class Address:
    line1: str | None = None
    line2: str | None = None
    postal_code: str | None = None
    city: str | None = None
    region: str | None = None
    country: str | None = None


@dataclass(frozen=True, slots=True)
class CustomerDetails:
    """The customer as copied onto an invoice.

    `payment_terms_days` of None are the seller's. `is_erased`: what identified a person is gone from here on.
    `clock_id` names the test clock that the customer lives by, if any; `zone` is where its days are counted, if that
    was said, `locale` the language and country of what is sent to him.
    """

    id: str
    version: int
    name: str
    email: str | None
    external_id: str | None
    country: str | None
    legal_name: str | None = None
    vat_id: str | None = None
    address: Address | None = None
    payment_terms_days: int | None = None
    is_erased: bool = False
    clock_id: str | None = None
    zone: str | None = None
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Local dates, and the instants they stand for: from `start` until before `end`."""

    start_on: date
    end_on: date
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class BilledPeriod:
    """The n-th billing period: local dates in the agreement's zone, and the instants they stand for.

    `full` are the bounds counted from the anchor of which this is a part; None where it is the whole.
    """

    index: int
    start_on: date
    end_on: date
    start: datetime
    end: datetime
    kind: Literal["regular", "trial"] = "regular"
    full: Bounds | None = None

    @property
    def whole(self) -> Bounds:
        """What a part of it is prorated against."""
        return self.full or Bounds(self.start_on, self.end_on, self.start, self.end)


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

    `customer` uses; `payer` pays, where that is somebody else. `anchor_on` and `interval`, from which its periods are
    counted, are None of what was told of before they were kept. Nothing before `billed_until` is charged. At
    `next_boundary_at`, as far as was told, it is renewed, ends or begins; None once it has ended.
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
    payer: CustomerDetails | None = None
    billed_until: datetime | None = None
    proration: ProrationOptions = AS_USUAL
    commitments: tuple[Commitment, ...] = ()
    plan_code: str = ""
    next_boundary_at: datetime | None = None
    dunning: DunningTerms = DUNNED_BY_DEFAULT

    @property
    def pays(self) -> CustomerDetails:
        """Who is asked for the money: whose name stands on the documents, and whose balance is drawn on."""
        return self.payer or self.customer

    @property
    def parties(self) -> tuple[CustomerDetails, ...]:
        return (self.customer,) if self.payer is None else (self.customer, self.payer)

    @property
    def has_metered_items(self) -> bool:
        return any(item.is_metered for item in self.items)


def reaching(agreement: Agreement, next_boundary_at: datetime | None) -> Agreement:
    """The agreement, of which the next boundary is known: where a period ends, or where it ends itself before that."""
    if next_boundary_at is not None and agreement.ends_at is not None:
        next_boundary_at = min(next_boundary_at, agreement.ends_at)
    return replace(agreement, next_boundary_at=next_boundary_at)


def with_party(agreement: Agreement, party: CustomerDetails) -> Agreement:
    """The agreement with this news of who uses or pays, unless it knows newer."""
    customer = _newer(agreement.customer, party)
    payer = None if agreement.payer is None else _newer(agreement.payer, party)
    if customer is agreement.customer and payer is agreement.payer:
        return agreement
    return replace(agreement, customer=customer, payer=payer)


def _newer(known: CustomerDetails, told: CustomerDetails) -> CustomerDetails:
    return told if told.id == known.id and told.version > known.version else known
