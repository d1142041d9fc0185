"""Which invoices of a subscription are overdue: what makes it past due, and what brings it back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from services.subscriptions.domain.lifecycle import RUNNING
from services.subscriptions.domain.subscription import Dunning, Subscription


class InvoiceStanding(StrEnum):
    """How one invoice stands, as far as this service has heard, in rising weight: what weighs more holds.

    `given_up`: it suspends; `never_paid`: the agreement ends over it. Paid is the last word, unless the money is taken
    back: that begins another round.
    """

    OVERDUE = "overdue"
    GIVEN_UP = "given_up"
    NEVER_PAID = "never_paid"
    PAID = "paid"


@dataclass(frozen=True, slots=True)
class Standing:
    """How an invoice stands in its newest round: `reopened_count` is how often it had been paid and was due again."""

    standing: InvoiceStanding
    reopened_count: int = 0


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


_WEIGHTS = {standing: weight for weight, standing in enumerate(InvoiceStanding)}


def following_standing(before: Standing | None, heard: Standing) -> Standing:
    """The standing after hearing `heard`, in whatever order news comes: the newest round, and what weighs most in it."""
    if before is None:
        return heard
    return max(before, heard, key=lambda known: (known.reopened_count, _WEIGHTS[known.standing]))


def decide_dunning(
    subscription: Subscription, standings: Iterable[InvoiceStanding], invoice_id: str
) -> PaymentStanding:
    """What all invoices together make of the subscription; what is over, or has not begun, stays as it is.

    An invoice that was given up suspends it, until that is paid too.
    """
    if subscription.state not in RUNNING:
        return Unaffected()
    known = set(standings)
    if known & {InvoiceStanding.GIVEN_UP, InvoiceStanding.NEVER_PAID}:
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
