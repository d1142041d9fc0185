"""From the agreement and its periods: the charges that should exist, and what is missing of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.telemetry import current_traceparent
from services.billing.application.finalize_invoice import finalize_invoice
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import Agreement, BilledPeriod
from services.billing.domain.charge import Charge, advance_charges, missing, usage_charges
from services.billing.domain.invoice import Invoice, invoice_id, open_draft, with_lifecycle


@dataclass(frozen=True, slots=True)
class ReconcileCharges:
    """A boundary of an agreement. `begins` is the period ahead (None at the end), `ended` the one behind."""

    agreement: Agreement
    boundary_at: datetime
    begins: BilledPeriod | None
    ended: BilledPeriod | None
    occurred_at: datetime


async def reconcile_charges(command: ReconcileCharges, *, uow: UnitOfWork) -> Invoice:
    """Put what is owed at a boundary on its draft, and finalize the draft when nothing is awaited any more.

    Running it twice adds nothing: charges and drafts have derived identities, and the agreement's row is locked.
    Emits: InvoiceFinalized.
    """
    agreement = command.agreement
    await keep_newest_agreement(agreement, uow=uow)
    draft = await find_or_open_draft(
        agreement, command.boundary_at, _index_at(command), now=command.occurred_at, uow=uow
    )
    if draft.status != "draft" or not draft.awaits_lifecycle:
        return draft
    if command.begins is not None:
        ahead = advance_charges(agreement, command.begins, now=command.occurred_at)
        await add_missing(ahead, draft, uow=uow)
    awaits_window = await _add_usage_behind(command, draft, uow=uow)
    draft = with_lifecycle(draft, agreement, awaits_window=awaits_window)
    outcome = await finalize_invoice(draft, agreement.customer, now=command.occurred_at, uow=uow)
    return outcome.invoice


async def _add_usage_behind(command: ReconcileCharges, draft: Invoice, *, uow: UnitOfWork) -> bool:
    """Add the usage of the period behind if its window has closed already; True when it has not."""
    agreement, ended = command.agreement, command.ended
    if ended is None or not agreement.has_metered_items:
        return False
    usage = await uow.usage_windows.find(agreement.id, ended.index)
    if usage is None:
        return True
    await add_missing(usage_charges(agreement, usage, now=command.occurred_at), draft, uow=uow)
    return False


async def add_missing(expected: Sequence[Charge], draft: Invoice, *, uow: UnitOfWork) -> None:
    """Record the expected charges that are not recorded yet, on `draft`."""
    recorded = await uow.charges.recorded([charge.id for charge in expected])
    for charge in missing(expected, recorded):
        uow.charges.add(replace(charge, invoice_id=draft.id))


async def keep_newest_agreement(agreement: Agreement, *, uow: UnitOfWork) -> Agreement:
    """Lock the agreement's row, and keep whichever version is newer; an older event replaces nothing."""
    known = await uow.agreements.find_for_update(agreement.id)
    uow.customers.keep_newest(agreement.customer)
    if known is None:
        uow.agreements.add(agreement)
    elif known.version < agreement.version:
        uow.agreements.save(agreement)
    else:
        return known
    return agreement


async def find_or_open_draft(
    agreement: Agreement, boundary_at: datetime, period_index: int, *, now: datetime, uow: UnitOfWork
) -> Invoice:
    """The document of a boundary; whoever comes first opens it."""
    known = await uow.invoices.find_for_update(invoice_id(agreement.id, boundary_at))
    if known is not None:
        return known
    draft = open_draft(
        agreement.id,
        customer_id=agreement.customer.id,
        boundary_at=boundary_at,
        period_index=period_index,
        currency=agreement.currency,
        zone=agreement.zone,
        clock_id=agreement.clock_id,
        traceparent=current_traceparent(),
        now=now,
    )
    uow.invoices.add(draft)
    uow.record("invoice.opened", draft.id)
    return draft


def _index_at(command: ReconcileCharges) -> int:
    """The index of the period that begins at the boundary, or would."""
    if command.begins is not None:
        return command.begins.index
    return command.ended.index + 1 if command.ended is not None else 0
