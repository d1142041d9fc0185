"""Dunning over HTTP: what lies behind and ahead of each unpaid invoice, and a person's word on it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.web.bodies import Instant
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.dunning_queries import DunningQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.change_dunning import (
    PauseDunning,
    ResumeDunning,
    SkipStep,
    pause_dunning,
    resume_dunning,
    skip_step,
)
from services.billing.application.queries import DunningFilter
from services.billing.entrypoints.bodies import CustomerId
from services.billing.entrypoints.credit_note_bodies import InvoiceId
from services.billing.entrypoints.dunning_bodies import (
    DunningBody,
    DunningPauseBody,
    DunningResumptionBody,
    DunningStateText,
    SkippedStepBody,
)

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]


def dunning_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1", tags=["dunning"])

    async def now_of(invoice_id: str, uow: BillingUnitOfWork) -> datetime:
        invoice = await uow.invoices.get(invoice_id)
        return clock.business_now(await uow.test_clock(invoice.clock_id))

    async def shown(invoice_id: str, uow: BillingUnitOfWork) -> DunningBody:
        """As it stands when all of it is written."""
        await uow.flush()
        return DunningBody.from_view(await DunningQueries(uow).get_of_invoice(invoice_id))

    def where(made: DunningBody) -> str:
        return f"/v1/invoices/{made.invoice_id}/dunning"

    @router.get("/dunning", response_model=Page[DunningBody], summary="List what is being dunned")
    async def list_dunning(
        call: Read,
        page: PageDep,
        customer_id: Annotated[CustomerId | None, Query()] = None,
        state: Annotated[DunningStateText | None, Query()] = None,
        due_until: Annotated[
            Instant | None, Query(description="Whose next step comes at this instant or before.")
        ] = None,
    ) -> Response:
        """In the order in which it began: when the first try failed, or when the invoice was issued."""

        async def work(uow: BillingUnitOfWork) -> Slice[DunningBody]:
            wanted = DunningFilter(customer_id=customer_id, state=state, due_until=due_until)
            found = await DunningQueries(uow).list_dunnings(wanted, page)
            return found.map(DunningBody.from_view)

        return await call.page(work)

    @router.get(
        "/invoices/{invoice_id}/dunning",
        response_model=DunningBody,
        summary="Show the dunning of an invoice",
    )
    async def get_dunning(invoice_id: InvoiceId, call: Read) -> Response:
        """What was done, and what will be if nobody pays."""

        async def work(uow: BillingUnitOfWork) -> DunningBody:
            return DunningBody.from_view(await DunningQueries(uow).get_of_invoice(invoice_id))

        return await call.read(work)

    @router.post(
        "/invoices/{invoice_id}/dunning/pauses",
        status_code=201,
        response_model=DunningBody,
        summary="Pause the dunning of an invoice",
    )
    async def post_pause(invoice_id: InvoiceId, body: DunningPauseBody, call: Make) -> Response:
        """Nothing is tried, and nobody is reminded or suspended, for as long as it lasts. A try under way comes out."""

        async def work(uow: BillingUnitOfWork) -> DunningBody:
            command = PauseDunning(invoice_id, body.reason, body.until, await now_of(invoice_id, uow))
            await pause_dunning(command, uow=uow, check_version=call.require_version)
            return await shown(invoice_id, uow)

        return await call.once(work, location=where)

    @router.post(
        "/invoices/{invoice_id}/dunning/resumptions",
        status_code=201,
        response_model=DunningBody,
        summary="Resume the dunning of an invoice",
    )
    async def post_resumption(invoice_id: InvoiceId, body: DunningResumptionBody, call: Make) -> Response:
        """All that lies ahead comes later by the days that the pause lasted."""

        async def work(uow: BillingUnitOfWork) -> DunningBody:
            command = ResumeDunning(invoice_id, await now_of(invoice_id, uow))
            await resume_dunning(command, uow=uow, check_version=call.require_version)
            return await shown(invoice_id, uow)

        return await call.once(work, location=where)

    @router.post(
        "/invoices/{invoice_id}/dunning/skipped-steps",
        status_code=201,
        response_model=DunningBody,
        summary="Skip a step of the dunning of an invoice",
    )
    async def post_skipped_step(invoice_id: InvoiceId, body: SkippedStepBody, call: Make) -> Response:
        """It is not taken; all others stay where they are."""

        async def work(uow: BillingUnitOfWork) -> DunningBody:
            now = await now_of(invoice_id, uow)
            command = SkipStep(invoice_id, body.kind, body.number, body.reason, now)
            await skip_step(command, uow=uow, check_version=call.require_version)
            return await shown(invoice_id, uow)

        return await call.once(work, location=where)

    return router
