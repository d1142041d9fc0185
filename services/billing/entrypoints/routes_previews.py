"""The route that says which documents would be made."""

from __future__ import annotations

import asyncio
from typing import Annotated

from starlette.responses import Response

from libs.common.web.calls import JSON, Call, authorised
from libs.common.web.late_routes import LateRouter
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.preview_invoices import (
    InvoicePreview,
    SubscriptionNotKnownYet,
    preview_invoices,
)
from services.billing.entrypoints.event_handlers import HANDLERS
from services.billing.entrypoints.preview_bodies import InvoicePreviewBody, NewInvoicePreviewBody
from services.billing.entrypoints.preview_events import read_events

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]

AT_ONCE_MAX = 2  # of one process, read or written down: each takes a thread, and all of them one processor


class _Previewed(Exception):
    """Leaves the transaction, so that it is rolled back, with what was seen in it."""

    def __init__(self, preview: InvoicePreview) -> None:
        super().__init__()
        self.preview = preview


def preview_router() -> LateRouter:
    router = LateRouter(prefix="/v1")
    places = asyncio.Semaphore(AT_ONCE_MAX)

    @router.post(
        "/invoice-previews",
        response_model=InvoicePreviewBody,
        tags=["invoices"],
        summary="Preview the invoices that events would make",
    )
    async def post_invoice_preview(body: NewInvoicePreviewBody, call: Read) -> Response:
        """Runs the code that bills, and writes nothing: the lines are those of the later invoice, to the cent.

        What customers are owed is drawn on in the order of the events. Numbers are not told, since none is taken.
        """
        sent = [(event.type, event.data) for event in body.events]
        async with places:
            events = await asyncio.to_thread(read_events, sent, tenant=call.tenant)

        async def work(uow: BillingUnitOfWork) -> InvoicePreview:
            raise _Previewed(
                await preview_invoices(events, prepare=HANDLERS.prepare, handle=HANDLERS.handle, uow=uow)
            )

        try:
            preview = await call.run(work, awaiting=(SubscriptionNotKnownYet,))
        except _Previewed as seen:
            preview = seen.preview
        async with places:
            answer = await asyncio.to_thread(_answer, preview)
        return Response(answer, media_type=JSON)

    return router


def _answer(preview: InvoicePreview) -> bytes:
    """Written down beside the event loop, which belongs to everybody."""
    return InvoicePreviewBody.from_view(preview).model_dump_json().encode()
