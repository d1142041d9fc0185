"""Customer balances in the use cases: what is drawn, given and told; and credits on a document of their own."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from libs.common.contracts.billing import CustomerBalanceChangedV1
from libs.common.money import Money
from services.billing.application.adjust_customer_balance import (
    AdjustCustomerBalance,
    adjust_customer_balance,
)
from services.billing.application.finalize_invoice import issue_credit
from services.billing.domain.charge import Charge
from services.billing.domain.customer_balance import BalanceTooSmall
from services.billing.domain.invoice import Invoice, invoice_id
from tests.application.billing.telling import invoice_at, start
from tests.support.billing import FEE, MemoryBilling, Story, a_customer
from tests.support.memory import Recorded


def usd(minor: int) -> Money:
    return Money(minor, "USD")


async def give(story: Story, uow: MemoryBilling, minor: int) -> None:
    command = AdjustCustomerBalance(story.customer.customer_id, usd(minor), "goodwill")
    customer = story.agreement().customer
    await adjust_customer_balance(command, customer=customer, now=story.boundary(0), uow=uow)


async def test_an_invoice_draws_and_the_rest_is_collected(uow: MemoryBilling) -> None:
    story = Story(metered=False)
    await give(story, uow, 40000)
    invoice = await start(story, uow)
    assert (invoice.status, invoice.balance_applied, invoice.due) == ("finalized", usd(40000), usd(200000))
    (attempt,) = uow.payment_attempts.by_id.values()
    assert attempt.amount == usd(200000)
    assert uow.told == ["CustomerBalanceChangedV1", "InvoiceFinalizedV1", "CustomerBalanceChangedV1"]
    assert [entry.after for entry in uow.customer_balances.entries] == [usd(40000), usd(0)]
    assert uow.ledger.balance("customer_credit") == 0
    assert uow.ledger.balance("accounts_receivable") == 200000


async def test_an_invoice_that_is_covered_is_paid_and_nobody_is_asked(uow: MemoryBilling) -> None:
    story = Story(metered=False)
    await give(story, uow, 240001)
    invoice = await start(story, uow)
    assert (invoice.status, invoice.due, invoice.paid) == ("paid", usd(0), usd(0))
    assert uow.payment_attempts.by_id == {}
    assert uow.told[1:] == ["InvoiceFinalizedV1", "InvoicePaidV1", "CustomerBalanceChangedV1"]
    changed = uow.outbox.events[-1]
    assert isinstance(changed, CustomerBalanceChangedV1)
    assert (changed.balance_minor, changed.invoice_id) == (1, invoice.id)
    assert Recorded("invoice.paid", invoice.id, 3) in uow.recorded


async def test_never_more_is_taken_back_than_there_is(uow: MemoryBilling) -> None:
    story = Story()
    await give(story, uow, 500)
    with pytest.raises(BalanceTooSmall) as refused:
        await give(story, uow, -501)
    assert refused.value.pointer == "/amount"
    await give(story, uow, -500)
    assert uow.ledger.balance("goodwill") == 0


async def a_credit(story: Story, uow: MemoryBilling) -> Charge:
    """A charge below zero, as a change gives back."""
    given = Story(metered=False, fee=FEE.model_copy(update={"unit_amount": Decimal(-10)}))
    await start(given, uow)
    (charge,) = await uow.charges.of_invoice(invoice_at(given, uow, 0).id)
    return replace(charge, id="chg_credit", subscription_id=story.subscription_id)


async def test_credits_may_stand_on_a_document_of_their_own(uow: MemoryBilling) -> None:
    story = Story(metered=False, payer=a_customer(name="Holding"))
    credit = await a_credit(story, uow)

    async def issue() -> Invoice:
        return await issue_credit(
            story.agreement(),
            [credit],
            boundary_at=story.boundary(0),
            period_index=0,
            issue=7,
            now=story.boundary(0),
            uow=uow,
        )

    document = await issue()
    assert document.id == invoice_id(story.subscription_id, story.boundary(0), "credit", 7)
    assert (document.document_kind, document.issue, document.status) == ("credit", 7, "paid")
    assert (document.total, document.balance_applied) == (usd(-2000), usd(-2000))
    told = len(uow.told)
    assert (await issue()).id == document.id  # a repeat finds it
    assert len(uow.told) == told
    invoice = await start(story, uow)
    assert (invoice.customer.name, invoice.balance_applied) == ("Holding", usd(2000))
