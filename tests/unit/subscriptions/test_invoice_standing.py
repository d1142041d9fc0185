"""Past due, suspended and back, whatever the order in which the news comes."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.subscriptions.domain.invoice_standing import (
    BecamePastDue,
    BecameSuspended,
    InvoiceStanding,
    Recovered,
    Standing,
    Unaffected,
    decide_dunning,
    following_standing,
)
from services.subscriptions.domain.lifecycle import RUNNING
from services.subscriptions.domain.subscription import Dunning, SubscriptionState
from tests.support.subscriptions import a_subscription

OVERDUE, GIVEN_UP, PAID = InvoiceStanding.OVERDUE, InvoiceStanding.GIVEN_UP, InvoiceStanding.PAID
NEVER_PAID = InvoiceStanding.NEVER_PAID

news = st.builds(Standing, st.sampled_from(InvoiceStanding), st.integers(0, 2))


@given(heard=st.lists(st.sampled_from(InvoiceStanding), min_size=1))
def test_paid_is_the_last_word_and_what_weighs_more_goes_over_the_rest(heard: list[InvoiceStanding]) -> None:
    standing: Standing | None = None
    for news in heard:
        standing = following_standing(standing, Standing(news))
    expected = next(one for one in (PAID, NEVER_PAID, GIVEN_UP, OVERDUE) if one in heard)
    assert standing == Standing(expected)


@given(heard=st.lists(news, min_size=1, max_size=6), data=st.data())
def test_only_the_newest_round_counts_in_whatever_order_it_is_told(
    heard: list[Standing], data: st.DataObject
) -> None:
    def last(told: list[Standing]) -> Standing | None:
        standing: Standing | None = None
        for one in told:
            standing = following_standing(standing, one)
        return standing

    shuffled = data.draw(st.permutations(heard))
    newest = [one for one in heard if one.reopened_count == max(one.reopened_count for one in heard)]
    assert last(heard) == last([*shuffled, *shuffled]) == last(newest)


class Case(NamedTuple):
    name: str
    before: Dunning
    standings: list[InvoiceStanding]
    outcome: type
    state: str


CASES = [
    #    name                     before             standings              outcome          state
    Case("one_overdue",           Dunning.NONE,      [PAID, OVERDUE],       BecamePastDue,   "past_due"),
    Case("still_overdue",         Dunning.PAST_DUE,  [OVERDUE],             Unaffected,      "past_due"),
    Case("given_up",              Dunning.PAST_DUE,  [OVERDUE, GIVEN_UP],   BecameSuspended, "suspended"),
    Case("never_paid",            Dunning.PAST_DUE,  [OVERDUE, NEVER_PAID], BecameSuspended, "suspended"),
    Case("given_up_at_once",      Dunning.NONE,      [GIVEN_UP],            BecameSuspended, "suspended"),
    Case("another_is_overdue",    Dunning.SUSPENDED, [PAID, OVERDUE],       BecamePastDue,   "past_due"),
    Case("all_is_paid",           Dunning.SUSPENDED, [PAID, PAID],          Recovered,       "active"),
    Case("the_last_is_paid",      Dunning.PAST_DUE,  [PAID],                Recovered,       "active"),
    Case("nothing_was_ever_due",  Dunning.NONE,      [PAID],                Unaffected,      "active"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_invoices_together_decide(case: Case) -> None:
    states = {"none": "active", "past_due": "past_due", "suspended": "suspended"}
    before = a_subscription(state=SubscriptionState(states[case.before]), dunning=case.before)
    outcome = decide_dunning(before, case.standings, "inv_1")
    assert type(outcome) is case.outcome
    after = before if isinstance(outcome, Unaffected) else outcome.subscription
    assert after.state == case.state


@pytest.mark.parametrize("state", sorted(set(SubscriptionState) - RUNNING))
def test_what_does_not_run_stays_as_it_is(state: SubscriptionState) -> None:
    assert decide_dunning(a_subscription(state=state), [GIVEN_UP], "inv_1") == Unaffected()
