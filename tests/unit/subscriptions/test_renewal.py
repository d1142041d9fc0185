"""What a subscription's clock brings about."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.periods import MICROSECOND, Interval
from services.subscriptions.domain.billing_period import Calendar
from services.subscriptions.domain.renewal import (
    DueFacts,
    Ended,
    NotDue,
    Outcome,
    Renewed,
    Started,
    decide_due,
    decide_start,
    first_period,
)
from services.subscriptions.domain.subscription import Dunning, Subscription, SubscriptionState
from tests.support.subscriptions import TENANT, a_calendar, a_scheduled, a_subscription, utc
from tests.unit.subscriptions.test_billing_period import calendars

START, BOUNDARY, NEXT = utc("2025-01-31T05:00"), utc("2025-02-28T05:00"), utc("2025-03-31T04:00")
FIRST = first_period(a_scheduled())
SECOND = a_calendar().after(FIRST)


def decide(subscription: Subscription, now: datetime) -> Outcome | NotDue:
    return decide_due(subscription, now, DueFacts(TENANT))


def test_it_begins_at_its_start_and_not_before() -> None:
    scheduled = a_scheduled()
    assert decide_start(scheduled, START - MICROSECOND) == NotDue(START)
    outcome = decide_start(scheduled, START)
    assert isinstance(outcome, Started)
    assert outcome.subscription.state is SubscriptionState.ACTIVE
    assert outcome.period == outcome.subscription.period == FIRST
    assert isinstance(decide_start(outcome.subscription, NEXT), NotDue)


def test_it_renews_at_the_boundary_and_not_before() -> None:
    subscription = a_subscription()
    assert decide(subscription, BOUNDARY - MICROSECOND) == NotDue(BOUNDARY)
    outcome = decide(subscription, BOUNDARY)
    assert isinstance(outcome, Renewed)
    assert (outcome.ended, outcome.period) == (
        FIRST,
        SECOND,
    )
    assert outcome.subscription.version == subscription.version + 1
    assert outcome.subscription.period == outcome.period


def test_renewing_twice_renews_once() -> None:
    once = decide(a_subscription(), BOUNDARY)
    assert isinstance(once, Renewed)
    assert decide(once.subscription, BOUNDARY) == NotDue(NEXT)


def test_two_periods_behind_renews_twice_one_at_a_time() -> None:
    first = decide(a_subscription(), NEXT)
    assert isinstance(first, Renewed)
    second = decide(first.subscription, NEXT)
    assert isinstance(second, Renewed)
    assert [first.period.index, second.period.index] == [1, 2]
    assert isinstance(decide(second.subscription, NEXT), NotDue)


def test_a_past_due_subscription_renews_on() -> None:
    outcome = decide(a_subscription(state=SubscriptionState.PAST_DUE, dunning=Dunning.PAST_DUE), BOUNDARY)
    assert isinstance(outcome, Renewed)
    assert outcome.subscription.state is SubscriptionState.PAST_DUE


def test_an_end_on_the_boundary_ends_and_does_not_renew() -> None:
    outcome = decide(a_subscription(term_ends_at=BOUNDARY), BOUNDARY)
    assert isinstance(outcome, Ended)
    assert (outcome.ended_at, outcome.reason) == (BOUNDARY, "term_end")
    assert outcome.ended == FIRST
    assert outcome.subscription.state is SubscriptionState.ENDED
    assert outcome.subscription.due_at is None


def test_an_end_just_after_the_boundary_renews_first() -> None:
    subscription = a_subscription(term_ends_at=BOUNDARY + MICROSECOND)
    first = decide(subscription, NEXT)
    assert isinstance(first, Renewed)
    then = decide(first.subscription, NEXT)
    assert isinstance(then, Ended)
    assert then.ended is not None
    assert (then.ended.start, then.ended.end) == (BOUNDARY, BOUNDARY + MICROSECOND)
    assert then.ended.end_on == date(2025, 2, 28)


def test_an_end_within_the_period_cuts_it() -> None:
    at = utc("2025-02-10T17:00")
    subscription = a_subscription(cancels_at=at)
    assert decide(subscription, at - MICROSECOND) == NotDue(at)
    outcome = decide(subscription, at)
    assert isinstance(outcome, Ended)
    assert outcome.ended is not None
    assert (outcome.ended.end, outcome.ended.end_on, outcome.reason) == (at, date(2025, 2, 10), "canceled")
    assert outcome.subscription.period == outcome.ended


@pytest.mark.parametrize(
    "subscription",
    [
        a_scheduled(state=SubscriptionState.AWAITING_ACTIVATION),
        a_subscription(state=SubscriptionState.ENDED),
        a_scheduled(state=SubscriptionState.CANCELED),
    ],
)
def test_what_does_not_run_does_not_renew(subscription: Subscription) -> None:
    assert isinstance(decide(subscription, NEXT), NotDue)


steps = st.lists(st.timedeltas(timedelta(0), timedelta(days=400)), min_size=1, max_size=12)


@settings(deadline=None)  # the first of them reads a zone's transitions
@given(
    calendar=calendars.filter(lambda calendar: calendar.interval != Interval("day", 1)),
    steps=steps,
    end=st.none() | st.timedeltas(timedelta(hours=1), timedelta(days=3000)),
)
def test_the_periods_of_a_life_tile_it(
    calendar: Calendar, steps: list[timedelta], end: timedelta | None
) -> None:
    """Whatever the moments at which somebody looks, the same periods follow each other without gap or overlap."""
    scheduled = a_scheduled(calendar)
    ends_at = scheduled.starts_at + end if end is not None else None
    outcome = decide_start(a_scheduled(calendar, cancels_at=ends_at), scheduled.starts_at)
    assert isinstance(outcome, Started)
    subscription, now = outcome.subscription, scheduled.starts_at
    seen = [outcome.period]
    ended: Ended | None = None
    for step in steps:
        now += step
        while not isinstance(decided := decide(subscription, now), NotDue):
            subscription = decided.subscription
            if isinstance(decided, Ended):
                ended = decided
            else:
                assert isinstance(decided, Renewed)
                assert decided.ended == seen[-1]
                seen.append(decided.period)
    assert [period.index for period in seen] == list(range(len(seen)))
    assert all(one.end == other.start for one, other in pairwise(seen))
    assert seen[0].start == scheduled.starts_at
    if ended is not None:
        assert ended.ended is not None
        assert ended.ended.start == seen[-1].start
        assert ended.ended_at == ended.ended.end == ends_at
        assert ended.ended_at <= seen[-1].end
    else:
        assert seen[-1].end > now
        assert ends_at is None or ends_at > now
