"""Credit notes over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.credit_note_queries import CreditNoteQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.issue_credit_note import issue_credit_note, preview_credit_note
from services.billing.entrypoints.bodies import CustomerId
from services.billing.entrypoints.credit_note_bodies import (
    CreditNoteBody,
    CreditNoteId,
    CreditNotePreviewBody,
    CreditNoteSummaryBody,
    InvoiceId,
    NewCreditNoteBody,
)

PortalRead = Annotated[Call[BillingUnitOfWork], authorised("billing:read", portal=True)]
Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]


def credit_note_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1")

    @router.post(
        "/credit-notes",
        status_code=201,
        response_model=CreditNoteBody,
        tags=["credit notes"],
        summary="Credit an invoice",
    )
    async def post_credit_note(body: NewCreditNoteBody, call: Make) -> Response:
        """In full, by line or by amount; never beyond what was billed. `If-Match` names the version of the invoice."""

        async def work(uow: BillingUnitOfWork) -> CreditNoteBody:
            invoice = await uow.invoices.get_for_update(body.invoice_id)
            call.require_version(invoice.version)
            now = clock.business_now(await uow.test_clock(invoice.clock_id))
            note = await issue_credit_note(body.to_command(now), uow=uow)
            await uow.flush()
            return CreditNoteBody.from_domain(
                await CreditNoteQueries(uow).get_credit_note(note.id, customer_id=None)
            )

        return await call.once(work, location=lambda note: f"/v1/credit-notes/{note.id}")

    @router.post(
        "/credit-note-previews",
        response_model=CreditNotePreviewBody,
        tags=["credit notes"],
        summary="Preview a credit note",
    )
    async def post_credit_note_preview(body: NewCreditNoteBody, call: Read) -> Response:
        """What a credit note would come to, line by line and tax by tax. Nothing is kept."""

        async def work(uow: BillingUnitOfWork) -> CreditNotePreviewBody:
            invoice = await uow.invoices.get(body.invoice_id)
            now = clock.business_now(await uow.test_clock(invoice.clock_id))
            note = await preview_credit_note(body.to_command(now), uow=uow)
            return CreditNotePreviewBody.from_domain(note)

        return await call.read(work)

    @router.get(
        "/credit-notes",
        response_model=Page[CreditNoteSummaryBody],
        tags=["credit notes"],
        summary="List credit notes",
    )
    async def list_credit_notes(
        call: PortalRead,
        page: PageDep,
        customer_id: Annotated[CustomerId | None, Query()] = None,
        invoice_id: Annotated[InvoiceId | None, Query()] = None,
        number: Annotated[str | None, Query(max_length=64)] = None,
    ) -> Response:
        """`customer_id` is who paid the invoice."""

        async def work(uow: BillingUnitOfWork) -> Slice[CreditNoteSummaryBody]:
            if _is_for_another(call, customer_id):
                return Slice(items=())
            found = await CreditNoteQueries(uow).list_credit_notes(
                page, customer_id=call.customer or customer_id, invoice_id=invoice_id, number=number
            )
            return found.map(CreditNoteSummaryBody.from_domain)

        return await call.page(work)

    @router.get(
        "/credit-notes/{credit_note_id}",
        response_model=CreditNoteBody,
        tags=["credit notes"],
        summary="Show a credit note",
    )
    async def get_credit_note(credit_note_id: CreditNoteId, call: PortalRead) -> Response:
        async def work(uow: BillingUnitOfWork) -> CreditNoteBody:
            note = await CreditNoteQueries(uow).get_credit_note(credit_note_id, customer_id=call.customer)
            return CreditNoteBody.from_domain(note)

        return await call.read(work)

    return router


def _is_for_another(call: Call[BillingUnitOfWork], customer_id: str | None) -> bool:
    return call.customer is not None and customer_id not in (None, call.customer)
