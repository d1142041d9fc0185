"""Carry a subscription over the instant that is due: its start, its next boundary, its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.subscriptions.application.carry_out import carry_out
from services.subscriptions.application.ports import UnitOfWork
from services.subscriptions.domain.renewal import (
    Ended,
    NotDue,
    Renewed,
    Started,
    decide_renewal,
    decide_start,
)
from services.subscriptions.domain.subscription import SubscriptionState

RenewalOutcome = Started | Renewed | Ended | NotDue


@dataclass(frozen=True, slots=True)
class RenewSubscription:
    """`now` is the subscription's business now, as the schedule that found it due saw it."""

    subscription_id: str
    now: datetime


async def load_for_renewal(commands: Sequence[RenewSubscription], *, uow: UnitOfWork) -> None:
    """Lock and read what these commands will need: a fixed number of statements, however many they are."""
    nows = {command.subscription_id: command.now for command in commands}
    await uow.subscriptions.load_for_update(nows)
    subscriptions = [await uow.subscriptions.get_for_update(id) for id in nows]
    await uow.plans.load(subscription.plan_version_id for subscription in subscriptions)
    await uow.customers.load(subscription.customer_id for subscription in subscriptions)
    await uow.bindings.load_open(
        subscription.id
        for subscription in subscriptions
        if subscription.ends_at is not None and subscription.ends_at <= nows[subscription.id]
    )


async def renew_subscription(command: RenewSubscription, *, uow: UnitOfWork) -> RenewalOutcome:
    """Begin a scheduled subscription, or move one into its next billing period, or end it.

    Running it twice is harmless: once renewed, a subscription is no longer due. One that is two periods behind
    is still due afterwards, for the second.
    Emits: SubscriptionStarted, SubscriptionRenewed or SubscriptionEnded, with SubjectReleased.
    Raises: SubscriptionNotFound.
    """
    subscription = await uow.subscriptions.get_for_update(command.subscription_id)
    outcome: RenewalOutcome
    if subscription.state is SubscriptionState.SCHEDULED:
        outcome = decide_start(subscription, command.now)
    else:
        outcome = decide_renewal(subscription, command.now)
    if not isinstance(outcome, NotDue):
        await carry_out(outcome, uow=uow, now=command.now)
    return outcome
