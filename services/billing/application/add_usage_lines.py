"""The usage of a period that is over → charges on the draft of the boundary at which it ended."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.billing.application.ports import UnitOfWork
from services.billing.application.reconcile_charges import (
    Documents,
    charge_usage,
    waits_for_earlier,
)
from services.billing.application.usage_corrections import has_estimates, is_carried_on
from services.billing.domain.agreement import Agreement
from services.billing.domain.charge import UsageOfPeriod
from services.billing.domain.invoice import Invoice, invoice_id, with_usage


@dataclass(frozen=True, slots=True)
class AddUsageLines:
    usage: UsageOfPeriod


async def add_usage_lines(command: AddUsageLines, *, uow: UnitOfWork) -> Invoice | None:
    """Bill metered usage in arrears, on the document raised at the window's end.

    The lifecycle event of that boundary may not have come yet: then the usage is kept, and that event finds it.
    So it is where the window before decides on this one and has not come: it brings this one along.
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
    first = billed = await _bill(usage, agreement, uow=uow)
    while billed is not None and await _decides_on_next(usage, agreement, uow=uow):
        later = await uow.usage_windows.find(agreement.id, usage.period_index + 1)
        if later is None or later.window_start != usage.window_end:
            break
        usage = later
        billed = await _bill(usage, agreement, uow=uow)
    return first


async def _bill(usage: UsageOfPeriod, agreement: Agreement, *, uow: UnitOfWork) -> Invoice | None:
    draft = await _awaiting(usage, agreement, uow=uow)
    if draft is None or await waits_for_earlier(usage, agreement, uow=uow):
        return None
    of_then = replace(agreement, currency=draft.currency)
    documents = Documents(of_then, with_usage(draft), usage.closed_at)
    await charge_usage(documents, usage, of_then, now=usage.closed_at, uow=uow)
    return await documents.finalize(now=max(usage.closed_at, draft.created_at), uow=uow)


async def _decides_on_next(usage: UsageOfPeriod, agreement: Agreement, *, uow: UnitOfWork) -> bool:
    terms = await uow.period_terms.find(agreement.id, usage.period_index)
    return has_estimates(usage) or is_carried_on(agreement, usage, terms)


async def _awaiting(usage: UsageOfPeriod, agreement: Agreement, *, uow: UnitOfWork) -> Invoice | None:
    """The draft that waits for this usage: of the boundary, or beside that for what was paid in another currency."""
    draft = await uow.invoices.find_for_update(invoice_id(agreement.id, usage.window_end))
    if draft is None or draft.awaits_usage_of(usage.period_index):
        return draft
    if draft.awaits_window or draft.period_index != usage.period_index + 1:
        return None
    if draft.currency == await _currency_of(usage, agreement, uow=uow):
        return None
    other = await uow.invoices.find_for_update(invoice_id(agreement.id, usage.window_end, issue=-draft.issue))
    return other if other is not None and other.awaits_usage_of(usage.period_index) else None


async def _currency_of(usage: UsageOfPeriod, agreement: Agreement, *, uow: UnitOfWork) -> str:
    terms = await uow.period_terms.find(agreement.id, usage.period_index)
    return agreement.currency if terms is None or not terms.segments else terms.segments[0].price.currency
