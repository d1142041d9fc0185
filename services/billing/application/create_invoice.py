"""A person bills a customer for what no subscription tells of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.errors import Conflict
from libs.common.ids import new_id
from libs.common.telemetry import current_traceparent
from services.billing.application.add_manual_line import NewManualLine, put_line_on
from services.billing.application.change_billing_profile import check_not_erased
from services.billing.application.edit_draft import save_edited
from services.billing.application.finalize_invoice import finalize_if_complete
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.invoice import Invoice, open_document
from services.billing.domain.payment_terms import PaymentTerms

UTC_ZONE = "UTC"


class InvoiceExternalIdTaken(Conflict):
    code = "invoice_external_id_taken"
    title = "Another invoice has this external id"


@dataclass(frozen=True, slots=True)
class CreateInvoice:
    """`zone` says on which local date it is issued; without it the customer's does, or else UTC.

    With `finalize` it is issued at once, else when a person says so.
    """

    customer_id: str
    currency: str
    zone: str | None
    lines: tuple[NewManualLine, ...]
    finalize: bool
    notes: str | None = None
    purchase_order: str | None = None
    buyer_reference: str | None = None
    external_id: str | None = None
    payment_terms: PaymentTerms | None = None


async def create_invoice(
    command: CreateInvoice, *, customer: CustomerDetails, now: datetime, uow: UnitOfWork
) -> Invoice:
    """`now` is the customer's business now. Without a seller it waits for one, also where it is to be issued at once.

    Emits: InvoiceFinalized, InvoicePaid, CustomerBalanceChanged.
    Raises: CustomerErased, InvoiceExternalIdTaken, OutsideScopeStandsAlone, OneOffBelowZero, AmountTooLarge.
    """
    check_not_erased(customer)
    opened = open_document(
        new_id("doc"),  # it belongs to no group but its own
        customer,
        boundary_at=now,
        currency=command.currency,
        zone=command.zone or customer.zone or UTC_ZONE,
        clock_id=customer.clock_id,
        traceparent=current_traceparent(),
        now=now,
        document_kind="one_off",
    )
    draft = replace(
        opened,
        held_for=None if command.finalize else "person",
        notes=command.notes,
        purchase_order=command.purchase_order,
        buyer_reference=command.buyer_reference,
        external_id=command.external_id,
        payment_terms=command.payment_terms,
    )
    uow.invoices.add(draft)
    uow.record("invoice.opened", draft.id)
    for line in command.lines:
        await put_line_on(draft, line, now=now, uow=uow)
    edited = await save_edited(draft, action="invoice.drafted", now=now, uow=uow)
    if not command.finalize:
        return edited
    return await finalize_if_complete(edited, now=now, uow=uow)
