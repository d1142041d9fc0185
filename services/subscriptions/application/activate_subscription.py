"""What a beginning waited for has come about: the subscription begins, at once or on its day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from libs.common.clock import Clock
from libs.common.errors import Conflict, RuleViolation
from services.subscriptions.application import events
from services.subscriptions.application.carry_out import carry_out
from services.subscriptions.application.now import business_now
from services.subscriptions.application.offers import find_plan, offer_of
from services.subscriptions.application.ports import CheckVersion, UnitOfWork, any_version
from services.subscriptions.domain.agree import Terms, begun_on
from services.subscriptions.domain.renewal import NotDue, decide_start
from services.subscriptions.domain.subscription import (
    Activation,
    AwaitedEvent,
    Subscription,
    SubscriptionState,
    TermReversed,
)


class AwaitsSomethingElse(Conflict):
    """Its beginning waits for another event than this."""

    code = "awaits_something_else"
    title = "The subscription waits for something else"


class ActivationTooEarly(RuleViolation):
    """What was ordered is delivered and accepted no earlier than that."""

    code = "activation_too_early"
    title = "It was ordered later than that"


@dataclass(frozen=True, slots=True)
class ActivateSubscription:
    """`on` is a local date in the subscription's zone."""

    subscription_id: str
    on: date
    reason: AwaitedEvent


async def activate_subscription(
    command: ActivateSubscription, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> Subscription:
    """It begins on that date, or on the first of the month after it, with what was agreed on: all that counts from its
    beginning (trial, first part, anchor, term) is counted anew. A date that is over is caught up with.

    Emits: SubscriptionStarted; SubscriptionScheduled where it begins later.
    Raises: SubscriptionNotFound, TransitionNotAllowed, AwaitsSomethingElse, ActivationTooEarly, TermReversed.
    """
    subscription = await uow.subscriptions.get_for_update(command.subscription_id)
    check_version(subscription.version)
    subscription.refuse_unless([SubscriptionState.AWAITING_ACTIVATION], to="activate")
    activation = subscription.activation
    assert activation is not None, "what waits for its activation knows for what"
    if command.reason != activation.awaits:
        raise AwaitsSomethingElse(
            f"its beginning waits for its {activation.awaits}", pointer="/reason", awaits=activation.awaits
        )
    if command.on < activation.ordered_on:
        raise ActivationTooEarly(
            "it was ordered after that day", pointer="/on", ordered_on=activation.ordered_on
        )
    now = await business_now(subscription.test_clock_id, uow=uow, clock=clock)
    begun = await _begun(subscription, activation, command.on, uow=uow)
    scheduled = begun.changed(state=SubscriptionState.SCHEDULED)
    uow.subscriptions.save(scheduled)
    uow.record("subscription.activated", scheduled.id, scheduled.version)
    outcome = decide_start(scheduled, now)
    if isinstance(outcome, NotDue):
        await events.tell(scheduled, uow=uow, occurred_at=now)
        return scheduled
    await carry_out(outcome, uow=uow, now=now)
    return await uow.subscriptions.get_for_update(scheduled.id)


async def _begun(
    subscription: Subscription, activation: Activation, on: date, *, uow: UnitOfWork
) -> Subscription:
    """Raises: TermReversed."""
    starts_on = first_of_next_month(on) if activation.first_of_next_month else on
    plan = await find_plan(subscription.plan_version_id, subscription.overlay_id, uow=uow)
    offer = offer_of(plan, currency=subscription.currency, overlay_id=subscription.overlay_id)
    terms = Terms(
        zone=subscription.calendar.zone,
        starts_on=starts_on,
        anchor_on=activation.anchor_on,
        anchoring=activation.anchoring,
        first_part=activation.first_part,
        trial=activation.trial,
        trial_bills_usage=activation.trial_bills_usage,
        trial_reminder_days=activation.trial_reminder_days,
        term=subscription.term,
    )
    items = [segment.item for segment in subscription.segments if segment.end is None]
    begun = begun_on(subscription, starts_on, items, offer, terms)
    if begun.term_ends_at is not None and begun.term_ends_at <= begun.starts_at:
        raise TermReversed("its term is over by then", pointer="/on", ends_at=begun.term_ends_at)
    return begun


def first_of_next_month(on: date) -> date:
    return (on.replace(day=1) + timedelta(days=31)).replace(day=1)
