"""What a subscription's clock brings about: it begins, renews or ends, or nothing is due yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.subscriptions.domain.billing_period import BillingPeriod
from services.subscriptions.domain.subscription import RUNNING, EndReason, Subscription, SubscriptionState


@dataclass(frozen=True, slots=True)
class NotDue:
    """Nothing happens before `due_at`; None when nothing will happen by itself any more."""

    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Started:
    subscription: Subscription
    period: BillingPeriod


@dataclass(frozen=True, slots=True)
class Renewed:
    """`ended` is over and `period` begins, at the same instant."""

    subscription: Subscription
    ended: BillingPeriod
    period: BillingPeriod


@dataclass(frozen=True, slots=True)
class Ended:
    """`ended` is the last period, cut at `ended_at`; None when it never began."""

    subscription: Subscription
    ended: BillingPeriod | None
    ended_at: datetime
    reason: EndReason


def decide_start(subscription: Subscription, now: datetime) -> Started | NotDue:
    """Begin the first billing period of a scheduled subscription whose time has come.

    A repeat finds a subscription that has begun, and NotDue.
    """
    if subscription.state is not SubscriptionState.SCHEDULED or subscription.starts_at > now:
        return NotDue(subscription.due_at)
    period = subscription.calendar.nth_period(0)
    return Started(subscription.changed(state=SubscriptionState.ACTIVE, period=period), period)


def decide_renewal(subscription: Subscription, now: datetime) -> Renewed | Ended | NotDue:
    """Move a running subscription into its next billing period, or end it.

    One period at a time: what is two periods behind is still due afterwards. An end that falls on a boundary
    ends the period there and begins none. A past due subscription renews like any other.
    """
    due_at = subscription.due_at
    if subscription.state not in RUNNING or due_at is None or due_at > now:
        return NotDue(due_at)
    assert subscription.period is not None, "a running subscription has a period"
    if subscription.ends_at is not None and subscription.ends_at <= subscription.period.end:
        return _end(subscription, subscription.period, subscription.ends_at)
    period = subscription.calendar.nth_period(subscription.period.index + 1)
    return Renewed(subscription.changed(period=period), ended=subscription.period, period=period)


def _end(subscription: Subscription, period: BillingPeriod, at: datetime) -> Ended:
    canceled = subscription.cancels_at is not None and subscription.cancels_at == at
    reason: EndReason = "canceled" if canceled else "term_end"
    last = subscription.calendar.cut(period, at)
    over = subscription.changed(state=SubscriptionState.ENDED, period=last, ended_at=at, end_reason=reason)
    return Ended(over, ended=last, ended_at=at, reason=reason)
