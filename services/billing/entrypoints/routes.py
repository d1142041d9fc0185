"""Billing over HTTP: invoices with their reasons, and what was tried to collect them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.web.bodies import BusinessDate, ExternalId, Instant, identifier
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.queries import SqlBillingQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.queries import InvoiceFilter
from services.billing.application.show_draft import show_draft
from services.billing.application.try_payment_again import TryPaymentAgain, try_payment_again
from services.billing.entrypoints.bodies import (
    CustomerId,
    DocumentKindText,
    InvoiceBody,
    InvoiceStatusText,
    InvoiceSummaryBody,
    PaymentAttemptBody,
    SubscriptionId,
)
from services.billing.entrypoints.seller_bodies import SellerId

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
PortalRead = Annotated[Call[BillingUnitOfWork], authorised("billing:read", portal=True)]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]
InvoiceId = Annotated[str, identifier("inv")]


def _is_for_another(call: Call[BillingUnitOfWork], customer_id: str | None) -> bool:
    """Whether a portal token asks for a customer who is not its own: nothing of theirs is there for it."""
    return call.customer is not None and customer_id not in (None, call.customer)


def billing_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1")

    @router.get(
        "/invoices", response_model=Page[InvoiceSummaryBody], tags=["invoices"], summary="List invoices"
    )
    async def list_invoices(
        call: PortalRead,
        page: PageDep,
        customer_id: Annotated[CustomerId | None, Query()] = None,
        subscription_id: Annotated[SubscriptionId | None, Query()] = None,
        status: Annotated[InvoiceStatusText | None, Query()] = None,
        document_kind: Annotated[DocumentKindText | None, Query()] = None,
        number: Annotated[str | None, Query(max_length=64)] = None,
        boundary_from: Annotated[Instant | None, Query()] = None,
        boundary_to: Annotated[Instant | None, Query()] = None,
        created_from: Annotated[Instant | None, Query()] = None,
        created_to: Annotated[Instant | None, Query()] = None,
        due_before: Annotated[BusinessDate | None, Query()] = None,
        external_id: Annotated[ExternalId | None, Query()] = None,
        seller_id: Annotated[SellerId | None, Query()] = None,
    ) -> Response:
        """`customer_id` is who pays; `due_before` is about what is still to be paid.

        Drafts on which nothing was owed (`skipped`) are listed only when asked for."""
        wanted = InvoiceFilter(
            customer_id=call.customer or customer_id,
            subscription_id=subscription_id,
            status=status,
            document_kind=document_kind,
            number=number,
            boundary_from=boundary_from,
            boundary_to=boundary_to,
            created_from=created_from,
            created_to=created_to,
            due_before=due_before,
            external_id=external_id,
            seller_id=seller_id,
        )

        async def work(uow: BillingUnitOfWork) -> Slice[InvoiceSummaryBody]:
            if _is_for_another(call, customer_id):
                return Slice(items=())
            found = await SqlBillingQueries(uow).list_invoices(wanted, page)
            return found.map(InvoiceSummaryBody.from_domain)

        return await call.page(work)

    @router.get(
        "/invoices/{invoice_id}", response_model=InvoiceBody, tags=["invoices"], summary="Show an invoice"
    )
    async def get_invoice(invoice_id: InvoiceId, call: PortalRead) -> Response:
        """With its lines, each with its formula; those of a draft are as they would be now."""

        async def work(uow: BillingUnitOfWork) -> InvoiceBody:
            view = await SqlBillingQueries(uow).get_invoice(invoice_id, customer_id=call.customer)
            if view.invoice.status == "draft":
                now = clock.business_now(await uow.test_clock(view.invoice.clock_id))
                view = await show_draft(view.invoice, now=now, uow=uow)
            return InvoiceBody.from_view(view)

        return await call.read(work)

    @router.get(
        "/invoices/{invoice_id}/payment-attempts",
        response_model=Page[PaymentAttemptBody],
        tags=["payments"],
        summary="List the payment attempts of an invoice",
    )
    async def list_payment_attempts(invoice_id: InvoiceId, call: PortalRead, page: PageDep) -> Response:
        async def work(uow: BillingUnitOfWork) -> Slice[PaymentAttemptBody]:
            queries = SqlBillingQueries(uow)
            found = await queries.list_attempts(invoice_id, page, customer_id=call.customer)
            return found.map(PaymentAttemptBody.from_domain)

        return await call.page(work)

    @router.post(
        "/invoices/{invoice_id}/payment-attempts",
        status_code=202,
        response_model=PaymentAttemptBody,
        tags=["payments"],
        summary="Try to collect an invoice now",
    )
    async def post_payment_attempt(invoice_id: InvoiceId, call: Make) -> Response:
        """Whatever the schedule says: for instance after the customer gave a new payment method."""

        async def work(uow: BillingUnitOfWork) -> PaymentAttemptBody:
            invoice = await uow.invoices.get_for_update(invoice_id)
            call.require_version(invoice.version)
            now = clock.business_now(await uow.test_clock(invoice.clock_id))
            command = TryPaymentAgain(invoice_id=invoice_id, now=now)
            return PaymentAttemptBody.from_domain(await try_payment_again(command, uow=uow))

        return await call.once(work, status=202)

    return router
