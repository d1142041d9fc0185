"""Finalize a draft that awaits nothing more: totals, ledger, the first payment attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.periods import local_date
from libs.common.telemetry import current_traceparent
from services.billing.application.ports import UnitOfWork
from services.billing.domain.invoice import Finalized, Invoice, Skipped, decide_finalization
from services.billing.domain.ledger_entry import PostedLine, entries_for_invoice
from services.billing.domain.payment import first_attempt


@dataclass(frozen=True, slots=True)
class FinalizeInvoice:
    """`now` is the invoice's business now."""

    invoice_id: str
    now: datetime


async def finalize_invoice(command: FinalizeInvoice, *, uow: UnitOfWork) -> Invoice:
    """Finalize a draft that was complete but had no seller to issue it. A repeat finds it final.

    Emits: InvoiceFinalized.
    Raises: InvoiceNotFound.
    """
    invoice = await uow.invoices.get_for_update(command.invoice_id)
    if invoice.status != "draft":
        return invoice
    return await finalize_if_complete(invoice, now=command.now, uow=uow)


async def finalize_if_complete(draft: Invoice, *, now: datetime, uow: UnitOfWork) -> Invoice:
    """Finalize `draft`, which is locked, if it is complete.

    A draft that still waits is saved with what it has. A draft with nothing to pay becomes `skipped`.
    Emits: InvoiceFinalized, with the number, in the same transaction.
    """
    charges = await uow.charges.of_invoice(draft.id)
    seller = None if draft.awaits_window else await uow.sellers.find_default()
    outcome = decide_finalization(draft, charges, seller=seller, now=now)
    if isinstance(outcome, Finalized):
        _issue(outcome, now=now, uow=uow)
    else:
        uow.invoices.save(outcome.invoice)
    if isinstance(outcome, Skipped):
        uow.record("invoice.skipped", outcome.invoice.id, outcome.invoice.version)
    return outcome.invoice


def _issue(outcome: Finalized, *, now: datetime, uow: UnitOfWork) -> None:
    invoice = outcome.invoice
    uow.invoices.finalize(outcome)
    entries = entries_for_invoice(
        invoice.id,
        invoiced_on=local_date(now, invoice.zone),
        lines=[PostedLine(line.net, line.service_start_on) for line in outcome.lines],
        tax=invoice.tax,
    )
    uow.ledger.post(entries, invoice_id=invoice.id, posted_at=now)
    uow.payment_attempts.add(
        first_attempt(
            invoice.id,
            invoice.customer_id,
            invoice.total,
            now=now,
            clock_id=invoice.clock_id,
            trace=current_traceparent() or invoice.traceparent,
        )
    )
    uow.record("invoice.finalized", invoice.id, invoice.version)
