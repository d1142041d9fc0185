"""Reminders of the end of a minimum term, on which it is renewed or over."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from libs.common.periods import DAY, start_of_day
from services.subscriptions.domain.agreed_term import AgreedTerm
from services.subscriptions.domain.subscription import Reminder, Subscription


def term_reminders(term: AgreedTerm | None, zone: str, *, after: datetime) -> tuple[Reminder, ...]:
    """One for each number of days before the end that the term names, where that day is yet to come."""
    if term is None or term.is_over:
        return ()
    about = start_of_day(term.ends_on, zone)
    planned = (
        Reminder(start_of_day(term.ends_on - days * DAY, zone), "renewal_upcoming", days, about)
        for days in term.reminder_days
    )
    return tuple(reminder for reminder in planned if after < reminder.at)


def reminders_with(
    subscription: Subscription, term: AgreedTerm | None, *, after: datetime
) -> tuple[Reminder, ...]:
    """The subscription's reminders, with those of its term planned anew for `term`."""
    others = tuple(reminder for reminder in subscription.reminders if reminder.kind != "renewal_upcoming")
    return others + term_reminders(term, subscription.calendar.zone, after=after)


def without_late_reminders(subscription: Subscription, now: datetime) -> Subscription:
    """Of what is over by `now` nobody is reminded any more: of one that is caught up with, or was agreed on for the past.

    What they were about is due by then itself, so that it never waits for them.
    """
    late = [one for one in subscription.reminders if one.kind == "renewal_upcoming" and one.about <= now]
    if not late:
        return subscription
    return replace(subscription, reminders=tuple(one for one in subscription.reminders if one not in late))
