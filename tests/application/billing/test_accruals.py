"""Usage on a draft that waits: accrued in the month in which it was used, taken back when it is billed."""

from __future__ import annotations

from datetime import date, timedelta

from services.billing.application.finalize_invoice import (
    FinalizeInvoice,
    finalize_if_complete,
    finalize_invoice,
)
from tests.application.billing.telling import invoice_at, renew, start, use
from tests.support.billing import MemoryBilling, Story, a_seller

JANUARY, FEBRUARY = date(2025, 1, 31), date(2025, 2, 28)


async def test_what_waits_for_its_grace_is_revenue_of_its_month_and_is_billed_once(story: Story) -> None:
    uow = MemoryBilling(seller=a_seller(draft_grace_hours=48))
    await start(story, uow)
    await renew(story, uow, 1)
    assert uow.ledger.balance("contract_asset") == 0  # its usage is not known yet
    await use(story, uow, 0, "10")
    draft = invoice_at(story, uow, 1)
    assert draft.status == "draft"
    assert uow.ledger.balance("contract_asset", at=JANUARY) == 5200
    assert uow.ledger.balance("contract_asset", at=JANUARY - timedelta(days=1)) == 0
    assert draft.draft_until is not None
    await finalize_if_complete(
        draft, now=draft.draft_until - timedelta(hours=1), uow=uow
    )  # a repeat: nothing more
    assert uow.ledger.balance("contract_asset") == 5200
    final = await finalize_invoice(FinalizeInvoice(draft.id, draft.draft_until), uow=uow)
    assert final.status == "finalized"
    assert uow.ledger.balance("contract_asset") == 0
    assert uow.ledger.balance("contract_asset", at=JANUARY) == 5200  # the books of January stay as they were
    keys = [key for key in uow.ledger.postings if key.startswith("charge:")]
    assert sorted(key.rpartition(":")[2] for key in keys) == ["accrual_reversed", "accrued"]


async def test_what_is_billed_at_once_is_not_accrued(uow: MemoryBilling, story: Story) -> None:
    await start(story, uow)
    await renew(story, uow, 1)
    await use(story, uow, 0, "10")
    assert invoice_at(story, uow, 1).status == "finalized"
    assert not [key for key in uow.ledger.postings if key.startswith("charge:")]
    assert uow.ledger.balance("revenue", at=FEBRUARY) == -(240000 + 5200 + 240000)
