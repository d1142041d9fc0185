"""Write down what the domain decided about a subscription, and tell of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from libs.common.contracts.subscriptions import FeeV1
from libs.common.ids import derived_id
from services.subscriptions.application import events
from services.subscriptions.application.agreed_terms import fees_at_end
from services.subscriptions.application.note_revenue import note_revenue
from services.subscriptions.application.offers import find_plan
from services.subscriptions.application.pause_fees import fees_of
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.application.scheduled_changes import settled
from services.subscriptions.domain.recurring_revenue import RevenueCause
from services.subscriptions.domain.renewal import Changed, Ended, Outcome, Reminded, Renewed, Started
from services.subscriptions.domain.subject_binding import release_at_end

_CAUSES: Mapping[str, RevenueCause] = {
    "started": "started",
    "renewed": "renewed",
    "changed": "changed",
    "paused": "paused",
    "resumed": "resumed",
    "ended": "ended",
}


async def carry_out(outcome: Outcome, *, uow: UnitOfWork, now: datetime, fees: Sequence[FeeV1] = ()) -> None:
    """Save the subscription, its periods, and what follows from its end. It was added or locked before.

    `fees` are charged beside those that follow from the outcome itself: of a trial that has a price, of a pause.
    Emits: the outcome's own event; SubjectReleased for each binding that would have outlived the subscription.
    """
    outcome = await settled(outcome, uow=uow, now=now)
    subscription = outcome.subscription
    known = await uow.subscriptions.get_for_update(subscription.id)
    before = known.period
    uow.subscriptions.save(subscription)
    action = outcome.kind if isinstance(outcome, Changed) else type(outcome).__name__.lower()
    if not isinstance(outcome, Reminded):
        await note_revenue(known, subscription, cause=_CAUSES[action], now=now, uow=uow)
    uow.record(f"subscription.{action}", subscription.id, subscription.version)
    if isinstance(outcome, Ended):
        await _release_bindings(outcome, uow=uow, now=now)
    elif isinstance(outcome, Started | Renewed):
        uow.subscriptions.begin_period(subscription, outcome.period)
    if isinstance(outcome, Renewed) and outcome.ended != before:
        uow.subscriptions.change_period(subscription, outcome.ended)
    if isinstance(outcome, Changed | Ended) and subscription.period not in (None, before):
        assert subscription.period is not None
        uow.subscriptions.change_period(subscription, subscription.period)
    fees = (*fees, *await _trial_fee(outcome, uow), *fees_of(outcome))
    if isinstance(outcome, Ended):
        fees = (*fees, *await fees_at_end(outcome, uow=uow, now=now))
    await events.tell(outcome, uow=uow, occurred_at=now, fees=fees)


async def _trial_fee(outcome: Outcome, uow: UnitOfWork) -> tuple[FeeV1, ...]:
    """What a trial costs, when it begins."""
    if not isinstance(outcome, Started) or outcome.period.kind != "trial":
        return ()
    subscription = outcome.subscription
    plan = await find_plan(subscription.plan_version_id, subscription.overlay_id, uow=uow)
    if plan.trial is None or not plan.trial.amount:
        return ()
    fee = FeeV1(
        fee_id=derived_id("fee", subscription.id, "trial"),
        kind="trial",
        description=f"{plan.name}, trial",
        amount=plan.trial.amount,
        service_start_on=outcome.period.start_on,
        service_end_on=outcome.period.end_on,
    )
    return (fee,)


async def _release_bindings(outcome: Ended, *, uow: UnitOfWork, now: datetime) -> None:
    began = outcome.ended is not None
    for binding in await uow.bindings.open_of(outcome.subscription):
        released = release_at_end(binding, outcome.ended_at, began=began)
        if released is None:
            continue
        uow.bindings.save(released)
        uow.record("subject_binding.released", released.id, released.version)
        uow.outbox.append(events.for_released(released, tenant=uow.tenant, occurred_at=now), key=released.id)
