"""The usage of a period that is over → charges on the draft of the boundary at which it ended."""

from __future__ import annotations

from dataclasses import dataclass

from services.billing.application.finalize_invoice import finalize_if_complete
from services.billing.application.ports import UnitOfWork
from services.billing.application.reconcile_charges import add_missing
from services.billing.domain.charge import UsageOfPeriod, usage_charges
from services.billing.domain.invoice import Invoice, invoice_id, with_usage


@dataclass(frozen=True, slots=True)
class AddUsageLines:
    usage: UsageOfPeriod


async def add_usage_lines(command: AddUsageLines, *, uow: UnitOfWork) -> Invoice | None:
    """Bill metered usage in arrears, on the document raised at the window's end.

    The lifecycle event of that boundary may not have come yet: then the usage is kept, and that event finds it.
    A repeat finds a draft that awaits nothing of this period, and adds nothing.
    Emits: InvoiceFinalized, when the usage was the last thing awaited.
    Raises: UsageOfUnknownItem.
    """
    usage = command.usage
    agreement = await uow.agreements.find_for_update(usage.subscription_id)
    if await uow.usage_windows.find(usage.subscription_id, usage.period_index) is None:
        uow.usage_windows.add(usage)
    if agreement is None:
        return None
    draft = await uow.invoices.find_for_update(invoice_id(agreement.id, usage.window_end))
    if draft is None or not draft.awaits_usage_of(usage.period_index):
        return None
    await add_missing(usage_charges(agreement, usage, now=usage.closed_at), draft, uow=uow)
    now = max(usage.closed_at, draft.created_at)
    return await finalize_if_complete(with_usage(draft), now=now, uow=uow)
