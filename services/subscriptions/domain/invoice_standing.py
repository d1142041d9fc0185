"""Which invoices of a subscription are overdue: what makes it past due, and what brings it back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.subscriptions.domain.subscription import Subscription, SubscriptionState


class InvoiceStanding(StrEnum):
    """How one invoice stands, as far as this service has heard. Paid is the last word: nothing follows it."""

    OVERDUE = "overdue"
    PAID = "paid"


@dataclass(frozen=True, slots=True)
class BecamePastDue:
    subscription: Subscription
    invoice_id: str


@dataclass(frozen=True, slots=True)
class Recovered:
    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Unaffected:
    """Nothing about the subscription changes."""


def following_standing(before: InvoiceStanding | None, heard: InvoiceStanding) -> InvoiceStanding:
    """The standing after hearing `heard`: a payment that failed before it succeeded may be told of late."""
    return before if before is InvoiceStanding.PAID else heard


def decide_past_due(subscription: Subscription, invoice_id: str) -> BecamePastDue | Unaffected:
    """A payment failed. Whoever is past due already stays so; what is over stays over."""
    if subscription.state is not SubscriptionState.ACTIVE:
        return Unaffected()
    return BecamePastDue(subscription.changed(state=SubscriptionState.PAST_DUE), invoice_id)


def decide_recovery(subscription: Subscription, overdue_count: int) -> Recovered | Unaffected:
    """An invoice was paid and `overdue_count` others are still overdue."""
    if subscription.state is not SubscriptionState.PAST_DUE or overdue_count:
        return Unaffected()
    return Recovered(subscription.changed(state=SubscriptionState.ACTIVE))
