"""How a subscription is given an end, and how that is taken back while it has not come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.errors import Conflict, RuleViolation
from services.subscriptions.domain.renewal import Ended
from services.subscriptions.domain.subscription import (
    OVER,
    Subscription,
    SubscriptionOver,
    SubscriptionState,
)


class CancellationInThePast(RuleViolation):
    code = "cancellation_in_the_past"
    title = "A subscription cannot end in the past"


class CancellationAfterTerm(RuleViolation):
    code = "cancellation_after_term"
    title = "The subscription's term ends earlier"


class NotCanceled(Conflict):
    code = "not_canceled"
    title = "There is no cancellation to withdraw"


@dataclass(frozen=True, slots=True)
class EndChanged:
    """The subscription's end was set, moved or withdrawn; it runs on until then."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class Unchanged:
    """It ends then already."""

    subscription: Subscription


def cancel_at(subscription: Subscription, at: datetime, now: datetime) -> EndChanged | Ended | Unchanged:
    """Let the subscription end at `at`, which may be now; nothing paid in advance is credited.

    One that has not begun by then is over at once, and never begins.
    Raises: SubscriptionOver, CancellationInThePast, CancellationAfterTerm.
    """
    _check_not_over(subscription, now)
    if at < now:
        raise CancellationInThePast(
            "the end lies before the subscription's present time",
            pointer="/at",
            remedy='To end it at once, send {"at_period_end": false}.',
            now=now,
        )
    if subscription.term_ends_at is not None and at > subscription.term_ends_at:
        raise CancellationAfterTerm(
            "the subscription ends by itself before that", pointer="/at", ends_at=subscription.term_ends_at
        )
    if subscription.state is SubscriptionState.SCHEDULED and at <= subscription.starts_at:
        over = subscription.changed(
            state=SubscriptionState.CANCELED, cancels_at=at, ended_at=now, end_reason="canceled"
        )
        return Ended(over, ended=None, ended_at=now, reason="canceled")
    if subscription.cancels_at == at:
        return Unchanged(subscription)
    return EndChanged(subscription.changed(cancels_at=at))


def cancel_at_period_end(subscription: Subscription, now: datetime) -> EndChanged | Ended | Unchanged:
    """Let it end with the period that `now` lies in or, before it has begun, with its first one.

    A term that ends within that period ends it all the same.
    Raises: SubscriptionOver.
    """
    _check_not_over(subscription, now)
    period = subscription.calendar.period_at(max(now, subscription.starts_at))
    term_ends_at = subscription.term_ends_at
    return cancel_at(subscription, min(period.end, term_ends_at) if term_ends_at else period.end, now)


def withdraw_cancellation(subscription: Subscription, now: datetime) -> EndChanged:
    """Take a cancellation back whose time has not come; the end of an agreed term stays.

    Raises: SubscriptionOver, NotCanceled.
    """
    _check_not_over(subscription, now)
    if subscription.cancels_at is None:
        raise NotCanceled("the subscription is not canceled")
    return EndChanged(subscription.changed(cancels_at=None))


def _check_not_over(subscription: Subscription, now: datetime) -> None:
    """An end whose time has come stands, also while the scheduler has yet to write it down."""
    if subscription.state in OVER:
        raise SubscriptionOver(f"the subscription is {subscription.state}", state=subscription.state)
    if subscription.ends_at is not None and subscription.ends_at <= now:
        raise SubscriptionOver("the subscription's end has come", ends_at=subscription.ends_at)
