"""Give a subscription an end, or take it back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.clock import Clock
from services.subscriptions.application import events
from services.subscriptions.application.agreed_terms import allow_end
from services.subscriptions.application.carry_out import carry_out
from services.subscriptions.application.now import business_now
from services.subscriptions.application.ports import CheckVersion, UnitOfWork, any_version
from services.subscriptions.domain import cancellation
from services.subscriptions.domain.cancellation import EndChanged, cancel_at, end_of_period
from services.subscriptions.domain.renewal import Ended
from services.subscriptions.domain.subscription import Credit, Subscription


@dataclass(frozen=True, slots=True)
class CancelSubscription:
    """At the end of the current period, or at `at`, or on the day of a quote, or, with none of them, at once.

    `waiver` is why the seller lets an end pass that the term does not allow.
    """

    subscription_id: str
    at_period_end: bool = False
    at: datetime | None = None
    credit: Credit = "none"
    quote_id: str | None = None
    waiver: str | None = None


@dataclass(frozen=True, slots=True)
class WithdrawCancellation:
    subscription_id: str


async def cancel_subscription(
    command: CancelSubscription, *, uow: UnitOfWork, clock: Clock, check_version: CheckVersion = any_version
) -> Subscription:
    """Set when the subscription ends; the scheduler ends it then. To ask for the same end again changes nothing.

    Emits: SubscriptionChanged; SubscriptionEnded at once for one that will then never begin.
    Raises: SubscriptionNotFound, SubscriptionOver, CancellationInThePast, CancellationAfterTerm, EndsTooEarly,
    QuoteNotFound, QuoteExpired.
    """
    subscription = await uow.subscriptions.get_for_update(command.subscription_id)
    check_version(subscription.version)
    now = await business_now(subscription.test_clock_id, uow=uow, clock=clock)
    subscription.refuse_when_over(now, to="cancel")
    at = await allow_end(
        subscription,
        end_of_period(subscription, now) if command.at_period_end else command.at or now,
        quote_id=command.quote_id,
        waiver=command.waiver,
        now=now,
        uow=uow,
    )
    outcome = cancel_at(
        subscription,
        at,
        now,
        credit=command.credit,
        quote_id=command.quote_id,
        waiver=command.waiver,
    )
    if command.waiver is not None:
        uow.record("subscription.term_waived", subscription.id, outcome.subscription.version)
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
