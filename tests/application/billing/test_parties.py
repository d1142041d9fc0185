"""Making sellers and payment methods."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from libs.common.contracts.billing import PaymentMethodChangedV1
from services.billing.application.add_payment_method import (
    AddPaymentMethod,
    CustomerNotFound,
    SandboxOnly,
    TenantNotKnownYet,
    add_payment_method,
)
from services.billing.application.create_seller import CreateSeller, create_seller
from services.billing.application.keep_customer import KeepCustomer, keep_customer
from services.billing.application.reconcile_charges import keep_newest_agreement
from services.billing.application.remove_payment_method import RemovePaymentMethod, remove_payment_method
from tests.application.billing.telling import invoice_at, start
from tests.support.billing import MemoryBilling, Story, a_customer
from tests.support.memory import Recorded

NOW = datetime(2025, 1, 1, 6, tzinfo=UTC)
SELLER = CreateSeller("main", "Engines Inc.", "US", "INV-", 14)


async def test_the_first_seller_is_the_default_and_releases_what_waited(story: Story) -> None:
    uow = MemoryBilling(without_seller=True)
    await start(story, uow)
    seller = await create_seller(SELLER, now=NOW, uow=uow)
    assert (seller.is_default, seller.version, seller.created_at) == (True, 1, NOW)
    assert uow.sellers.by_id == {seller.id: seller}
    assert invoice_at(story, uow, 0).due_at == story.boundary(0)
    assert uow.recorded[-1] == Recorded("seller.created", seller.id, 1)


async def test_a_further_seller_is_not_the_default(uow: MemoryBilling) -> None:
    seller = await create_seller(SELLER, now=NOW, uow=uow)
    assert not seller.is_default


def adding(story: Story, mode: Literal["live", "sandbox"] | None = "sandbox") -> AddPaymentMethod:
    return AddPaymentMethod(story.customer.customer_id, "sandbox", "succeeds", mode)


async def test_the_newest_method_is_the_default(story: Story) -> None:
    uow = MemoryBilling()
    uow.customers.keep_newest(story.agreement().customer)
    first = await add_payment_method(adding(story), now=NOW, uow=uow)
    second = await add_payment_method(adding(story), now=NOW, uow=uow)
    defaults = {method.id: method.is_default for method in uow.payment_methods.by_id.values()}
    assert defaults == {first.id: False, second.id: True}
    assert uow.payment_methods.by_id[first.id].version == 2
    assert uow.recorded[-1] == Recorded("payment_method.added", second.id, 1)


async def test_the_first_method_is_told_of_in_the_customers_time(uow: MemoryBilling) -> None:
    """Whether there is one to collect from is news once."""
    story = Story(clock="clk_1")
    uow.customers.keep_newest(story.agreement().customer)
    then = NOW + timedelta(days=400)
    for _ in range(2):
        await add_payment_method(adding(story), now=NOW, business_now=then, uow=uow)
    (event,) = uow.outbox.events
    assert isinstance(event, PaymentMethodChangedV1)
    assert (event.customer_id, event.has_payment_method) == (story.customer.customer_id, True)
    assert (event.occurred_at, event.test_clock) == (then, "clk_1")


async def test_a_method_that_goes_away_is_followed_by_the_newest_of_the_others(uow: MemoryBilling) -> None:
    story = Story()
    customer = story.agreement().customer
    uow.customers.keep_newest(customer)
    ids = [
        (await add_payment_method(adding(story), now=NOW + timedelta(days=day), uow=uow)).id
        for day in range(3)
    ]

    async def remove(id: str) -> list[bool]:
        method = await uow.payment_methods.get_for_update(id)
        await remove_payment_method(RemovePaymentMethod(method, customer, NOW, NOW), uow=uow)
        return [uow.payment_methods.by_id[id].is_default for id in ids]

    assert await remove(ids[2]) == [False, True, False]
    assert await remove(ids[0]) == [False, True, False]
    assert len(uow.outbox.events) == 1
    assert await remove(ids[1]) == [False, False, False]
    await add_payment_method(adding(story), now=NOW, uow=uow)
    told = [event for event in uow.outbox.events if isinstance(event, PaymentMethodChangedV1)]
    assert [event.has_payment_method for event in told] == [True, False, True]
    assert [event.version for event in told] == [1, 6, 7]


async def test_an_erased_customer_is_forgotten_by_what_was_agreed_on(
    uow: MemoryBilling, story: Story
) -> None:
    story.payer = a_customer(name="Holding", email="jo@example.com")
    draft = await start(story, uow)
    gone = replace(story.agreement().pays, version=2, name="erased", email=None, is_erased=True)
    await keep_customer(KeepCustomer(gone), uow=uow)
    known = uow.agreements.by_id[story.subscription_id]
    assert (known.payer, known.customer.name) == (gone, "Cloudhop")
    assert uow.bank_statement_entries.forgotten == [gone.id]
    assert uow.customers.by_id[gone.id] == gone
    await keep_newest_agreement(story.agreement(9), uow=uow)  # told before it was known that he is gone
    known = uow.agreements.by_id[story.subscription_id]
    assert (known.version, known.payer) == (9, gone)
    assert uow.customers.by_id[gone.id] == gone
    assert invoice_at(story, uow, 0).customer == draft.customer
    assert draft.customer.email == "jo@example.com"


@pytest.mark.parametrize(
    ("mode", "known", "error"),
    [
        ("sandbox", False, CustomerNotFound),
        ("live", True, SandboxOnly),
        (None, True, TenantNotKnownYet),
    ],
)
async def test_a_method_is_refused(
    uow: MemoryBilling,
    story: Story,
    mode: Literal["live", "sandbox"] | None,
    known: bool,
    error: type[Exception],
) -> None:
    if known:
        uow.customers.keep_newest(story.agreement().customer)
    with pytest.raises(error):
        await add_payment_method(adding(story, mode), now=NOW, uow=uow)
    assert uow.payment_methods.by_id == {}
