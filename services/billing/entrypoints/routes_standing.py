"""What becomes of an issued invoice, over HTTP: voided, issued again, given up."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from services.billing.adapters.queries import SqlBillingQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.reissue_invoice import ReissueInvoice, reissue_invoice
from services.billing.application.void_invoice import VoidInvoice, void_invoice
from services.billing.application.write_off_invoice import WriteOffInvoice, write_off_invoice
from services.billing.entrypoints.bodies import InvoiceBody
from services.billing.entrypoints.credit_note_bodies import InvoiceId
from services.billing.entrypoints.deposit_bodies import ReissueBody, VoidBody, WriteOffBody

Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]


def standing_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1/invoices", tags=["invoices"])

    async def now_of(invoice_id: str, uow: BillingUnitOfWork) -> datetime:
        invoice = await uow.invoices.get(invoice_id)
        return clock.business_now(await uow.test_clock(invoice.clock_id))

    async def shown(invoice_id: str, uow: BillingUnitOfWork) -> InvoiceBody:
        """As it stands when all of it is written."""
        await uow.flush()
        view = await SqlBillingQueries(uow).get_invoice(invoice_id, customer_id=None)
        return InvoiceBody.from_view(view)

    @router.post(
        "/{invoice_id}/voids", status_code=201, response_model=InvoiceBody, summary="Void an invoice"
    )
    async def post_void(invoice_id: InvoiceId, body: VoidBody, call: Make) -> Response:
        """While nothing of it was paid with money or credited. Its charges wait for another document."""

        async def work(uow: BillingUnitOfWork) -> InvoiceBody:
            command = VoidInvoice(invoice_id, body.reason, await now_of(invoice_id, uow))
            void = await void_invoice(command, uow=uow, check_version=call.require_version)
            return await shown(void.id, uow)

        return await call.once(work, location=lambda invoice: f"/v1/invoices/{invoice.id}")

    @router.post(
        "/{invoice_id}/reissues",
        status_code=201,
        response_model=InvoiceBody,
        summary="Issue a voided invoice again",
    )
    async def post_reissue(invoice_id: InvoiceId, body: ReissueBody, call: Make) -> Response:
        """The same charges and manual lines on a new document, in the name of the payer as he is known now."""

        async def work(uow: BillingUnitOfWork) -> InvoiceBody:
            command = ReissueInvoice(invoice_id, body.finalize, await now_of(invoice_id, uow))
            invoice = await reissue_invoice(command, uow=uow, check_version=call.require_version)
            return await shown(invoice.id, uow)

        return await call.once(work, location=lambda invoice: f"/v1/invoices/{invoice.id}")

    @router.post(
        "/{invoice_id}/write-offs",
        status_code=201,
        response_model=InvoiceBody,
        summary="Give an invoice up",
    )
    async def post_write_off(invoice_id: InvoiceId, body: WriteOffBody, call: Make) -> Response:
        """What is due becomes a bad debt. No payment is tried any more."""

        async def work(uow: BillingUnitOfWork) -> InvoiceBody:
            command = WriteOffInvoice(invoice_id, body.reason, await now_of(invoice_id, uow))
            given_up = await write_off_invoice(command, uow=uow, check_version=call.require_version)
            return await shown(given_up.id, uow)

        return await call.once(work, location=lambda invoice: f"/v1/invoices/{invoice.id}")

    return router
