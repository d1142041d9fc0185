"""Claiming, collecting and recording a payment, and asking for it once more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from libs.common.contracts.billing import (
    DunningStepTakenV1,
    InvoicePaidV1,
    PaymentFailedV1,
    PaymentReceivedV1,
)
from libs.common.errors import TransientError
from services.billing.application.collect_payment import (
    ClaimedAttempt,
    claim_attempt,
    collect_payment,
    record_payment,
)
from services.billing.application.try_payment_again import TryPaymentAgain, try_payment_again
from services.billing.domain.invoice import InvoiceNotPayable
from services.billing.domain.payment import Collected, Declined, Outcome, PaymentAttempt, PaymentUnderWay
from tests.application.billing.telling import invoice_at, start
from tests.support.billing import MemoryBilling, MemoryGateway, Story, a_method
from tests.support.memory import Recorded

NOW = datetime(2025, 1, 1, 6, tzinfo=UTC)
UNTIL = datetime(2030, 1, 1, tzinfo=UTC)
RETRY_DAYS = (1, 3)


async def a_bill(uow: MemoryBilling, story: Story, *, method: bool = True) -> PaymentAttempt:
    if method:
        uow.payment_methods.add(a_method(story.customer.customer_id))
    invoice = await start(story, uow)
    (attempt,) = uow.payment_attempts.of_invoice(invoice.id)
    return attempt


async def claim(uow: MemoryBilling, attempt: PaymentAttempt, now: datetime = NOW) -> ClaimedAttempt:
    claimed = await claim_attempt(attempt.id, now=now, claimed_until=UNTIL, uow=uow)
    assert claimed is not None
    return claimed


async def record(uow: MemoryBilling, claimed: ClaimedAttempt, outcome: Outcome) -> None:
    await record_payment(claimed, outcome, retry_days=RETRY_DAYS, uow=uow, traceparent="trace")


async def test_an_invoice_is_paid(uow: MemoryBilling, story: Story) -> None:
    claimed = await claim(uow, await a_bill(uow, story))
    assert (claimed.attempt.state, claimed.was_calling) == ("calling", False)
    gateway = MemoryGateway()
    outcome = await collect_payment(claimed, gateways={"sandbox": gateway})
    assert gateway.collected == [(claimed.attempt.id, "pm_1", claimed.attempt.amount)]
    await record(uow, claimed, outcome)
    invoice = invoice_at(story, uow, 0)
    assert (invoice.status, invoice.paid, invoice.paid_at) == ("paid", invoice.total, NOW)
    assert uow.payment_attempts.by_id[claimed.attempt.id].state == "succeeded"
    told, received = uow.outbox.appended[-2:]
    assert isinstance(told.event, InvoicePaidV1)
    assert (told.key, told.traceparent, told.event.version) == (invoice.id, "trace", invoice.version)
    assert isinstance(received.event, PaymentReceivedV1)
    assert (received.event.amount_minor, received.event.way) == (invoice.total.amount_minor, "gateway")
    assert [uow.ledger.balance(account) for account in ("cash", "accounts_receivable")] == [240000, 0]
    assert uow.recorded[-1] == Recorded("invoice.paid", invoice.id, invoice.version)


async def test_what_is_recorded_twice_is_recorded_once(uow: MemoryBilling, story: Story) -> None:
    claimed = await claim(uow, await a_bill(uow, story))
    for outcome in (Collected("ref"), Collected("ref"), Declined("no")):
        await record(uow, claimed, outcome)
    assert uow.told == ["InvoiceFinalizedV1", "InvoicePaidV1", "PaymentReceivedV1"]
    assert uow.ledger.balance("cash") == 240000
    assert await claim_attempt(claimed.attempt.id, now=NOW, claimed_until=UNTIL, uow=uow) is None


async def test_who_lost_his_claim_writes_nothing(uow: MemoryBilling, story: Story) -> None:
    attempt = await a_bill(uow, story)
    lost, held = await claim(uow, attempt), await claim(uow, attempt)
    assert held.was_calling
    await record(uow, lost, Declined("no"))
    assert uow.told == ["InvoiceFinalizedV1"]
    await record(uow, held, Collected("ref"))
    assert invoice_at(story, uow, 0).status == "paid"


async def test_a_claim_that_ran_out_asks_before_it_collects(uow: MemoryBilling, story: Story) -> None:
    attempt = await a_bill(uow, story)
    gateway = MemoryGateway(TimeoutErrorOfTheGateway("silence"))
    with pytest.raises(TransientError):
        await collect_payment(await claim(uow, attempt), gateways={"sandbox": gateway})
    outcome = await collect_payment(await claim(uow, attempt), gateways={"sandbox": gateway})
    assert outcome == Collected("late")
    assert len(gateway.collected) == 1


class TimeoutErrorOfTheGateway(TransientError):
    pass


async def test_a_claim_that_ran_out_keeps_its_method(uow: MemoryBilling, story: Story) -> None:
    attempt = await a_bill(uow, story)
    await claim(uow, attempt)
    customer = story.customer.customer_id
    uow.payment_methods.by_id["pm_1"] = a_method(customer, is_default=False)
    uow.payment_methods.add(a_method(customer, id="pm_2"))
    again = await claim(uow, attempt)
    assert again.method is not None
    assert (again.method.id, again.attempt.payment_method_id) == ("pm_1", "pm_1")


async def test_without_a_method_no_gateway_is_asked(uow: MemoryBilling, story: Story) -> None:
    attempt = await a_bill(uow, story, method=False)
    for _ in range(2):  # also when the first claim ran out
        claimed = await claim(uow, attempt)
        assert await collect_payment(claimed, gateways={}) == Declined("no_payment_method")


async def test_a_failure_is_told_with_the_next_try(uow: MemoryBilling, story: Story) -> None:
    claimed = await claim(uow, await a_bill(uow, story))
    await record(uow, claimed, Declined("no funds"))
    invoice = invoice_at(story, uow, 0)
    (failed, following) = uow.payment_attempts.of_invoice(invoice.id)
    assert (failed.state, failed.reason) == ("failed", "no funds")
    assert (following.number, following.due_at) == (2, NOW + timedelta(days=1))
    event = uow.outbox.events[-1]
    assert isinstance(event, PaymentFailedV1)
    assert (event.attempt_number, event.reason, event.next_attempt_at, event.occurred_at) == (
        1,
        "no funds",
        NOW + timedelta(days=1),
        NOW,
    )
    assert invoice.status == "finalized"


async def exhaust(uow: MemoryBilling, story: Story) -> None:
    attempt = await a_bill(uow, story)
    for _ in range(len(RETRY_DAYS) + 1):
        last = await uow.payment_attempts.last_of_invoice(attempt.invoice_id)
        assert last is not None
        await record(uow, await claim(uow, last), Declined("no"))


async def test_an_exhausted_schedule_is_told(uow: MemoryBilling, story: Story) -> None:
    await exhaust(uow, story)
    event, step = uow.outbox.events[-2:]
    assert isinstance(event, PaymentFailedV1)
    assert isinstance(step, DunningStepTakenV1)
    assert (event.attempt_number, event.next_attempt_at, event.is_dunned) == (3, None, True)
    assert (step.kind, step.subscription_ids) == ("suspend", (story.subscription_id,))
    assert not any(attempt.is_open for attempt in uow.payment_attempts.by_id.values())


async def test_an_exhausted_schedule_has_a_way_out(uow: MemoryBilling, story: Story) -> None:
    await exhaust(uow, story)
    command = TryPaymentAgain(invoice_at(story, uow, 0).id, NOW)
    attempt = await try_payment_again(command, uow=uow)
    assert (attempt.number, attempt.state, attempt.due_at) == (4, "pending", NOW)
    again = await try_payment_again(command, uow=uow)
    assert again.id == attempt.id  # one that waits is brought forward, and none is made beside it
    await record(uow, await claim(uow, again), Collected("ref"))
    assert invoice_at(story, uow, 0).status == "paid"
    with pytest.raises(InvoiceNotPayable):
        await try_payment_again(command, uow=uow)


async def test_a_try_that_waits_for_its_day_is_brought_forward(uow: MemoryBilling, story: Story) -> None:
    await record(uow, await claim(uow, await a_bill(uow, story)), Declined("no"))
    attempt = await try_payment_again(TryPaymentAgain(invoice_at(story, uow, 0).id, NOW), uow=uow)
    assert (attempt.number, attempt.due_at) == (2, NOW)
    assert uow.recorded[-1] == Recorded("payment.requested", attempt.id, 2)


async def test_nothing_is_asked_beside_a_call(uow: MemoryBilling, story: Story) -> None:
    await claim(uow, await a_bill(uow, story))
    with pytest.raises(PaymentUnderWay):
        await try_payment_again(TryPaymentAgain(invoice_at(story, uow, 0).id, NOW), uow=uow)


async def test_a_draft_cannot_be_paid(story: Story) -> None:
    uow = MemoryBilling(without_seller=True)
    draft = await start(story, uow)
    with pytest.raises(InvoiceNotPayable):
        await try_payment_again(TryPaymentAgain(draft.id, NOW), uow=uow)
