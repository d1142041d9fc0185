"""Making sellers and payment methods."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import pytest

from services.billing.application.add_payment_method import (
    AddPaymentMethod,
    CustomerNotFound,
    SandboxOnly,
    TenantNotKnownYet,
    add_payment_method,
)
from services.billing.application.create_seller import CreateSeller, create_seller
from tests.application.billing.telling import invoice_at, start
from tests.support.billing import MemoryBilling, Story
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
