"""Issue a voided invoice again: the same charges and manual lines, on a new document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.ids import derived_id
from libs.common.telemetry import current_traceparent
from services.billing.application.finalize_invoice import finalize_if_complete
from services.billing.application.ports import UnitOfWork
from services.billing.application.void_invoice import lock_with_agreements
from services.billing.domain.invoice import Invoice, invoice_id, open_document
from services.billing.domain.invoice_standing import InvoiceNotReissuable, following_issue

CheckVersion = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ReissueInvoice:
    """With `finalize` it is issued at once, else it stays a draft until a person says so. `now` is its business now."""

    invoice_id: str
    finalize: bool
    now: datetime


async def reissue_invoice(
    command: ReissueInvoice, *, uow: UnitOfWork, check_version: CheckVersion
) -> Invoice:
    """In the name of the payer as he is known now, with those of its charges that no other document has billed meanwhile.

    Emits: InvoiceFinalized, InvoicePaid, CustomerBalanceChanged.
    Raises: InvoiceNotFound, InvoiceNotReissuable, and what `check_version` raises.
    """
    old, now = await lock_with_agreements(command.invoice_id, uow=uow), command.now
    check_version(old.version)
    _check(old)
    id = invoice_id(old.group_id, old.boundary_at, old.document_kind, following_issue(old))
    known = await uow.invoices.find_for_update(id)
    if known is not None:
        raise InvoiceNotReissuable(
            "it was issued again already", remedy=f"See invoice {id}; void that one to issue it once more."
        )
    charges = await uow.charges.freed_by(old.id)
    manual = await uow.manual_lines.of_invoice(old.id)
    if not charges and not manual:
        raise InvoiceNotReissuable(
            "all that it billed stands on other documents by now",
            remedy="Correct those, or make an invoice by hand: POST /v1/invoices.",
        )
    opened = open_document(
        old.group_id,
        await uow.customers.find(old.customer_id) or old.customer,
        boundary_at=old.boundary_at,
        currency=old.currency,
        zone=old.zone,
        clock_id=old.clock_id,
        traceparent=current_traceparent(),
        now=now,
        document_kind=old.document_kind,
        issue=following_issue(old),
        subscription_id=old.subscription_id,
        period_index=old.period_index,
    )
    draft = replace(
        opened,
        subscription_ids=old.subscription_ids,
        notes=old.notes,
        purchase_order=old.purchase_order,
        buyer_reference=old.buyer_reference,
        payment_terms=old.payment_terms,
        replaces_id=old.id,
        draft_until=now,
        held_for=None if command.finalize else "person",
    )
    uow.invoices.add(draft)
    uow.record("invoice.reissued", draft.id)
    await uow.charges.load_of_invoices([draft.id])
    for charge in charges:
        uow.charges.place(charge, draft.id)
    for line in manual:
        uow.manual_lines.add(
            replace(line, id=derived_id("mln", draft.id, line.id), invoice_id=draft.id, version=1)
        )
    return await finalize_if_complete(draft, now=now, uow=uow)


def _check(old: Invoice) -> None:
    if old.status != "void":
        raise InvoiceNotReissuable(f"the invoice is {old.status}", remedy="Void it first.")
    if old.document_kind in ("deposit", "top_up"):
        raise InvoiceNotReissuable(
            f"a document of kind {old.document_kind} is asked for anew",
            remedy="Make another deposit: POST /v1/deposits."
            if old.document_kind == "deposit"
            else "Top the wallet up again.",
        )
