"""A story told to the use cases, one command each."""

from __future__ import annotations

from datetime import datetime

from services.billing.application.add_usage_lines import AddUsageLines, add_usage_lines
from services.billing.application.reconcile_charges import ReconcileCharges, reconcile_charges
from services.billing.domain.agreement import BilledPeriod
from services.billing.domain.invoice import Invoice, invoice_id
from tests.support.billing import MemoryBilling, Story


async def start(story: Story, uow: MemoryBilling) -> Invoice:
    return await _boundary(story, uow, 0, begins=story.billed(0), ended=None)


async def renew(story: Story, uow: MemoryBilling, index: int) -> Invoice:
    return await _boundary(story, uow, index, begins=story.billed(index), ended=story.billed(index - 1))


async def end(story: Story, uow: MemoryBilling, index: int) -> Invoice:
    """Period `index` is the last, and ends where it would."""
    return await _boundary(story, uow, index + 1, begins=None, ended=story.billed(index))


async def use(
    story: Story, uow: MemoryBilling, index: int, minutes: str, at: datetime | None = None
) -> Invoice | None:
    return await add_usage_lines(AddUsageLines(story.usage(index, minutes, at)), uow=uow)


async def _boundary(
    story: Story, uow: MemoryBilling, index: int, *, begins: BilledPeriod | None, ended: BilledPeriod | None
) -> Invoice:
    at = story.boundary(index)
    command = ReconcileCharges(
        agreement=story.agreement(index + 1), boundary_at=at, begins=begins, ended=ended, occurred_at=at
    )
    return await reconcile_charges(command, uow=uow)


def invoice_at(story: Story, uow: MemoryBilling, index: int) -> Invoice:
    return uow.invoices.by_id[invoice_id(story.subscription_id, story.boundary(index))]
