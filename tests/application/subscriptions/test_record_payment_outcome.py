"""Past due and back: the order of the news, and repeats of it, do not matter."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.subscriptions import SubscriptionPastDueV1
from services.subscriptions.application.record_payment_outcome import (
    RecordPaymentOutcome,
    load_for_payment_outcomes,
    record_payment_outcome,
)
from services.subscriptions.domain.invoice_standing import InvoiceStanding
from services.subscriptions.domain.subscription import SubscriptionNotFound, SubscriptionState
from tests.support.subscriptions import MemorySubscriptionsUnitOfWork, a_subscription, utc

FAILED, PAID = InvoiceStanding.OVERDUE, InvoiceStanding.PAID
AT = utc("2025-02-28T05:00")
ID = a_subscription().id


async def hear(uow: MemorySubscriptionsUnitOfWork, *news: tuple[str, InvoiceStanding]) -> SubscriptionState:
    await load_for_payment_outcomes([(ID, invoice) for invoice, _ in news], uow=uow)
    for invoice, heard in news:
        await record_payment_outcome(RecordPaymentOutcome(ID, invoice, heard, AT), uow=uow)
    return uow.subscriptions.by_id[ID].state


async def test_it_becomes_past_due_and_recovers(uow: MemorySubscriptionsUnitOfWork) -> None:
    uow.subscriptions.add(a_subscription(test_clock_id="clk_1"))
    assert await hear(uow, ("a", FAILED)) is SubscriptionState.PAST_DUE
    assert await hear(uow, ("a", FAILED)) is SubscriptionState.PAST_DUE
    assert await hear(uow, ("a", PAID)) is SubscriptionState.ACTIVE
    assert uow.told == ["SubscriptionPastDue", "SubscriptionRecovered"]
    past_due = uow.outbox.events[0]
    assert isinstance(past_due, SubscriptionPastDueV1)
    assert (past_due.invoice_id, past_due.occurred_at, past_due.test_clock) == ("a", AT, "clk_1")
    assert [event.version for event in uow.outbox.events] == [2, 3]


async def test_it_recovers_with_the_last_of_its_invoices(uow: MemorySubscriptionsUnitOfWork) -> None:
    uow.subscriptions.add(a_subscription())
    assert await hear(uow, ("a", FAILED), ("b", FAILED), ("a", PAID)) is SubscriptionState.PAST_DUE
    assert await hear(uow, ("b", PAID)) is SubscriptionState.ACTIVE


async def test_a_payment_that_is_heard_of_before_its_failure_wins(
    uow: MemorySubscriptionsUnitOfWork,
) -> None:
    uow.subscriptions.add(a_subscription())
    assert await hear(uow, ("a", PAID), ("a", FAILED)) is SubscriptionState.ACTIVE
    assert uow.told == []


@pytest.mark.parametrize("state", [SubscriptionState.ENDED, SubscriptionState.CANCELED])
async def test_what_is_over_stays_over(uow: MemorySubscriptionsUnitOfWork, state: SubscriptionState) -> None:
    uow.subscriptions.add(a_subscription(state=state))
    assert await hear(uow, ("a", FAILED), ("a", PAID)) is state
    assert uow.told == []


async def test_an_unknown_subscription_is_an_error(uow: MemorySubscriptionsUnitOfWork) -> None:
    with pytest.raises(SubscriptionNotFound):
        await record_payment_outcome(RecordPaymentOutcome(ID, "a", FAILED, AT), uow=uow)


NEWS = [("a", FAILED), ("a", PAID), ("b", FAILED), ("c", PAID)]


@given(order=st.sampled_from(list(permutations(NEWS))), repeats=st.lists(st.sampled_from(NEWS), max_size=4))
async def test_any_order_ends_alike(
    order: tuple[tuple[str, InvoiceStanding], ...], repeats: list[tuple[str, InvoiceStanding]]
) -> None:
    uow = MemorySubscriptionsUnitOfWork()
    uow.subscriptions.add(a_subscription())
    assert await hear(uow, *order, *repeats) is SubscriptionState.PAST_DUE
    assert await hear(uow, ("b", PAID), *repeats) is SubscriptionState.ACTIVE
    told = uow.told
    assert told[-1] == "SubscriptionRecovered"
    assert told == ["SubscriptionPastDue", "SubscriptionRecovered"] * (len(told) // 2)
