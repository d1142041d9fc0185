"""What is owed for one item, price, billing period and kind: derived from the agreement and the usage, with an identity.

Deriving twice gives the same identities, so that what is recorded already is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from libs.common.errors import RuleViolation
from libs.common.ids import derived_id
from libs.common.money import Money, total
from libs.common.periods import Period, local_date
from services.billing.domain.agreement import Agreement, BilledItem, BilledPeriod
from services.billing.domain.proration import fraction_in_use
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rate import RatedLine, rate

ChargeKind = Literal["advance", "usage"]

WHOLE = Fraction(1)


class TimingNotBillable(RuleViolation):
    """A recurring price in arrears would never be charged: better to stop than to lose it silently."""

    code = "timing_not_billable"
    title = "The timing of a price is not billable yet"


class UsageOfUnknownItem(RuleViolation):
    """Somebody used what the agreement does not price: it must not vanish."""

    code = "usage_of_unknown_item"
    title = "Usage of an item that is not in the agreement"


@dataclass(frozen=True, slots=True)
class ItemUsage:
    """The usage of one item in one window."""

    item_id: str
    meter: str
    quantity: Decimal
    event_count: int


@dataclass(frozen=True, slots=True)
class UsageOfPeriod:
    """All usage of one billing period of a subscription, summed once by metering, at `closed_at`."""

    window_id: str
    subscription_id: str
    period_index: int
    window_start: datetime
    window_end: datetime
    closed_at: datetime
    totals: tuple[ItemUsage, ...]


@dataclass(frozen=True, slots=True)
class UsageCorrection:
    """What the totals of a closed window came to later; the highest `revision` is the newest."""

    window_id: str
    subscription_id: str
    period_index: int
    revision: int
    totals: tuple[ItemUsage, ...]


@dataclass(frozen=True, slots=True)
class Charge:
    """One amount that is owed. Its identity is item, price, billing period, kind and revision.

    The service period is no part of the identity. `fraction` is the part of the period that is in use; the
    price is kept whole, so that the amount can be derived again at any time.
    """

    id: str
    subscription_id: str
    item_id: str
    price: Price
    period_index: int
    kind: ChargeKind
    revision: int
    quantity: Decimal
    fraction: Fraction
    service_start: datetime
    service_end: datetime
    service_start_on: date
    service_end_on: date
    amount: Money
    created_at: datetime
    invoice_id: str | None = None
    usage_window_id: str | None = None
    event_count: int | None = None

    @property
    def identity(self) -> str:
        return f"{self.item_id}/{self.price.id}/{self.period_index}/{self.kind}/{self.revision}"


def charge_id(item_id: str, price_id: str, period_index: int, kind: ChargeKind, revision: int = 0) -> str:
    """Derived from the identity, so that the same charge cannot be made twice."""
    return derived_id("chg", item_id, price_id, str(period_index), kind, str(revision))


def rated_lines(charge: Charge) -> tuple[RatedLine, ...]:
    """The lines of a charge, derived from what is stored with it: the same bytes every time."""
    return rate(charge.price, charge.quantity, fraction=charge.fraction)


def _amount(price: Price, quantity: Decimal, fraction: Fraction) -> Money:
    return total((line.amount for line in rate(price, quantity, fraction=fraction)), price.currency)


def _used_part(agreement: Agreement, period: BilledPeriod) -> Period:
    """The period up to the agreement's end, if that lies inside it."""
    end = period.end if agreement.ends_at is None else min(agreement.ends_at, period.end)
    return Period(period.start, max(end, period.start), agreement.zone)


def advance_charges(agreement: Agreement, period: BilledPeriod, *, now: datetime) -> list[Charge]:
    """What is owed at the start of `period`, for the period ahead.

    Where the agreement is already known to end inside the period, only the part in use is charged.
    Rounding: once a line, half away from zero.
    Raises: TimingNotBillable.
    Source: "Changes inside a period", services/billing/README.md.
    """
    full = Period(period.start, period.end, agreement.zone)
    used = _used_part(agreement, period)
    charges = []
    for item in _recurring_in_advance(agreement.items):
        fraction = fraction_in_use(used=used, full=full, method=item.price.proration)
        if fraction == 0:
            continue
        assert item.quantity is not None
        charges.append(
            Charge(
                id=charge_id(item.id, item.price.id, period.index, "advance"),
                subscription_id=agreement.id,
                item_id=item.id,
                price=item.price,
                period_index=period.index,
                kind="advance",
                revision=0,
                quantity=item.quantity,
                fraction=fraction,
                service_start=used.start,
                service_end=used.end,
                service_start_on=period.start_on,
                service_end_on=period.end_on if used.end == period.end else used.end_on,
                amount=_amount(item.price, item.quantity, fraction),
                created_at=now,
            )
        )
    return charges


def _recurring_in_advance(items: Iterable[BilledItem]) -> list[BilledItem]:
    recurring = [item for item in items if item.price.kind == "recurring"]
    for item in recurring:
        if item.price.timing != "advance":
            raise TimingNotBillable("a recurring price is charged in advance", price=item.price.id)
    return recurring


def usage_charges(agreement: Agreement, usage: UsageOfPeriod, *, now: datetime) -> list[Charge]:
    """What is owed for the usage of a period that is over. Tiers start anew and are not prorated.

    A metered item of which the window does not tell was not used: that is a charge too, of a quantity of zero.
    Raises: UsageOfUnknownItem.
    """
    metered = [item for item in agreement.items if item.is_metered]
    by_item = {used.item_id: used for used in usage.totals}
    unknown = sorted(by_item.keys() - {item.id for item in metered})
    if unknown:
        raise UsageOfUnknownItem("the agreement has no such metered item", item=unknown[0])
    return [_usage_charge(agreement, item, by_item.get(item.id), usage, now=now) for item in metered]


def _usage_charge(
    agreement: Agreement, item: BilledItem, used: ItemUsage | None, usage: UsageOfPeriod, *, now: datetime
) -> Charge:
    quantity = Decimal(0) if used is None else used.quantity
    return Charge(
        id=charge_id(item.id, item.price.id, usage.period_index, "usage"),
        subscription_id=agreement.id,
        item_id=item.id,
        price=item.price,
        period_index=usage.period_index,
        kind="usage",
        revision=0,
        quantity=quantity,
        fraction=WHOLE,
        service_start=usage.window_start,
        service_end=usage.window_end,
        service_start_on=local_date(usage.window_start, agreement.zone),
        service_end_on=local_date(usage.window_end, agreement.zone),
        amount=_amount(item.price, quantity, WHOLE),
        created_at=now,
        usage_window_id=usage.window_id,
        event_count=0 if used is None else used.event_count,
    )


def missing(expected: Sequence[Charge], recorded: Iterable[str]) -> list[Charge]:
    """The expected charges whose identity is not recorded yet."""
    known = set(recorded)
    return [charge for charge in expected if charge.id not in known]
