"""Refunds over HTTP: what is to be given back, what became of it, and what a person does about it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.refund_queries import RefundQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.add_payment_method import CustomerNotFound
from services.billing.application.request_refund import RefundBalance, refund_balance
from services.billing.application.settle_refund import (
    CheckVersion,
    cancel_refund,
    pay_refund_by_hand,
    try_refund_again,
)
from services.billing.domain.refund import Refund
from services.billing.entrypoints.bodies import CustomerId
from services.billing.entrypoints.credit_note_bodies import CreditNoteId, InvoiceId
from services.billing.entrypoints.deposit_bodies import DepositId
from services.billing.entrypoints.refund_bodies import (
    NewRefundBody,
    PaidRefundBody,
    PaymentId,
    RefundBody,
    RefundId,
    RefundsBody,
    RefundStateText,
)

PortalRead = Annotated[Call[BillingUnitOfWork], authorised("billing:read", portal=True)]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]

Settle = Callable[[datetime, BillingUnitOfWork, CheckVersion], Awaitable[Refund]]


def refund_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1/refunds", tags=["refunds"])

    async def settle(refund_id: str, call: Call[BillingUnitOfWork], how: Settle) -> Response:
        """What a person does about one refund, in its business now."""

        async def work(uow: BillingUnitOfWork) -> RefundBody:
            known = await uow.refunds.get(refund_id)
            now = clock.business_now(await uow.test_clock(known.clock_id))
            return RefundBody.from_domain(await how(now, uow, call.require_version))

        return await call.once(work, location=lambda refund: f"/v1/refunds/{refund.id}")

    @router.post("", status_code=201, response_model=RefundsBody, summary="Refund a customer's balance")
    async def post_refund(body: NewRefundBody, call: Make) -> Response:
        """What an invoice billed is given back by a credit note, and a deposit by its release: this is for balances."""

        async def work(uow: BillingUnitOfWork) -> RefundsBody:
            customer = await uow.customers.find(body.customer_id)
            if customer is None:
                raise CustomerNotFound("no customer has this id", pointer="/customer_id")
            now = clock.business_now(await uow.test_clock(customer.clock_id))
            command = RefundBalance(
                body.customer_id, body.amount.to_money(), body.reason, now, body.payment_id
            )
            refunds = await refund_balance(command, customer=customer, uow=uow)
            return RefundsBody(data=[RefundBody.from_domain(refund) for refund in refunds])

        return await call.once(work, awaiting=(CustomerNotFound,))

    @router.get("", response_model=Page[RefundBody], summary="List refunds")
    async def list_refunds(
        call: PortalRead,
        page: PageDep,
        customer_id: Annotated[CustomerId | None, Query()] = None,
        invoice_id: Annotated[InvoiceId | None, Query()] = None,
        credit_note_id: Annotated[CreditNoteId | None, Query()] = None,
        deposit_id: Annotated[DepositId | None, Query()] = None,
        payment_id: Annotated[PaymentId | None, Query()] = None,
        state: Annotated[RefundStateText | None, Query()] = None,
    ) -> Response:
        """Those with the state `manual` wait for a person."""

        async def work(uow: BillingUnitOfWork) -> Slice[RefundBody]:
            if call.customer is not None and customer_id not in (None, call.customer):
                return Slice(items=())
            found = await RefundQueries(uow).list_refunds(
                page,
                customer_id=call.customer or customer_id,
                invoice_id=invoice_id,
                credit_note_id=credit_note_id,
                deposit_id=deposit_id,
                payment_id=payment_id,
                state=state,
            )
            return found.map(RefundBody.from_domain)

        return await call.page(work)

    @router.get("/{refund_id}", response_model=RefundBody, summary="Show a refund")
    async def get_refund(refund_id: RefundId, call: PortalRead) -> Response:
        async def work(uow: BillingUnitOfWork) -> RefundBody:
            return RefundBody.from_domain(
                await RefundQueries(uow).get_refund(refund_id, customer_id=call.customer)
            )

        return await call.read(work)

    @router.post(
        "/{refund_id}/retry", status_code=201, response_model=RefundBody, summary="Try a refund again"
    )
    async def post_refund_retry(refund_id: RefundId, call: Make) -> Response:
        """Now, whatever the schedule says; never beside a try whose outcome is not known."""
        return await settle(
            refund_id,
            call,
            lambda now, uow, check: try_refund_again(refund_id, now=now, uow=uow, check_version=check),
        )

    @router.post(
        "/{refund_id}/paid", status_code=201, response_model=RefundBody, summary="Say that a refund was paid"
    )
    async def post_refund_paid(refund_id: RefundId, body: PaidRefundBody, call: Make) -> Response:
        """By hand, as by a bank transfer. The gateway is not asked any more."""
        return await settle(
            refund_id,
            call,
            lambda now, uow, check: pay_refund_by_hand(
                refund_id, body.reference, now=now, uow=uow, check_version=check
            ),
        )

    @router.post(
        "/{refund_id}/cancel",
        status_code=201,
        response_model=RefundBody,
        summary="Give to the balance what was to be refunded",
    )
    async def post_refund_cancel(refund_id: RefundId, call: Make) -> Response:
        """No money moves: the customer's next invoices are paid from it first."""
        return await settle(
            refund_id,
            call,
            lambda now, uow, check: cancel_refund(refund_id, now=now, uow=uow, check_version=check),
        )

    return router
