"""Drafts over HTTP: one-off invoices, lines put on by hand, references, and finalizing at once."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.web.bodies import identifier
from libs.common.web.calls import Call, Tagged, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.queries import SqlBillingQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.add_manual_line import add_manual_line
from services.billing.application.add_payment_method import CustomerNotFound
from services.billing.application.change_draft import ChangeDraft, change_draft
from services.billing.application.change_manual_line import ChangeManualLine, change_manual_line
from services.billing.application.create_invoice import create_invoice
from services.billing.application.finalize_draft import finalize_draft
from services.billing.application.remove_manual_line import remove_manual_line
from services.billing.application.show_draft import show_draft
from services.billing.entrypoints.bodies import InvoiceBody
from services.billing.entrypoints.draft_bodies import (
    InvoiceChangeBody,
    ManualLineBody,
    ManualLineChangeBody,
    ManualLineId,
    NewInvoiceBody,
    NewManualLineBody,
)

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]
Change = Annotated[Call[BillingUnitOfWork], authorised("billing:write")]
InvoiceId = Annotated[str, identifier("inv")]


def draft_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1/invoices", tags=["invoices"])

    async def now_of(invoice_id: str, uow: BillingUnitOfWork) -> datetime:
        """The business now of the invoice's customer."""
        invoice = await uow.invoices.get_for_update(invoice_id)
        return clock.business_now(await uow.test_clock(invoice.clock_id))

    async def shown(invoice_id: str, uow: BillingUnitOfWork) -> InvoiceBody:
        """As it stands when all of it is written: with its number, too."""
        await uow.flush()
        view = await SqlBillingQueries(uow).get_invoice(invoice_id, customer_id=None)
        if view.invoice.status == "draft":
            view = await show_draft(view.invoice, now=await now_of(invoice_id, uow), uow=uow)
        return InvoiceBody.from_view(view)

    @router.post("", status_code=201, response_model=InvoiceBody, summary="Make a one-off invoice")
    async def post_invoice(body: NewInvoiceBody, call: Make) -> Response:
        """For what no subscription tells of. A customer made a moment ago is waited for."""
        command = body.to_command()

        async def work(uow: BillingUnitOfWork) -> InvoiceBody:
            customer = await uow.customers.find(command.customer_id)
            if customer is None:
                raise CustomerNotFound("no customer has this id", pointer="/customer_id")
            now = clock.business_now(await uow.test_clock(customer.clock_id))
            invoice = await create_invoice(command, customer=customer, now=now, uow=uow)
            return await shown(invoice.id, uow)

        return await call.once(
            work, location=lambda invoice: f"/v1/invoices/{invoice.id}", awaiting=(CustomerNotFound,)
        )

    @router.patch("/{invoice_id}", response_model=InvoiceBody, summary="Change a draft")
    async def patch_invoice(invoice_id: InvoiceId, body: InvoiceChangeBody, call: Change) -> Response:
        """Notes, references and terms of payment. Send the invoice's ETag in If-Match."""
        command = ChangeDraft(invoice_id, body.changes())

        async def work(uow: BillingUnitOfWork) -> InvoiceBody:
            now = await now_of(invoice_id, uow)
            await change_draft(command, now=now, uow=uow, check_version=call.require_version)
            return await shown(invoice_id, uow)

        return await call.change(work)

    @router.post(
        "/{invoice_id}/finalizations",
        status_code=201,
        response_model=InvoiceBody,
        summary="Finalize a draft at once",
    )
    async def post_finalization(invoice_id: InvoiceId, call: Make) -> Response:
        """Whatever is left of its grace. A draft that still waits for something says what for (409)."""

        async def work(uow: BillingUnitOfWork) -> InvoiceBody:
            now = await now_of(invoice_id, uow)
            await finalize_draft(invoice_id, now=now, uow=uow, check_version=call.require_version)
            return await shown(invoice_id, uow)

        return await call.once(work, location=lambda invoice: f"/v1/invoices/{invoice.id}")

    @router.get(
        "/{invoice_id}/manual-lines",
        response_model=Page[ManualLineBody],
        summary="List the lines that were put on an invoice by hand",
    )
    async def list_manual_lines(invoice_id: InvoiceId, call: Read, page: PageDep) -> Response:
        async def work(uow: BillingUnitOfWork) -> Slice[ManualLineBody]:
            found = await SqlBillingQueries(uow).list_manual_lines(invoice_id, page)
            return found.map(ManualLineBody.from_domain)

        return await call.page(work)

    @router.post(
        "/{invoice_id}/manual-lines",
        status_code=201,
        response_model=ManualLineBody,
        summary="Put a line on a draft",
    )
    async def post_manual_line(invoice_id: InvoiceId, body: NewManualLineBody, call: Make) -> Response:
        """The ETag of the answer is the invoice's: it is what the next change must name."""
        new = body.to_domain()

        async def work(uow: BillingUnitOfWork) -> Tagged[ManualLineBody]:
            now = await now_of(invoice_id, uow)
            line = await add_manual_line(
                new, invoice_id, now=now, uow=uow, check_version=call.require_version
            )
            return await tagged(ManualLineBody.from_domain(line), uow)

        return await call.once(work, location=lambda line: f"/v1/invoices/{line.invoice_id}")

    @router.patch(
        "/{invoice_id}/manual-lines/{manual_line_id}",
        response_model=ManualLineBody,
        summary="Change a line that was put on a draft",
    )
    async def patch_manual_line(
        invoice_id: InvoiceId, manual_line_id: ManualLineId, body: ManualLineChangeBody, call: Change
    ) -> Response:
        """Send the invoice's ETag in If-Match; the answer has the new one."""
        command = ChangeManualLine(invoice_id, manual_line_id, body.changes())

        async def work(uow: BillingUnitOfWork) -> Tagged[ManualLineBody]:
            now = await now_of(invoice_id, uow)
            line = await change_manual_line(command, now=now, uow=uow, check_version=call.require_version)
            return await tagged(ManualLineBody.from_domain(line), uow)

        return await call.change(work)

    @router.delete(
        "/{invoice_id}/manual-lines/{manual_line_id}",
        status_code=204,
        summary="Take a line off a draft",
    )
    async def delete_manual_line(
        invoice_id: InvoiceId, manual_line_id: ManualLineId, call: Change
    ) -> Response:
        """Only one that was put on by hand. Send the invoice's ETag in If-Match."""

        async def work(uow: BillingUnitOfWork) -> None:
            now = await now_of(invoice_id, uow)
            await remove_manual_line(
                invoice_id, manual_line_id, now=now, uow=uow, check_version=call.require_version
            )

        return await call.change(work)

    async def tagged(body: ManualLineBody, uow: BillingUnitOfWork) -> Tagged[ManualLineBody]:
        invoice = await uow.invoices.get_for_update(body.invoice_id)
        return Tagged(body, invoice.version)

    return router
