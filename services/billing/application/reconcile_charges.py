"""From the agreement and its periods: the charges that should exist, and what is missing of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.telemetry import current_traceparent
from services.billing.application.finalize_invoice import finalize_if_complete
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import Agreement, BilledPeriod
from services.billing.domain.charge import Charge, UsageOfPeriod, advance_charges, missing, usage_charges
from services.billing.domain.invoice import Invoice, invoice_id, open_draft


@dataclass(frozen=True, slots=True)
class ReconcileCharges:
    """A boundary of an agreement. `begins` is the period ahead (None at the end), `ended` the one behind."""

    agreement: Agreement
    boundary_at: datetime
    begins: BilledPeriod | None
    ended: BilledPeriod | None
    occurred_at: datetime


async def reconcile_charges(command: ReconcileCharges, *, uow: UnitOfWork) -> Invoice:
    """Open the draft of a boundary with what is owed there, and finalize it when no usage is awaited any more.

    What is owed follows from the event alone, not from what else is known by then, so that order does not matter.
    Running it twice adds nothing: the document's identity is derived, and the agreement is locked.
    Emits: InvoiceFinalized.
    """
    agreement = command.agreement
    await keep_newest_agreement(agreement, uow=uow)
    known = await uow.invoices.find_for_update(invoice_id(agreement.id, command.boundary_at))
    if known is not None:
        return known
    usage = await _usage_behind(command, uow=uow)
    draft = open_draft(
        agreement,
        boundary_at=command.boundary_at,
        period_index=_index_at(command),
        awaits_window=usage is None and command.ended is not None and agreement.has_metered_items,
        traceparent=current_traceparent(),
        now=command.occurred_at,
    )
    uow.invoices.add(draft)
    uow.record("invoice.opened", draft.id)
    if command.begins is not None:
        ahead = advance_charges(agreement, command.begins, now=command.occurred_at)
        await add_missing(ahead, draft, uow=uow)
    now = command.occurred_at
    if usage is not None:
        behind = usage_charges(agreement, usage, now=command.occurred_at)
        await add_missing(behind, draft, uow=uow)
        now = max(now, usage.closed_at)  # as if the usage had come last, which is the usual order
    return await finalize_if_complete(draft, now=now, uow=uow)


async def _usage_behind(command: ReconcileCharges, *, uow: UnitOfWork) -> UsageOfPeriod | None:
    """The usage of the period behind, if its window has closed already."""
    if command.ended is None or not command.agreement.has_metered_items:
        return None
    return await uow.usage_windows.find(command.agreement.id, command.ended.index)


async def add_missing(expected: Sequence[Charge], draft: Invoice, *, uow: UnitOfWork) -> None:
    """Record the expected charges that are not recorded yet, on `draft`."""
    recorded = await uow.charges.recorded([charge.id for charge in expected])
    for charge in missing(expected, recorded):
        uow.charges.add(replace(charge, invoice_id=draft.id))


async def keep_newest_agreement(agreement: Agreement, *, uow: UnitOfWork) -> None:
    """Lock the agreement, and keep whichever version is newer; an older event replaces nothing."""
    known = await uow.agreements.find_for_update(agreement.id)
    uow.customers.keep_newest(agreement.customer)
    if known is None:
        uow.agreements.add(agreement)
    elif known.version < agreement.version:
        uow.agreements.save(agreement)


def _index_at(command: ReconcileCharges) -> int:
    """The index of the period that begins at the boundary, or would."""
    if command.begins is not None:
        return command.begins.index
    assert command.ended is not None, "a boundary has a period before it or after it"
    return command.ended.index + 1
