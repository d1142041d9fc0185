"""The usage of a period that is over → charges on the draft of the boundary at which it ended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from services.billing.application.finalize_invoice import finalize_invoice
from services.billing.application.ports import UnitOfWork
from services.billing.application.reconcile_charges import add_missing
from services.billing.domain.charge import UsageOfPeriod, usage_charges
from services.billing.domain.invoice import Invoice, invoice_id


@dataclass(frozen=True, slots=True)
class AddUsageLines:
    usage: UsageOfPeriod
    occurred_at: datetime


async def add_usage_lines(command: AddUsageLines, *, uow: UnitOfWork) -> Invoice | None:
    """Bill metered usage in arrears, on the document raised at the window's end.

    The lifecycle event of that boundary may not have come yet: then the usage is kept, and that event finds it.
    A repeat finds the charges recorded and adds nothing.
    Emits: InvoiceFinalized, when the usage was the last thing awaited.
    """
    usage = command.usage
    agreement = await uow.agreements.find_for_update(usage.subscription_id)
    if await uow.usage_windows.find(usage.subscription_id, usage.period_index) is None:
        uow.usage_windows.add(usage)
    if agreement is None:
        return None
    draft = await uow.invoices.find_for_update(invoice_id(agreement.id, usage.window_end))
    if draft is None or draft.status != "draft" or draft.awaits_lifecycle:
        return None
    await add_missing(usage_charges(agreement, usage, now=command.occurred_at), draft, uow=uow)
    draft = replace(draft, awaits_window=False, version=draft.version + 1)
    outcome = await finalize_invoice(draft, agreement.customer, now=command.occurred_at, uow=uow)
    return outcome.invoice
