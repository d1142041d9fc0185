"""Past due and back: the order of the news, and repeats of it, do not matter."""

from __future__ import annotations

from datetime import datetime
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
from services.subscriptions.domain.subscription import Subscription, SubscriptionNotFound, SubscriptionState
from tests.support.subscriptions import MemorySubscriptionsUnitOfWork, a_scheduled, a_subscription, utc

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


NEVER_PAID = InvoiceStanding.NEVER_PAID
INSIDE = utc("2025-02-10T05:00")


async def never_paid(uow: MemorySubscriptionsUnitOfWork, at: datetime = INSIDE) -> Subscription:
    await record_payment_outcome(RecordPaymentOutcome(ID, "a", NEVER_PAID, at), uow=uow)
    return uow.subscriptions.by_id[ID]


async def test_it_is_given_its_end_over_what_was_never_paid(uow: MemorySubscriptionsUnitOfWork) -> None:
    running = a_subscription()
    assert running.period is not None
    assert running.period.start < INSIDE < running.period.end
    uow.subscriptions.add(running)
    for _ in range(2):
        ending = await never_paid(uow)
        assert (ending.cancels_at, ending.cancel_reason, ending.state) == (INSIDE, "not_paid", "suspended")
    assert uow.told == ["SubscriptionSuspended", "SubscriptionChanged"]


async def test_an_end_before_its_period_is_one_at_its_beginning(uow: MemorySubscriptionsUnitOfWork) -> None:
    running = a_subscription()
    assert running.period is not None
    uow.subscriptions.add(running)
    assert (await never_paid(uow, utc("2020-01-01T00:00"))).cancels_at == running.period.start


async def test_what_waits_to_begin_never_does(uow: MemorySubscriptionsUnitOfWork) -> None:
    uow.subscriptions.add(a_scheduled(id=ID))
    over = await never_paid(uow, utc("2020-01-01T00:00"))
    assert (over.state, over.end_reason) == ("canceled", "not_paid")
    assert uow.told == ["SubscriptionEnded"]


async def test_who_paid_after_all_goes_on(uow: MemorySubscriptionsUnitOfWork) -> None:
    uow.subscriptions.add(a_subscription())
    assert await hear(uow, ("a", PAID)) is SubscriptionState.ACTIVE
    assert (await never_paid(uow)).cancels_at is None
    again = RecordPaymentOutcome(ID, "a", FAILED, AT, round=1)  # the money was taken back
    await record_payment_outcome(again, uow=uow)
    assert uow.subscriptions.by_id[ID].state == "past_due"
