"""How a subscription is given an end, and how that is taken back while it has not come."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.errors import Conflict, RuleViolation
from services.subscriptions.domain.agreed_term import AgreedTerm
from services.subscriptions.domain.lifecycle import WAITING, SubscriptionState
from services.subscriptions.domain.renewal import Ended, first_period
from services.subscriptions.domain.subscription import Credit, EndReason, Subscription


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


def cancel_at(
    subscription: Subscription,
    at: datetime,
    now: datetime,
    *,
    credit: Credit = "none",
    reason: EndReason = "canceled",
    quote_id: str | None = None,
    waiver: str | None = None,
) -> EndChanged | Ended | Unchanged:
    """Let the subscription end at `at`, which may be now.

    `credit` is what becomes of what was charged for the time after the end: it stays charged (`none`), is given back as
    each price is prorated, or (`full`) all fees of the period that it ends in are. A period that is not charged yet is
    charged for the part in use in any case. One that has not begun by then is over at once, and never begins.
    `quote_id` is the quote that an end before the term's is agreed at, `waiver` why the seller lets one pass.
    Raises: SubscriptionOver, CancellationInThePast, CancellationAfterTerm.
    """
    subscription.refuse_when_over(now, to="cancel")
    if at < now:
        raise CancellationInThePast(
            "the end lies before the subscription's present time",
            pointer="/at",
            remedy='To end it at once, send {"at_period_end": false}.',
            now=now,
        )
    if subscription.agreed_end is not None and at > subscription.agreed_end:
        raise CancellationAfterTerm(
            "the subscription ends by itself before that", pointer="/at", ends_at=subscription.agreed_end
        )
    if subscription.state in WAITING and (
        subscription.state is SubscriptionState.AWAITING_ACTIVATION or at <= subscription.starts_at
    ):
        over = subscription.changed(
            state=SubscriptionState.CANCELED,
            cancels_at=at,
            ended_at=now,
            end_reason=reason,
            next_change_at=None,
        )
        return Ended(over, ended=None, ended_at=now, reason=reason)
    period = subscription.period
    keeps = period.index if credit == "none" and period is not None and at < period.end else None
    wanted = {
        "cancels_at": at,
        "cancel_credit": credit,
        "cancel_reason": reason,
        "keeps_charges_of": keeps,
        "term": _agreed_to_end(subscription.term, quote_id, waiver),
    }
    if all(getattr(subscription, name) == value for name, value in wanted.items()):
        return Unchanged(subscription)
    return EndChanged(subscription.changed(**wanted, touched=_touched_by_end(subscription)))


def end_of_period(subscription: Subscription, now: datetime) -> datetime:
    """When the period ends that `now` lies in or, before it has begun, the first one; or an agreed end within that.

    Raises: SubscriptionOver.
    """
    subscription.refuse_when_over(now, to="cancel")
    period = subscription.period or first_period(subscription)
    while period.end <= now:  # behind, until the scheduler has caught up
        period = subscription.calendar.after(period)
    agreed_end = subscription.agreed_end
    return min(period.end, agreed_end) if agreed_end else period.end


def withdraw_from(subscription: Subscription, now: datetime) -> EndChanged | Ended | Unchanged:
    """A consumer withdraws from the agreement: it ends at once, and what was charged is told of again, for all of it.

    Recurring fees are given back by the day, whatever the prices say; so is all that was charged once.
    Raises: SubscriptionOver.
    """
    if subscription.period is not None:
        subscription = replace(subscription, touched=frozenset(range(subscription.period.index + 1)))
    return cancel_at(subscription, now, now, credit="prorated", reason="withdrawn")


def withdraw_cancellation(subscription: Subscription, now: datetime) -> EndChanged:
    """Take a cancellation back whose time has not come; the end of an agreed term stays.

    Raises: SubscriptionOver, NotCanceled.
    """
    subscription.refuse_when_over(now, to="withdraw")
    if subscription.cancels_at is None:
        raise NotCanceled("the subscription is not canceled")
    return EndChanged(
        subscription.changed(
            cancels_at=None,
            cancel_credit="none",
            cancel_reason="canceled",
            keeps_charges_of=None,
            touched=_touched_by_end(subscription),
            term=_agreed_to_end(subscription.term, None, None),
        )
    )


def _touched_by_end(subscription: Subscription) -> frozenset[int]:
    """A period that was to end early may have been charged for a part only."""
    period = subscription.period
    if period is None or subscription.cancels_at is None or subscription.cancels_at >= period.end:
        return subscription.touched
    return subscription.touched | {period.index}


def _agreed_to_end(term: AgreedTerm | None, quote_id: str | None, waiver: str | None) -> AgreedTerm | None:
    return replace(term, accepted_quote_id=quote_id, waiver=waiver) if term is not None else None
