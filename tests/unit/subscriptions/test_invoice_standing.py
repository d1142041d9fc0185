"""Past due and back, whatever the order in which the news comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.subscriptions.domain.invoice_standing import (
    BecamePastDue,
    InvoiceStanding,
    Recovered,
    Unaffected,
    decide_past_due,
    decide_recovery,
    following_standing,
)
from services.subscriptions.domain.subscription import SubscriptionState
from tests.support.subscriptions import a_subscription

OVERDUE, PAID = InvoiceStanding.OVERDUE, InvoiceStanding.PAID


@given(heard=st.lists(st.sampled_from(InvoiceStanding), min_size=1))
def test_an_invoice_once_paid_stays_paid(heard: list[InvoiceStanding]) -> None:
    standing: InvoiceStanding | None = None
    for news in heard:
        standing = following_standing(standing, news)
    assert standing is (PAID if PAID in heard else OVERDUE)


@pytest.mark.parametrize("state", list(SubscriptionState))
def test_only_an_active_subscription_becomes_past_due(state: SubscriptionState) -> None:
    outcome = decide_past_due(a_subscription(state=state), "inv_1")
    assert isinstance(outcome, BecamePastDue if state is SubscriptionState.ACTIVE else Unaffected)


def test_it_recovers_with_the_last_overdue_invoice() -> None:
    past_due = a_subscription(state=SubscriptionState.PAST_DUE)
    assert isinstance(decide_recovery(past_due, 1), Unaffected)
    recovered = decide_recovery(past_due, 0)
    assert isinstance(recovered, Recovered)
    assert recovered.subscription.state is SubscriptionState.ACTIVE
    assert isinstance(decide_recovery(a_subscription(), 0), Unaffected)
