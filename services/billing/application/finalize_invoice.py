"""Finalize a draft that awaits nothing more: totals, ledger, the first payment attempt."""

from __future__ import annotations

from datetime import datetime

from libs.common.periods import local_date
from libs.common.telemetry import current_traceparent
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.invoice import Finalized, Invoice, Skipped, Waiting, decide_finalization
from services.billing.domain.ledger_entry import PostedLine, entries_for_invoice
from services.billing.domain.payment import first_attempt


async def finalize_invoice(
    invoice: Invoice, customer: CustomerDetails, *, now: datetime, uow: UnitOfWork
) -> Finalized | Skipped | Waiting:
    """Finalize `invoice` if it is complete, in the open unit of work, which has locked it.

    A draft that still waits is saved with what it has. A draft with nothing to pay becomes `skipped`.
    Emits: InvoiceFinalized, with the number, in the same transaction.
    """
    charges = await uow.charges.of_invoice(invoice.id)
    seller = await uow.sellers.find_default()
    outcome = decide_finalization(invoice, charges, customer=customer, seller=seller, now=now)
    if isinstance(outcome, Finalized):
        final = outcome.invoice
        uow.invoices.finalize(outcome)
        entries = entries_for_invoice(
            final.id,
            invoiced_on=local_date(now, final.zone),
            lines=[PostedLine(line.rated.amount, line.service_start_on) for line in outcome.lines],
            tax=final.tax,
        )
        uow.ledger.post(entries, invoice_id=final.id, posted_at=now)
        uow.payment_attempts.add(
            first_attempt(
                final.id,
                final.customer_id,
                final.total,
                now=now,
                clock_id=final.clock_id,
                trace=current_traceparent() or final.traceparent,
            )
        )
        uow.record("invoice.finalized", final.id, final.version)
    else:
        uow.invoices.save(outcome.invoice)
        if isinstance(outcome, Skipped):
            uow.record("invoice.skipped", outcome.invoice.id, outcome.invoice.version)
    return outcome


async def finalize_waiting_drafts(*, now: datetime, uow: UnitOfWork) -> int:
    """Finalize drafts that were complete but had no seller to issue them. Returns how many were looked at."""
    ids = await uow.invoices.ids_waiting_for_seller()
    for invoice_id in ids:
        invoice = await uow.invoices.get_for_update(invoice_id)
        customer = await uow.customers.find(invoice.customer_id)
        if customer is not None and invoice.status == "draft":
            clock = await uow.test_clock(invoice.clock_id)
            await finalize_invoice(invoice, customer, now=clock.now if clock else now, uow=uow)
    return len(ids)
