"""Note that an invoice of a subscription was paid, or was not when it should have been."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.common.contracts.envelope import Event
from services.subscriptions.application import events
from services.subscriptions.application.end_unpaid import end_unpaid
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.invoice_standing import (
    BecamePastDue,
    BecameSuspended,
    InvoiceStanding,
    PaymentStanding,
    Standing,
    Unaffected,
    decide_dunning,
    following_standing,
)


@dataclass(frozen=True, slots=True)
class RecordPaymentOutcome:
    """`heard` is how the invoice stands by this news, `occurred_at` when that came about, `round` how often it had been
    paid before and was due again.
    """

    subscription_id: str
    invoice_id: str
    heard: InvoiceStanding
    occurred_at: datetime
    round: int = 0


async def load_for_payment_outcomes(invoices: Sequence[tuple[str, str]], *, uow: UnitOfWork) -> None:
    """Lock and read, in one go, what the news of these (subscription id, invoice id) will need."""
    await uow.subscriptions.load_for_update(subscription_id for subscription_id, _ in invoices)
    await uow.standings.load(invoices)


async def record_payment_outcome(command: RecordPaymentOutcome, *, uow: UnitOfWork) -> PaymentStanding:
    """A subscription with an overdue invoice is past due, or suspended once one is given up; it ends over one that was
    not paid by the end of its dunning.

    With the last of them paid it is back. Order and repeats do not matter: once an invoice is known as paid, a
    failure told of later changes nothing.
    Emits: SubscriptionPastDue, SubscriptionSuspended, SubscriptionRecovered, SubscriptionChanged, SubscriptionEnded.
    Raises: SubscriptionNotFound.
    """
    subscription = await uow.subscriptions.get_for_update(command.subscription_id)
    standings = dict(await uow.standings.of(command.subscription_id, command.invoice_id))
    before = standings.get(command.invoice_id)
    after = following_standing(before, Standing(command.heard, command.round))
    if after != before:
        uow.standings.put(command.subscription_id, command.invoice_id, after)
    standings[command.invoice_id] = after
    known = [one.standing for one in standings.values()]
    outcome = decide_dunning(subscription, known, command.invoice_id)
    _carry_out(outcome, occurred_at=command.occurred_at, uow=uow)
    if after.standing is InvoiceStanding.NEVER_PAID and after != before:
        await end_unpaid(command.subscription_id, at=command.occurred_at, uow=uow)
    return outcome


def _carry_out(outcome: PaymentStanding, *, occurred_at: datetime, uow: UnitOfWork) -> None:
    if isinstance(outcome, Unaffected):
        return
    subscription = outcome.subscription
    event: Event
    if isinstance(outcome, BecamePastDue):
        action, event = "past_due", events.for_past_due(outcome, tenant=uow.tenant, occurred_at=occurred_at)
    elif isinstance(outcome, BecameSuspended):
        action, event = (
            "suspended",
            events.for_suspension(outcome, tenant=uow.tenant, occurred_at=occurred_at),
        )
    else:
        action, event = "recovered", events.for_recovery(outcome, tenant=uow.tenant, occurred_at=occurred_at)
    uow.subscriptions.save(subscription)
    uow.record(f"subscription.{action}", subscription.id, subscription.version)
    events.publish(event, subscription, uow=uow)
