"""Give a subscription an end, or take it back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.clock import Clock
from services.subscriptions.application import events
from services.subscriptions.application.carry_out import carry_out
from services.subscriptions.application.now import business_now
from services.subscriptions.application.ports import CheckVersion, UnitOfWork, any_version
from services.subscriptions.domain import cancellation
from services.subscriptions.domain.cancellation import EndChanged, cancel_at, cancel_at_period_end
from services.subscriptions.domain.renewal import Ended
from services.subscriptions.domain.subscription import Subscription


@dataclass(frozen=True, slots=True)
class CancelSubscription:
    """At the end of the current period, or at `at`, or, with neither, at once."""

    subscription_id: str
    at_period_end: bool = False
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WithdrawCancellation:
    subscription_id: str


async def cancel_subscription(
    command: CancelSubscription, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> Subscription:
    """Set when the subscription ends; the scheduler ends it then. To ask for the same end again changes nothing.

    Emits: SubscriptionChanged; SubscriptionEnded at once for one that will then never begin.
    Raises: SubscriptionNotFound, SubscriptionOver, CancellationInThePast, CancellationAfterTerm.
    """
    subscription = await uow.subscriptions.get_for_update(command.subscription_id)
    check_version(subscription.version)
    now = await business_now(subscription.test_clock_id, uow=uow, clock=clock)
    if command.at_period_end:
        outcome = cancel_at_period_end(subscription, now)
    else:
        outcome = cancel_at(subscription, command.at or now, now)
    if isinstance(outcome, Ended):
        await carry_out(outcome, uow=uow, now=now)
    elif isinstance(outcome, EndChanged):
        await _save_end(outcome.subscription, "subscription.canceled", uow=uow, now=now)
    return outcome.subscription


async def withdraw_cancellation(
    command: WithdrawCancellation, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> Subscription:
    """Let a canceled subscription run on, as long as its end has not come.

    Emits: SubscriptionChanged.
    Raises: SubscriptionNotFound, SubscriptionOver, NotCanceled.
    """
    subscription = await uow.subscriptions.get_for_update(command.subscription_id)
    check_version(subscription.version)
    now = await business_now(subscription.test_clock_id, uow=uow, clock=clock)
    outcome = cancellation.withdraw_cancellation(subscription, now)
    await _save_end(outcome.subscription, "subscription.cancellation_withdrawn", uow=uow, now=now)
    return outcome.subscription


async def _save_end(subscription: Subscription, action: str, *, uow: UnitOfWork, now: datetime) -> None:
    uow.subscriptions.save(subscription)
    uow.record(action, subscription.id, subscription.version)
    await events.tell(subscription, uow=uow, occurred_at=now)
