"""Pauses: time in which nothing is agreed on. Periods go on; what was charged for them is given back by the day."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

from libs.common.errors import Conflict, RuleViolation
from libs.common.periods import local_date
from services.subscriptions.domain.lifecycle import RUNNING, SubscriptionState
from services.subscriptions.domain.subscription import Pause, Subscription, extends
from services.subscriptions.domain.term_reminders import reminders_with


class PauseReversed(RuleViolation):
    code = "pause_reversed"
    title = "A pause that ends before it begins"


class AlreadyPaused(Conflict):
    code = "already_paused"
    title = "The subscription is paused, or will be"


class NotPaused(Conflict):
    code = "not_paused"
    title = "There is no pause to resume from"


def plan_pause(subscription: Subscription, pause: Pause, now: datetime) -> Subscription:
    """The subscription with a pause that begins at its time: not yet a new version, and not yet paused.

    Raises: TransitionNotAllowed, AlreadyPaused, PauseReversed.
    """
    subscription.refuse_unless(RUNNING, to="pause")
    if subscription.pause is not None:
        raise AlreadyPaused(
            "one pause at a time",
            starts_at=subscription.pause.start,
            remedy="Resume it, or withdraw it (DELETE …/pause), before another.",
        )
    if pause.end is not None and pause.end <= max(pause.start, now):
        raise PauseReversed("it ends later than it begins, and later than now", pointer="/resumes_on")
    over = [known for known in subscription.pauses if known.end is not None and known.end > pause.start]
    if over or pause.start < subscription.starts_at:
        raise PauseReversed(
            "it begins no earlier than the subscription does, and than the last pause ended", pointer="/on"
        )
    return replace(subscription, pauses=(*subscription.pauses, pause))


def begin_pause(subscription: Subscription, first_touched: int | None = None) -> Subscription:
    """The planned pause is under way; the periods that it reaches into are touched."""
    pause = subscription.pause
    assert pause is not None, "there is a pause to begin"
    assert subscription.period is not None, "what runs has a period"
    index = subscription.period.index
    touched = set(range(index if first_touched is None else first_touched, index + 1))
    return subscription.changed(
        pauses=(*subscription.pauses[:-1], replace(pause, status="running")),
        touched=subscription.touched | touched,
    )


def withdraw_pause(subscription: Subscription) -> Subscription:
    """Raises: NotPaused."""
    if subscription.pause is None or subscription.pause.status != "planned":
        raise NotPaused("no pause is planned", remedy="Resume a pause that has begun.")
    return subscription.changed(pauses=subscription.pauses[:-1])


def resume(subscription: Subscription, at: datetime, first_touched: int | None = None) -> Subscription:
    """The pause is over at `at`. A term that it extends ends later by as many local days.

    `first_touched` is the number of the period that `at` lies in, where that is over already.
    Raises: NotPaused, PauseReversed.
    """
    pause = subscription.pause
    if subscription.state is not SubscriptionState.PAUSED or pause is None:
        raise NotPaused("the subscription is not paused")
    if at < pause.start:
        raise PauseReversed(
            "it cannot be resumed before the pause began", pointer="/on", starts_at=pause.start
        )
    assert subscription.period is not None, "what is paused has a period"
    on = max(local_date(at, subscription.calendar.zone), pause.start_on)
    over = replace(pause, end=at, end_on=on, status="over")
    extended = _extended(subscription, pause, (on - pause.start_on).days, at)
    index = subscription.period.index
    touched = set(range(index if first_touched is None else first_touched, index + 1))
    return extended.changed(pauses=(*subscription.pauses[:-1], over), touched=subscription.touched | touched)


def resume_on(subscription: Subscription, end: datetime | None, end_on: date | None) -> Subscription:
    """The pause under way, or planned, ends by itself then (None: when it is resumed).

    Raises: NotPaused, PauseReversed.
    """
    pause = subscription.pause
    if pause is None:
        raise NotPaused("the subscription is not paused, and will not be")
    if end is not None and end <= pause.start:
        raise PauseReversed("it ends later than it begins", pointer="/resumes_on", starts_at=pause.start)
    return subscription.changed(pauses=(*subscription.pauses[:-1], replace(pause, end=end, end_on=end_on)))


def _extended(subscription: Subscription, pause: Pause, days: int, at: datetime) -> Subscription:
    term = subscription.term
    if term is None or not extends(pause, term):
        return subscription
    longer = term.extended(days)
    return replace(subscription, term=longer, reminders=reminders_with(subscription, longer, after=at))
