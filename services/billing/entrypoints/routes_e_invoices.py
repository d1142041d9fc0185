"""E-invoices over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from starlette.responses import Response

from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from services.billing.adapters.seller_logos import SellerLogos
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.make_e_invoice import (
    PDF,
    XML,
    EInvoiceWriter,
    check_e_invoice,
    make_e_invoice,
)
from services.billing.application.render_document import DocumentRenderer, find_logo
from services.billing.domain.contact_details import EInvoiceFormat
from services.billing.domain.issued_document import IssuedDocument
from services.billing.domain.seller_logo import SellerLogo
from services.billing.entrypoints.credit_note_bodies import CreditNoteId, InvoiceId
from services.billing.entrypoints.e_invoice_bodies import EInvoiceCheckBody

PortalRead = Annotated[Call[BillingUnitOfWork], authorised("billing:read", portal=True)]
Format = Annotated[EInvoiceFormat, Query(description="`factur-x` is a PDF/A-3 with CII inside.")]
FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {XML: {}, PDF: {}}, "description": "The e-invoice."}
}


def e_invoice_router(renderer: DocumentRenderer, writer: EInvoiceWriter) -> LateRouter:
    router = LateRouter(prefix="/v1", tags=["e-invoices"])

    @router.get(
        "/invoices/{invoice_id}/e-invoice",
        response_class=Response,
        responses=FILE,
        summary="Show an invoice as an e-invoice",
    )
    async def get_invoice_as_e_invoice(
        invoice_id: InvoiceId, call: PortalRead, format: Format = "ubl"
    ) -> Response:
        """By EN 16931, checked before it is sent. What keeps it from being one is refused, everything at once."""
        return await _file(invoice_id, format, call, renderer, writer)

    @router.get(
        "/invoices/{invoice_id}/e-invoice-check",
        response_model=EInvoiceCheckBody,
        summary="Check whether an invoice can be an e-invoice",
    )
    async def get_e_invoice_check_of_invoice(invoice_id: InvoiceId, call: PortalRead) -> Response:
        """What is missing, by rule, and where it is set. Nothing is made."""
        return await _check(invoice_id, call)

    @router.get(
        "/credit-notes/{credit_note_id}/e-invoice",
        response_class=Response,
        responses=FILE,
        summary="Show a credit note as an e-invoice",
    )
    async def get_credit_note_as_e_invoice(
        credit_note_id: CreditNoteId, call: PortalRead, format: Format = "ubl"
    ) -> Response:
        """By EN 16931, checked before it is sent. What keeps it from being one is refused, everything at once."""
        return await _file(credit_note_id, format, call, renderer, writer)

    @router.get(
        "/credit-notes/{credit_note_id}/e-invoice-check",
        response_model=EInvoiceCheckBody,
        summary="Check whether a credit note can be an e-invoice",
    )
    async def get_e_invoice_check_of_credit_note(credit_note_id: CreditNoteId, call: PortalRead) -> Response:
        """What is missing, by rule, and where it is set. Nothing is made."""
        return await _check(credit_note_id, call)

    return router


async def _file(
    id: str,
    format: EInvoiceFormat,
    call: Call[BillingUnitOfWork],
    renderer: DocumentRenderer,
    writer: EInvoiceWriter,
) -> Response:
    """Read in a transaction, made outside of it."""

    async def work(uow: BillingUnitOfWork) -> tuple[IssuedDocument, SellerLogo | None]:
        document = await uow.issued_documents.get(id, customer_id=call.customer)
        is_drawn = format == "factur-x"
        return document, await find_logo(document, SellerLogos(uow)) if is_drawn else None

    document, logo = await call.run(work)
    file = await make_e_invoice(document, format, writer=writer, renderer=renderer, logo=logo)
    told = {"content-disposition": f'attachment; filename="{file.name}"'}
    return Response(file.content, media_type=file.media_type, headers=told)


async def _check(id: str, call: Call[BillingUnitOfWork]) -> Response:
    async def work(uow: BillingUnitOfWork) -> EInvoiceCheckBody:
        document = await uow.issued_documents.get(id, customer_id=call.customer)
        return EInvoiceCheckBody.from_domain(check_e_invoice(document))

    return await call.read(work)
