"""Give up an invoice: nobody expects the rest of its money any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.telemetry import current_traceparent
from services.billing.application import events
from services.billing.application.issue_credit_note import lessen_attempt
from services.billing.application.ports import UnitOfWork
from services.billing.application.void_invoice import CheckVersion, refuse_while_calling
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_standing import written_off
from services.billing.domain.postings_of_invoices import postings_for_write_off


@dataclass(frozen=True, slots=True)
class WriteOffInvoice:
    """`now` is the invoice's business now."""

    invoice_id: str
    reason: str
    now: datetime


async def write_off_invoice(
    command: WriteOffInvoice, *, uow: UnitOfWork, check_version: CheckVersion
) -> Invoice:
    """What is due becomes a bad debt, tax included: whether the tax comes back is for the law of the country to say.

    Emits: InvoiceMarkedUncollectible.
    Raises: InvoiceNotFound, InvoiceNotUncollectible, PaymentUnderWay, and what `check_version` raises.
    """
    invoice, now = await uow.invoices.get_for_update(command.invoice_id), command.now
    check_version(invoice.version)
    given_up = written_off(invoice)
    await refuse_while_calling(invoice, uow=uow)
    uow.invoices.save(given_up)
    await lessen_attempt(given_up, reason="written_off", now=now, uow=uow)
    uow.ledger.post(postings_for_write_off(invoice.id, invoice.due, at=now, zone=invoice.zone))
    told = events.invoice_marked_uncollectible(
        given_up, reason=command.reason, occurred_at=now, tenant=uow.tenant
    )
    uow.outbox.append(told, key=given_up.id, traceparent=current_traceparent())
    uow.record("invoice.written_off", given_up.id, given_up.version)
    return given_up
