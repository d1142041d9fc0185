"""How a subscription is given an end, and how that is taken back."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.periods import MICROSECOND
from services.subscriptions.domain.cancellation import (
    CancellationAfterTerm,
    CancellationInThePast,
    EndChanged,
    NotCanceled,
    Unchanged,
    cancel_at,
    end_of_period,
    withdraw_cancellation,
)
from services.subscriptions.domain.renewal import DueFacts, Ended, NotDue, decide_due
from services.subscriptions.domain.subscription import Subscription, SubscriptionOver, SubscriptionState
from tests.support.subscriptions import TENANT, a_scheduled, a_subscription, utc

START, BOUNDARY, NEXT = utc("2025-01-31T05:00"), utc("2025-02-28T05:00"), utc("2025-03-31T04:00")
NOW, LATER = utc("2025-02-10"), utc("2025-02-20")


def cancel_at_period_end(subscription: Subscription, now: datetime) -> EndChanged | Ended | Unchanged:
    return cancel_at(subscription, end_of_period(subscription, now), now)


def ends_at(outcome: EndChanged | Ended | Unchanged) -> object:
    assert isinstance(outcome, EndChanged)
    return outcome.subscription.ends_at


def test_it_ends_at_once_later_or_with_the_period() -> None:
    assert ends_at(cancel_at(a_subscription(), NOW, NOW)) == NOW
    assert ends_at(cancel_at(a_subscription(), LATER, NOW)) == LATER
    assert ends_at(cancel_at_period_end(a_subscription(), NOW)) == BOUNDARY


def test_it_does_not_end_in_the_past() -> None:
    with pytest.raises(CancellationInThePast) as refused:
        cancel_at(a_subscription(), NOW - MICROSECOND, NOW)
    assert refused.value.pointer == "/at"


def test_the_period_that_ends_is_the_one_of_now_also_while_renewals_lag_behind() -> None:
    assert ends_at(cancel_at_period_end(a_subscription(), BOUNDARY)) == NEXT
    assert ends_at(cancel_at_period_end(a_subscription(), BOUNDARY - MICROSECOND)) == BOUNDARY


def test_a_term_that_ends_first_ends_it_all_the_same() -> None:
    assert ends_at(cancel_at_period_end(a_subscription(term_ends_at=LATER), NOW)) == LATER
    assert ends_at(cancel_at(a_subscription(term_ends_at=LATER), LATER, NOW)) == LATER
    with pytest.raises(CancellationAfterTerm):
        cancel_at(a_subscription(term_ends_at=LATER), LATER + MICROSECOND, NOW)


def test_the_same_end_again_changes_nothing_and_another_moves_it() -> None:
    canceled = cancel_at(a_subscription(), LATER, NOW).subscription
    assert isinstance(cancel_at(canceled, LATER, NOW), Unchanged)
    assert isinstance(cancel_at(canceled, LATER, NOW, credit="prorated"), EndChanged)
    assert ends_at(cancel_at(canceled, NOW, NOW)) == NOW
    assert ends_at(cancel_at_period_end(canceled, NOW)) == BOUNDARY


def test_one_that_would_end_before_it_begins_never_begins() -> None:
    before = START - MICROSECOND
    for at in (before, START):
        outcome = cancel_at(a_scheduled(), at, before)
        assert isinstance(outcome, Ended)
        assert outcome.subscription.state is SubscriptionState.CANCELED
        assert (outcome.ended, outcome.ended_at, outcome.subscription.due_at) == (None, before, None)


def test_one_that_has_not_begun_may_end_later() -> None:
    before = START - MICROSECOND
    assert ends_at(cancel_at(a_scheduled(), START + MICROSECOND, before)) == START + MICROSECOND
    assert ends_at(cancel_at_period_end(a_scheduled(), before)) == BOUNDARY


@pytest.mark.parametrize(
    "subscription",
    [
        a_subscription(state=SubscriptionState.ENDED, ended_at=NOW),
        a_scheduled(state=SubscriptionState.CANCELED),
        a_subscription(cancels_at=NOW),
        a_subscription(term_ends_at=NOW),
    ],
)
def test_what_is_over_stays_over(subscription: Subscription) -> None:
    with pytest.raises(SubscriptionOver):
        cancel_at(subscription, LATER, NOW)
    with pytest.raises(SubscriptionOver):
        cancel_at_period_end(subscription, NOW)
    with pytest.raises(SubscriptionOver):
        withdraw_cancellation(subscription, NOW)


def test_a_cancellation_is_withdrawn_until_its_end_has_come() -> None:
    canceled = a_subscription(cancels_at=LATER, term_ends_at=NEXT)
    withdrawn = withdraw_cancellation(canceled, LATER - MICROSECOND)
    assert withdrawn.subscription.ends_at == NEXT
    with pytest.raises(SubscriptionOver):
        withdraw_cancellation(canceled, LATER)
    with pytest.raises(NotCanceled):
        withdraw_cancellation(withdrawn.subscription, NOW)


@given(share=st.floats(0, 3), asked=st.floats(0, 3))
def test_a_cancellation_ends_it_when_it_says(share: float, asked: float) -> None:
    """Whenever it is asked for and however far renewals lag behind, it ends at that instant, exactly."""
    now, at = START + (BOUNDARY - START) * share, START + (BOUNDARY - START) * asked
    if at < now:
        return
    outcome = cancel_at(a_subscription(), at, now)
    assert isinstance(outcome, EndChanged)
    subscription = outcome.subscription
    while not isinstance(decided := decide_due(subscription, at, DueFacts(TENANT)), NotDue):
        subscription = decided.subscription
    assert (subscription.state, subscription.ended_at) == (SubscriptionState.ENDED, at)
    assert subscription.period is not None
    assert subscription.period.end == at


def test_without_credit_what_was_charged_for_this_period_stays_charged() -> None:
    at_once, later = cancel_at(a_subscription(), NOW, NOW), cancel_at(a_subscription(), BOUNDARY, NOW)
    given_back = cancel_at(a_subscription(), NOW, NOW, credit="prorated")
    kept = [outcome.subscription.keeps_charges_of for outcome in (at_once, later, given_back)]
    assert kept == [0, None, None]


def test_an_end_that_moves_out_of_the_period_has_it_billed_again() -> None:
    """It may have been charged for the part before the first end only."""
    ending = a_subscription(cancels_at=LATER)
    for outcome in (cancel_at(ending, NEXT, NOW), withdraw_cancellation(ending, NOW)):
        assert outcome.subscription.touched == {0}
    assert cancel_at(a_subscription(), LATER, NOW).subscription.touched == frozenset()
