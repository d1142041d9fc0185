"""Billing over HTTP: payment methods, invoices with their reasons, the ledger."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.persistence.reference import find_tenant_mode
from libs.common.web.bodies import BusinessDate, ExternalId, Instant, identifier
from libs.common.web.calls import Call, authorised
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.queries import SqlBillingQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.add_payment_method import (
    AddPaymentMethod,
    CustomerNotFound,
    TenantNotKnownYet,
    add_payment_method,
)
from services.billing.application.queries import InvoiceFilter
from services.billing.application.remove_payment_method import RemovePaymentMethod, remove_payment_method
from services.billing.application.show_draft import show_draft
from services.billing.application.try_payment_again import TryPaymentAgain, try_payment_again
from services.billing.domain.payment import PaymentMethodNotFound
from services.billing.entrypoints.bodies import (
    CustomerId,
    DocumentKindText,
    InvoiceBody,
    InvoiceStatusText,
    InvoiceSummaryBody,
    NewPaymentMethodBody,
    PaymentAttemptBody,
    PaymentMethodBody,
    SubscriptionId,
)
from services.billing.entrypoints.seller_bodies import SellerId

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
PortalRead = Annotated[Call[BillingUnitOfWork], authorised("billing:read", portal=True)]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]
Change = Annotated[Call[BillingUnitOfWork], authorised("billing:write")]
InvoiceId = Annotated[str, identifier("inv")]


def _is_for_another(call: Call[BillingUnitOfWork], customer_id: str | None) -> bool:
    """Whether a portal token asks for a customer who is not its own: nothing of theirs is there for it."""
    return call.customer is not None and customer_id not in (None, call.customer)


def billing_router(clock: Clock) -> APIRouter:
    """The routes, on the clock of the process."""
    router = APIRouter(prefix="/v1")

    @router.post(
        "/payment-methods",
        status_code=201,
        response_model=PaymentMethodBody,
        tags=["payments"],
        summary="Add a payment method",
    )
    async def post_payment_method(body: NewPaymentMethodBody, call: Make) -> Response:
        """It becomes the customer's default. A customer made a moment ago is waited for."""

        async def work(uow: BillingUnitOfWork) -> PaymentMethodBody:
            command = AddPaymentMethod(
                customer_id=body.customer_id,
                gateway=body.gateway,
                behaviour=body.behaviour,
                tenant_mode=await find_tenant_mode(uow),
            )
            customer = await uow.customers.find(body.customer_id)
            lives_by = None if customer is None else await uow.test_clock(customer.clock_id)
            method = await add_payment_method(
                command, now=clock.system_now(), business_now=clock.business_now(lives_by), uow=uow
            )
            return PaymentMethodBody.from_domain(method)

        return await call.once(
            work,
            location=lambda method: f"/v1/payment-methods/{method.id}",
            awaiting=(CustomerNotFound, TenantNotKnownYet),
        )

    @router.get(
        "/payment-methods",
        response_model=Page[PaymentMethodBody],
        tags=["payments"],
        summary="List payment methods",
    )
    async def list_payment_methods(
        call: PortalRead, page: PageDep, customer_id: Annotated[CustomerId | None, Query()] = None
    ) -> Response:
        async def work(uow: BillingUnitOfWork) -> Slice[PaymentMethodBody]:
            if _is_for_another(call, customer_id):
                return Slice(items=())
            found = await SqlBillingQueries(uow).list_payment_methods(
                page, customer_id=call.customer or customer_id
            )
            return found.map(PaymentMethodBody.from_domain)

        return await call.page(work)

    @router.get(
        "/payment-methods/{payment_method_id}",
        response_model=PaymentMethodBody,
        tags=["payments"],
        summary="Show a payment method",
    )
    async def get_payment_method(
        payment_method_id: Annotated[str, identifier("pm")], call: PortalRead
    ) -> Response:
        async def work(uow: BillingUnitOfWork) -> PaymentMethodBody:
            queries = SqlBillingQueries(uow)
            method = await queries.get_payment_method(payment_method_id, customer_id=call.customer)
            return PaymentMethodBody.from_domain(method)

        return await call.read(work)

    @router.delete(
        "/payment-methods/{payment_method_id}",
        status_code=204,
        tags=["payments"],
        summary="Remove a payment method",
    )
    async def delete_payment_method(
        payment_method_id: Annotated[str, identifier("pm")], call: Change
    ) -> Response:
        """The newest of the customer's others becomes the default. Payments that are under way go on with this one."""

        async def work(uow: BillingUnitOfWork) -> None:
            known = await SqlBillingQueries(uow).get_payment_method(payment_method_id, customer_id=None)
            customer = await uow.customers.find_for_update(known.customer_id)
            assert customer is not None, "a payment method was added for somebody"
            method = await uow.payment_methods.get_for_update(payment_method_id)
            if method.removed_at is not None:
                raise PaymentMethodNotFound("no payment method has this id")
            call.require_version(method.version)
            business_now = clock.business_now(await uow.test_clock(customer.clock_id))
            command = RemovePaymentMethod(method, customer, clock.system_now(), business_now)
            await remove_payment_method(command, uow=uow)

        return await call.change(work)

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
