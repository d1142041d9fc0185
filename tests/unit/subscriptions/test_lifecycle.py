"""The table of states: what may follow what, and what a caller may ask for."""

from __future__ import annotations

from itertools import product

import pytest

from services.subscriptions.domain.lifecycle import (
    MOVES,
    NEXT,
    OVER,
    RUNNING,
    TRANSITIONS,
    WAITING,
    SubscriptionState,
    drawing,
)
from services.subscriptions.domain.subscription import Dunning, TransitionNotAllowed, standing_of
from tests.support.subscriptions import a_scheduled, a_subscription

ALLOWED = {(step.before, step.after) for step in TRANSITIONS}


@pytest.mark.parametrize(("before", "after"), list(product(SubscriptionState, SubscriptionState)))
def test_a_state_follows_only_where_the_table_says_so(
    before: SubscriptionState, after: SubscriptionState
) -> None:
    subscription = a_scheduled(state=before)
    if before is after or (before, after) in ALLOWED:
        assert subscription.changed(state=after).state is after
    else:
        with pytest.raises(TransitionNotAllowed) as refused:
            subscription.changed(state=after)
        assert refused.value.facts["moves"] == list(MOVES[before])


def test_every_state_waits_runs_or_is_over() -> None:
    assert WAITING | RUNNING | OVER == set(SubscriptionState) == set(MOVES)
    assert len(WAITING) + len(RUNNING) + len(OVER) == len(SubscriptionState)


def test_what_is_over_stays_over_and_all_else_comes_to_an_end() -> None:
    assert all(not NEXT[state] for state in OVER)
    assert all(NEXT[state] & OVER for state in set(SubscriptionState) - OVER)


def test_every_state_is_reached() -> None:
    reached = {SubscriptionState.SCHEDULED, SubscriptionState.AWAITING_ACTIVATION}
    for _ in SubscriptionState:
        reached |= {after for state in reached for after in NEXT[state]}
    assert reached == set(SubscriptionState)


def test_there_is_one_step_from_one_state_to_another() -> None:
    assert len(ALLOWED) == len(TRANSITIONS)


def test_what_was_given_up_and_paid_leaves_it_past_due_while_another_is_overdue() -> None:
    assert (SubscriptionState.SUSPENDED, SubscriptionState.PAST_DUE) in ALLOWED


@pytest.mark.parametrize(
    ("dunning", "canceled", "state"),
    [
        (Dunning.SUSPENDED, True, "suspended"),
        (Dunning.PAST_DUE, True, "past_due"),
        (Dunning.NONE, True, "ending"),
        (Dunning.NONE, False, "active"),
    ],
)
def test_what_weighs_most_is_the_state(dunning: Dunning, canceled: bool, state: str) -> None:
    running = a_subscription(dunning=dunning)
    cancels_at = running.renews_at if canceled else None
    assert standing_of(a_subscription(dunning=dunning, cancels_at=cancels_at)) == state


def test_the_drawing_shows_every_step() -> None:
    drawn = drawing()
    for step in TRANSITIONS:
        assert f"{step.before} --> {step.after}: {step.when} ({step.by})" in drawn
