"""Write down what the domain decided about a subscription, and tell of it."""

from __future__ import annotations

from datetime import datetime

from services.subscriptions.application import events
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.renewal import Ended, Renewed, Started
from services.subscriptions.domain.subject_binding import release_at_end


async def carry_out(outcome: Started | Renewed | Ended, *, uow: UnitOfWork, now: datetime) -> None:
    """Save the subscription, its new period, and what follows from its end. It was added or locked before.

    Emits: SubscriptionStarted, SubscriptionRenewed or SubscriptionEnded; SubjectReleased for each binding that
    would have outlived the subscription.
    """
    subscription = outcome.subscription
    uow.subscriptions.save(subscription)
    uow.record(f"subscription.{type(outcome).__name__.lower()}", subscription.id, subscription.version)
    if isinstance(outcome, Ended):
        await _release_bindings(outcome, uow=uow, now=now)
    else:
        uow.subscriptions.begin_period(subscription, outcome.period)
    await events.tell(outcome, uow=uow, occurred_at=now)


async def _release_bindings(outcome: Ended, *, uow: UnitOfWork, now: datetime) -> None:
    began = outcome.ended is not None
    for binding in await uow.bindings.open_of(outcome.subscription):
        released = release_at_end(binding, outcome.ended_at, began=began)
        if released is None:
            continue
        uow.bindings.save(released)
        uow.record("subject_binding.released", released.id, released.version)
        uow.outbox.append(events.for_released(released, tenant=uow.tenant, occurred_at=now), key=released.id)
