"""What becomes of the instants of a subscription when its zone changes: dates stay, and so the instants move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from libs.common.periods import local_date, start_of_day
from services.subscriptions.domain.subscription import Subscription


def in_zone(subscription: Subscription, zone: str, at: datetime) -> Subscription:
    """The subscription, but for its calendar and period, in the zone that it has from `at` on.

    What is to happen later, as a local day begins, happens as that day begins in the new zone: the end of a trial, of a
    term, of a period for which it was canceled, of a pause, of what was billed elsewhere. Where that is over already, it
    happens at `at`.
    """
    then = _mover(subscription.calendar.zone, zone, at)
    segments = tuple(
        replace(
            segment,
            start=then(segment.start),
            end=then(segment.end) if segment.end is not None else None,
        )
        for segment in subscription.segments
    )
    pauses = tuple(
        pause
        if pause.status == "over"
        else replace(pause, start=then(pause.start), end=then(pause.end) if pause.end is not None else None)
        for pause in subscription.pauses
    )
    return replace(
        subscription,
        starts_at=then(subscription.starts_at),
        trial_ends_at=_or_none(then, subscription.trial_ends_at),
        term_ends_at=_or_none(then, subscription.term_ends_at),
        cancels_at=_or_none(then, subscription.cancels_at),
        billed_until=_or_none(then, subscription.billed_until),
        segments=segments,
        pauses=pauses,
        reminders=tuple(
            replace(reminder, at=then(reminder.at), about=then(reminder.about))
            for reminder in subscription.reminders
        ),
    )


Mover = Callable[[datetime], datetime]


def _mover(before: str, zone: str, at: datetime) -> Mover:
    def moved(then: datetime) -> datetime:
        on = local_date(then, before)
        if then <= at or then != start_of_day(on, before):
            return then
        return max(start_of_day(on, zone), at)

    return moved


def _or_none(then: Mover, at: datetime | None) -> datetime | None:
    return None if at is None else then(at)
