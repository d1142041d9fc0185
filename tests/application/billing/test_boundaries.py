"""Reconciling a boundary, adding usage: outcome, saved state, events, repeat."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest

from services.billing.application.finalize_invoice import FinalizeInvoice, finalize_invoice
from services.billing.application.reconcile_charges import keep_newest_agreement
from services.billing.domain.charge import UsageOfUnknownItem
from services.billing.domain.invoice import InvoiceNotFound
from tests.application.billing.telling import end, invoice_at, renew, start, use
from tests.support.billing import GRACE, MemoryBilling, Story, a_customer, a_seller
from tests.support.memory import Recorded


async def test_the_first_boundary_is_billed_at_once(uow: MemoryBilling, story: Story) -> None:
    invoice = await start(story, uow)
    saved = invoice_at(story, uow, 0)
    assert (saved.status, saved.number, saved.total.amount_minor) == ("finalized", "INV-000001", 240000)
    assert saved == replace(invoice, number="INV-000001")
    assert uow.told == ["InvoiceFinalizedV1"]
    assert uow.recorded == [
        Recorded("invoice.opened", invoice.id, 1),
        Recorded("invoice.finalized", invoice.id, 2),
    ]
    (attempt,) = uow.payment_attempts.by_id.values()
    assert (attempt.invoice_id, attempt.amount, attempt.due_at) == (
        invoice.id,
        saved.total,
        story.boundary(0),
    )
    assert list(uow.ledger.postings) == [
        f"invoice:{invoice.id}:final",
        f"invoice:{invoice.id}:earned:2025-01",
    ]
    assert uow.ledger.balance("accounts_receivable") == 240000


async def test_a_renewal_waits_for_the_usage_behind_it(uow: MemoryBilling, story: Story) -> None:
    await start(story, uow)
    draft = await renew(story, uow, 1)
    assert (draft.status, draft.awaits_window, draft.net.amount_minor) == ("draft", True, 240000)
    assert uow.told == ["InvoiceFinalizedV1"]
    await use(story, uow, 0, "10")
    final = invoice_at(story, uow, 1)
    assert (final.status, final.total.amount_minor) == ("finalized", 245200)
    assert final.issued_at == story.boundary(1) + GRACE
    assert uow.told == ["InvoiceFinalizedV1"] * 2


async def test_usage_that_comes_first_is_kept_until_its_boundary(uow: MemoryBilling, story: Story) -> None:
    assert await use(story, uow, 0, "10") is None
    assert uow.invoices.by_id == {}
    await renew(story, uow, 1)
    final = invoice_at(story, uow, 1)
    assert (final.status, final.total.amount_minor) == ("finalized", 245200)
    assert final.issued_at == story.boundary(1) + GRACE


async def test_without_metered_items_nothing_is_awaited(uow: MemoryBilling) -> None:
    story = Story(metered=False)
    await renew(story, uow, 1)
    assert invoice_at(story, uow, 1).status == "finalized"


async def test_the_last_boundary_has_usage_only(uow: MemoryBilling, story: Story) -> None:
    await use(story, uow, 4, "100")
    await end(story, uow, 4)
    final = invoice_at(story, uow, 5)
    assert (final.status, final.period_index, final.total.amount_minor) == ("finalized", 5, 52000)


async def test_nothing_to_pay_is_skipped(uow: MemoryBilling) -> None:
    story = Story(quantity=None)
    invoice = await start(story, uow)
    assert (invoice.status, invoice.status_reason) == ("skipped", "nothing_due")
    assert (uow.told, uow.ledger.postings, uow.payment_attempts.by_id) == ([], {}, {})
    assert uow.recorded[-1] == Recorded("invoice.skipped", invoice.id, 2)


Step = Callable[[Story, MemoryBilling], Awaitable[object]]

STEPS: dict[str, Step] = {
    "start": start,
    "renew": lambda story, uow: renew(story, uow, 1),
    "use": lambda story, uow: use(story, uow, 0, "123456.7"),
    "end": lambda story, uow: end(story, uow, 1),
    "last": lambda story, uow: use(story, uow, 1, "7"),
}


async def test_order_and_repeats_do_not_matter() -> None:
    """All orders of a life of two months, each step told twice somewhere: the same invoices, but for numbers."""
    story = Story()
    told = set()
    for order in permutations(STEPS):
        uow = MemoryBilling()
        for word in (*order, *reversed(order)):
            await STEPS[word](story, uow)
        invoices = [invoice_at(story, uow, index) for index in (0, 1, 2)]
        assert sorted(invoice.number or "" for invoice in invoices) == [
            "INV-000001",
            "INV-000002",
            "INV-000003",
        ]
        assert uow.told == ["InvoiceFinalizedV1"] * 3
        assert len(uow.charges.by_id) == 4
        plain = tuple(replace(invoice, number=None, version=0) for invoice in invoices)
        told.add((plain, tuple(uow.invoices.lines[invoice.id] for invoice in invoices)))
    assert len(told) == 1


async def test_an_older_event_replaces_nothing_and_is_billed_as_it_told(uow: MemoryBilling) -> None:
    story = Story(metered=False)
    newer = replace(story.agreement(9), customer=replace(story.agreement().customer, name="New"))
    await keep_newest_agreement(newer, uow=uow)
    invoice = await start(story, uow)
    assert uow.agreements.by_id[story.subscription_id] == newer
    assert invoice.customer.name == "Cloudhop"


async def test_the_newest_agreement_and_customer_are_kept(uow: MemoryBilling, story: Story) -> None:
    await keep_newest_agreement(story.agreement(1), uow=uow)
    story.customer = a_customer(
        customer_id=story.customer.customer_id, customer_version=2, name="Cloudhop Renamed"
    )
    await keep_newest_agreement(story.agreement(2), uow=uow)
    assert uow.agreements.by_id[story.subscription_id].version == 2
    assert uow.customers.by_id[story.customer.customer_id].name == "Cloudhop Renamed"


async def test_a_window_that_ended_at_the_instant_of_its_beginning_is_not_taken_for_another(
    uow: MemoryBilling, story: Story
) -> None:
    await renew(story, uow, 1)
    assert await use(story, uow, 1, "0", at=story.boundary(1)) is None
    assert invoice_at(story, uow, 1).awaits_window
    await use(story, uow, 0, "10")
    assert invoice_at(story, uow, 1).total.amount_minor == 245200


async def test_usage_of_an_unknown_item_is_refused(uow: MemoryBilling, story: Story) -> None:
    await renew(story, uow, 1)
    story.minutes_item = "itm_other"
    with pytest.raises(UsageOfUnknownItem):
        await use(story, uow, 0, "10")


async def test_without_a_seller_a_draft_waits(story: Story) -> None:
    uow = MemoryBilling(without_seller=True)
    draft = await start(story, uow)
    assert (draft.status, draft.status_reason, draft.due_at) == ("draft", "no_seller", None)
    assert uow.told == []
    uow.sellers.add(a_seller())
    now = story.boundary(0) + timedelta(days=2)
    final = await finalize_invoice(FinalizeInvoice(draft.id, now), uow=uow)
    assert (final.status, final.issued_at, final.status_reason) == ("finalized", now, None)
    again = await finalize_invoice(FinalizeInvoice(draft.id, now + timedelta(days=9)), uow=uow)
    assert (again.issued_at, uow.told) == (now, ["InvoiceFinalizedV1"])


async def test_a_draft_that_is_due_and_still_has_no_seller_goes_on_waiting(story: Story) -> None:
    uow = MemoryBilling(without_seller=True)
    draft = await start(story, uow)
    uow.invoices.save(replace(draft, due_at=story.boundary(0)))
    waiting = await finalize_invoice(FinalizeInvoice(draft.id, story.boundary(1)), uow=uow)
    assert (waiting.status_reason, waiting.due_at) == ("no_seller", None)


async def test_an_unknown_invoice_is_not_found(uow: MemoryBilling, story: Story) -> None:
    with pytest.raises(InvoiceNotFound):
        await finalize_invoice(FinalizeInvoice("inv_1", story.boundary(0)), uow=uow)
