"""Which invoices of a subscription are overdue: what makes it past due, and what brings it back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from services.subscriptions.domain.lifecycle import RUNNING
from services.subscriptions.domain.subscription import Dunning, Subscription


class InvoiceStanding(StrEnum):
    """How one invoice stands, as far as this service has heard. Paid is the last word: nothing follows it."""

    OVERDUE = "overdue"
    GIVEN_UP = "given_up"
    PAID = "paid"


@dataclass(frozen=True, slots=True)
class BecamePastDue:
    subscription: Subscription
    invoice_id: str


@dataclass(frozen=True, slots=True)
class BecameSuspended:
    subscription: Subscription
    invoice_id: str


@dataclass(frozen=True, slots=True)
class Recovered:
    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Unaffected:
    """Nothing about the subscription changes."""


PaymentStanding = BecamePastDue | BecameSuspended | Recovered | Unaffected


def following_standing(before: InvoiceStanding | None, heard: InvoiceStanding) -> InvoiceStanding:
    """The standing after hearing `heard`: news may come late. Paid is the last word, and given up goes over overdue."""
    if before is InvoiceStanding.PAID:
        return before
    if before is InvoiceStanding.GIVEN_UP and heard is InvoiceStanding.OVERDUE:
        return before
    return heard


def decide_dunning(
    subscription: Subscription, standings: Iterable[InvoiceStanding], invoice_id: str
) -> PaymentStanding:
    """What all invoices together make of the subscription; what is over, or has not begun, stays as it is.

    An invoice that no more tries will be made for suspends it, until that is paid too.
    """
    if subscription.state not in RUNNING:
        return Unaffected()
    known = set(standings)
    if InvoiceStanding.GIVEN_UP in known:
        dunning = Dunning.SUSPENDED
    elif InvoiceStanding.OVERDUE in known:
        dunning = Dunning.PAST_DUE
    else:
        dunning = Dunning.NONE
    if dunning is subscription.dunning:
        return Unaffected()
    after = subscription.changed(dunning=dunning)
    if dunning is Dunning.SUSPENDED:
        return BecameSuspended(after, invoice_id)
    if dunning is Dunning.PAST_DUE:
        return BecamePastDue(after, invoice_id)
    return Recovered(after)
