"""What is agreed on for one billing period: items, prices and quantities over time, and what changes cost once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from libs.common.periods import local_date
from services.billing.domain.agreement import Agreement, BilledItem, BilledPeriod, Bounds
from services.billing.domain.rating.commitment import Commitment
from services.billing.domain.rating.price import Price, Proration

FeeKind = Literal["early_termination", "pause", "trial", "withdrawal_value", "other"]


@dataclass(frozen=True, slots=True)
class TermSegment:
    """From `start` until `end` the item was agreed on at this price; `quantity` is None where usage is metered.

    `start_proration` and `end_proration` are the methods of the changes that began and ended it, None where the price's
    own method holds. `whole` are the bounds that this is a part of, where those are not the period's.
    """

    item_id: str
    price: Price
    quantity: Decimal | None
    start_on: date
    end_on: date
    start: datetime
    end: datetime
    start_proration: Proration | None = None
    end_proration: Proration | None = None
    whole: Bounds | None = None


@dataclass(frozen=True, slots=True)
class PeriodTerms:
    """All that is agreed on for one period, as the event of `version` told it: of one period, the newest holds.

    `is_over`: nothing of the period lies ahead. Where an item has no segment, nothing is agreed on.
    """

    subscription_id: str
    version: int
    period: BilledPeriod
    segments: tuple[TermSegment, ...]
    is_over: bool = False
    commitments: tuple[Commitment, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        return self.subscription_id, self.period.index

    @property
    def has_usage(self) -> bool:
        return any(segment.price.kind == "usage" for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Fee:
    """An amount that a change costs once, in major units of the agreement's currency."""

    id: str
    kind: FeeKind
    description: str
    amount: Decimal
    service_start_on: date
    service_end_on: date
    tax_category: str | None = None


def plain_terms(agreement: Agreement, period: BilledPeriod, *, is_first: bool = False) -> PeriodTerms:
    """The terms of a period that no event told of: the agreement's items from end to end, or until its own end.

    What is charged once is agreed on in the first period; in a trial that nobody told of, nothing is.
    """
    return PeriodTerms(
        subscription_id=agreement.id,
        version=agreement.version,
        period=period,
        segments=tuple(_plain_segments(agreement, period, is_first=is_first)),
        commitments=agreement.commitments,
    )


def _plain_segments(agreement: Agreement, period: BilledPeriod, *, is_first: bool) -> Iterator[TermSegment]:
    end, end_on = period.end, period.end_on
    if agreement.ends_at is not None and agreement.ends_at < end:
        end = max(agreement.ends_at, period.start)
        end_on = local_date(end, agreement.zone)
    if end == period.start or period.kind == "trial":
        return
    for item in agreement.items:
        if item.price.kind == "one_time" and not is_first:
            continue
        yield _segment(item, period, end, end_on)


def _segment(item: BilledItem, period: BilledPeriod, end: datetime, end_on: date) -> TermSegment:
    return TermSegment(
        item_id=item.id,
        price=item.price,
        quantity=item.quantity,
        start_on=period.start_on,
        end_on=end_on,
        start=period.start,
        end=end,
    )
