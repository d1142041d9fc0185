"""End a subscription over an invoice that nobody paid."""

from __future__ import annotations

from datetime import datetime

from services.subscriptions.application import events
from services.subscriptions.application.carry_out import carry_out
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.cancellation import EndChanged, cancel_at
from services.subscriptions.domain.lifecycle import OVER
from services.subscriptions.domain.renewal import Ended


async def end_unpaid(subscription_id: str, *, at: datetime, uow: UnitOfWork) -> None:
    """It ends at `at`, or where its current period began if that was later; the scheduler carries that out, as any end.

    What was charged for the rest of the period stays charged. A repeat, or one whose end came before, changes nothing.
    Emits: SubscriptionChanged; SubscriptionEnded for one that will then never begin.
    Raises: SubscriptionNotFound.
    """
    subscription = await uow.subscriptions.get_for_update(subscription_id)
    if subscription.period is not None:
        at = max(at, subscription.period.start)
    ends_at = subscription.ends_at
    if subscription.state in OVER or (ends_at is not None and ends_at <= at):
        return
    outcome = cancel_at(subscription, at, at, reason="not_paid")
    if isinstance(outcome, Ended):
        await carry_out(outcome, uow=uow, now=at)
    elif isinstance(outcome, EndChanged):
        ending = outcome.subscription
        uow.subscriptions.save(ending)
        uow.record("subscription.ended_unpaid", ending.id, ending.version)
        await events.tell(ending, uow=uow, occurred_at=at)
