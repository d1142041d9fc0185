"""How a customer stands, in facts: since when, how often renewed, what a year of it comes to, whether it has paid."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from libs.common.exact import EXACT
from libs.common.periods import boundary, local_date
from services.subscriptions.domain.lifecycle import RUNNING
from services.subscriptions.domain.recurring_fee import NOTHING
from services.subscriptions.domain.recurring_revenue import ratio
from services.subscriptions.domain.subscription import Subscription

MONTHS = Decimal(12)


@dataclass(frozen=True, slots=True)
class RevenueDay:
    """By how much a day moved the customer's MRR in one currency, an indexation apart."""

    on: date
    currency: str
    agreed: Decimal
    indexed: Decimal


@dataclass(frozen=True, slots=True)
class AnnualRevenue:
    """ARR is twelve times MRR, exact. `original` is that of the first day on which there was any.

    `indexation` is what indexations since the customer (last) came have added to it, or taken; the rest of the way from
    the original to now is `other`: expansion and contraction.
    """

    currency: str
    original: Decimal
    now: Decimal
    indexation: Decimal

    @property
    def other(self) -> Decimal:
        return EXACT.subtract(EXACT.subtract(self.now, self.original), self.indexation)

    @property
    def change(self) -> Decimal | None:
        """Of the original: 0.35 for a third and a bit more of it."""
        return ratio(EXACT.subtract(self.now, self.original), self.original)

    @property
    def change_without_indexation(self) -> Decimal | None:
        return ratio(self.other, self.original)


@dataclass(frozen=True, slots=True)
class OwedInvoice:
    """One that is not paid: what is due of it; `due_on` is None where billing has not told."""

    invoice_id: str
    currency: str
    due_minor: int
    due_on: date | None


@dataclass(frozen=True, slots=True)
class Owed:
    """What of one currency is due, and what of that is overdue, in minor units."""

    currency: str
    due_minor: int
    overdue_minor: int
    overdue_count: int


@dataclass(frozen=True, slots=True)
class Coming:
    """What comes next, on a local date of the subscription."""

    on: date
    subscription_id: str


@dataclass(frozen=True, slots=True)
class CustomerStanding:
    """`first_active_on` and `tenure_days` are None before anything has begun. `notice_by` is the last day on which a
    cancellation is in time for the end of a term.
    """

    customer_id: str
    as_of: date
    first_active_on: date | None
    is_active: bool
    tenure_days: int | None
    renewals: int
    revenue: tuple[AnnualRevenue, ...]
    by_state: Mapping[str, int]
    owed: tuple[Owed, ...]
    days_overdue: int
    oldest_due_on: date | None
    next_renewal: Coming | None
    next_term_end: Coming | None
    notice_by: Coming | None

    @property
    def is_paid_up(self) -> bool:
        """Nothing is overdue: what is due later is no reason to doubt."""
        return not self.days_overdue


def standing_of_customer(
    customer_id: str,
    as_of: date,
    subscriptions: Sequence[Subscription],
    days: Iterable[RevenueDay],
    invoices: Sequence[OwedInvoice],
) -> CustomerStanding:
    """`subscriptions` are all that the customer ever agreed on, `invoices` those that it is to pay, and has not."""
    begun = [one for one in subscriptions if one.period is not None]
    running = [one for one in begun if one.state in RUNNING]
    first = min((local_date(one.starts_at, one.calendar.zone) for one in begun), default=None)
    last = (
        as_of
        if running
        else max((one.period.end_on for one in begun if one.period is not None), default=None)
    )
    overdue = [one for one in invoices if one.due_on is not None and one.due_on < as_of and one.due_minor > 0]
    oldest = min((one.due_on for one in overdue if one.due_on is not None), default=None)
    return CustomerStanding(
        customer_id=customer_id,
        as_of=as_of,
        first_active_on=first,
        is_active=bool(running),
        tenure_days=(last - first).days if first is not None and last is not None else None,
        renewals=sum(renewals_of(one) for one in begun),
        revenue=annual_revenue(days),
        by_state=dict(sorted(Counter(one.state.value for one in subscriptions).items())),
        owed=_owed(invoices, as_of),
        days_overdue=(as_of - oldest).days if oldest is not None else 0,
        oldest_due_on=oldest,
        next_renewal=_first(
            (local_date(one.renews_at, one.calendar.zone), one.id)
            for one in running
            if one.renews_at is not None
        ),
        next_term_end=_first(_term_end(one) for one in running if _is_bound(one)),
        notice_by=_first(
            (on, one.id) for one in running if (on := notice_by(one)) is not None and on >= as_of
        ),
    )


def renewals_of(subscription: Subscription) -> int:
    """How often its minimum term was renewed; of one without a term, how many billing periods followed the first."""
    period = subscription.period
    if period is None or period.kind == "trial":
        return 0
    if subscription.term is not None:
        return subscription.term.renewals
    return period.index - (1 if subscription.trial_ends_at is not None else 0)


def notice_by(subscription: Subscription) -> date | None:
    """The last day on which a cancellation is in time for the end of the term that runs; None without one."""
    term = subscription.term
    if term is None or not _is_bound(subscription):
        return None
    return boundary(term.ends_on, term.notice, -1) if term.notice is not None else term.ends_on


def annual_revenue(days: Iterable[RevenueDay]) -> tuple[AnnualRevenue, ...]:
    """By currency, of those in which there ever was any."""
    by_currency: dict[str, list[RevenueDay]] = defaultdict(list)
    for day in days:
        by_currency[day.currency].append(day)
    found = []
    for currency, known in sorted(by_currency.items()):
        original = now = indexation = NOTHING
        for day in sorted(known, key=lambda one: one.on):
            was = now
            now = EXACT.add(now, EXACT.add(day.agreed, day.indexed))
            original = original or now
            indexation = EXACT.add(indexation, day.indexed) if was and now else NOTHING
        if original:
            annual = [EXACT.multiply(MONTHS, amount) for amount in (original, now, indexation)]
            found.append(AnnualRevenue(currency, *annual))
    return tuple(found)


def _is_bound(subscription: Subscription) -> bool:
    return subscription.term is not None and not subscription.term.is_over and subscription.cancels_at is None


def _term_end(subscription: Subscription) -> tuple[date, str]:
    assert subscription.term is not None, "what is bound has a term"
    return subscription.term.ends_on, subscription.id


def _first(coming: Iterable[tuple[date, str]]) -> Coming | None:
    found = min(coming, default=None)
    return Coming(*found) if found is not None else None


def _owed(invoices: Sequence[OwedInvoice], as_of: date) -> tuple[Owed, ...]:
    by_currency: dict[str, list[OwedInvoice]] = defaultdict(list)
    for invoice in invoices:
        if invoice.due_minor > 0:
            by_currency[invoice.currency].append(invoice)
    found = []
    for currency, known in sorted(by_currency.items()):
        overdue = [one for one in known if one.due_on is not None and one.due_on < as_of]
        found.append(
            Owed(
                currency,
                sum(one.due_minor for one in known),
                sum(one.due_minor for one in overdue),
                len(overdue),
            )
        )
    return tuple(found)
