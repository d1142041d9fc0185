"""Payments over HTTP: money that came, what it was put on, and what is taken back."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.web.bodies import BusinessDate
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.payment_queries import PaymentFilter, PaymentQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.add_payment_method import CustomerNotFound
from services.billing.application.enter_payment import (
    TakeAllocationBack,
    allocate_payment,
    check_currency,
    enter_payment,
    take_allocation_back,
)
from services.billing.application.reverse_payment import ReversePayment, reverse_payment
from services.billing.domain.payment_received import Payment, PaymentNotReversible
from services.billing.entrypoints.bodies import CustomerId
from services.billing.entrypoints.credit_note_bodies import InvoiceId
from services.billing.entrypoints.payment_bodies import (
    AllocationId,
    NewAllocationsBody,
    NewPaymentBody,
    PaymentBody,
    PaymentReversalBody,
    PaymentStateText,
    PaymentWayText,
    TakenBackBody,
)
from services.billing.entrypoints.refund_bodies import PaymentId

PortalRead = Annotated[Call[BillingUnitOfWork], authorised("billing:read", portal=True)]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]


def payment_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1/payments", tags=["payments"])

    async def shown(payment: Payment, uow: BillingUnitOfWork) -> PaymentBody:
        await uow.flush()
        return PaymentBody.from_view(await PaymentQueries(uow).get_payment(payment.id, customer_id=None))

    @router.get("", response_model=Page[PaymentBody], summary="List payments")
    async def list_payments(
        call: PortalRead,
        page: PageDep,
        customer_id: Annotated[CustomerId | None, Query()] = None,
        invoice_id: Annotated[InvoiceId | None, Query()] = None,
        state: Annotated[PaymentStateText | None, Query()] = None,
        way: Annotated[PaymentWayText | None, Query()] = None,
        received_from: Annotated[BusinessDate | None, Query()] = None,
        received_to: Annotated[BusinessDate | None, Query()] = None,
        has_unapplied: Annotated[bool | None, Query()] = None,
    ) -> Response:
        """Money that came by any way, in the order in which it was written down; `received_to` is the day after the last.

        With `has_unapplied`, what waits to be put somewhere."""
        wanted = PaymentFilter(
            customer_id=call.customer or customer_id,
            invoice_id=invoice_id,
            state=state,
            way=way,
            received_from=received_from,
            received_to=received_to,
            has_unapplied=has_unapplied,
        )

        async def work(uow: BillingUnitOfWork) -> Slice[PaymentBody]:
            if call.customer is not None and customer_id not in (None, call.customer):
                return Slice(items=())
            found = await PaymentQueries(uow).list_payments(wanted, page)
            return found.map(lambda one: PaymentBody.from_view(one, customer_id=call.customer))

        return await call.page(work)

    @router.get("/{payment_id}", response_model=PaymentBody, summary="Show a payment")
    async def get_payment(payment_id: PaymentId, call: PortalRead) -> Response:
        """With every allocation, those too that were taken back."""

        async def work(uow: BillingUnitOfWork) -> PaymentBody:
            view = await PaymentQueries(uow).get_payment(payment_id, customer_id=call.customer)
            return PaymentBody.from_view(view, customer_id=call.customer)

        return await call.read(work)

    @router.post("", status_code=201, response_model=PaymentBody, summary="Enter a payment")
    async def post_payment(body: NewPaymentBody, call: Make) -> Response:
        """Cash, a cheque, a transfer that is in no bank statement. A waiting try of a gateway asks for less from then on.

        What stands in a bank statement is taken in there instead, else it counts twice."""

        async def work(uow: BillingUnitOfWork) -> PaymentBody:
            customer = await uow.customers.find(body.customer_id)
            if customer is None:
                raise CustomerNotFound("no customer has this id", pointer="/customer_id")
            now = clock.business_now(await uow.test_clock(customer.clock_id))
            payment = await enter_payment(body.to_command(), customer=customer, now=now, uow=uow)
            return await shown(payment, uow)

        return await call.once(
            work, location=lambda made: f"/v1/payments/{made.id}", awaiting=(CustomerNotFound,)
        )

    @router.post(
        "/{payment_id}/allocations", status_code=201, response_model=PaymentBody, summary="Allocate a payment"
    )
    async def post_allocations(payment_id: PaymentId, body: NewAllocationsBody, call: Make) -> Response:
        """Put what is unapplied on invoices, or give it to the customer's balance."""

        async def work(uow: BillingUnitOfWork) -> PaymentBody:
            known = await uow.payments.get(payment_id)
            for part in body.allocations:
                check_currency(None if part.amount is None else part.amount.to_money(), known)
            now = clock.business_now(await uow.test_clock(known.clock_id))
            payment = await allocate_payment(body.to_command(payment_id, now), uow=uow)
            return await shown(payment, uow)

        return await call.once(work, location=lambda made: f"/v1/payments/{made.id}")

    @router.post(
        "/{payment_id}/allocations/{allocation_id}/take-back",
        status_code=201,
        response_model=PaymentBody,
        summary="Take an allocation back",
    )
    async def post_take_back(
        payment_id: PaymentId, allocation_id: AllocationId, body: TakenBackBody, call: Make
    ) -> Response:
        """The money stays, and is unapplied; the invoice is due again by as much."""

        async def work(uow: BillingUnitOfWork) -> PaymentBody:
            known = await uow.payments.get(payment_id)
            amount = None if body.amount is None else body.amount.to_money()
            check_currency(amount, known)
            now = clock.business_now(await uow.test_clock(known.clock_id))
            command = TakeAllocationBack(payment_id, allocation_id, body.reason, now, amount)
            return await shown(await take_allocation_back(command, uow=uow), uow)

        return await call.once(work, location=lambda made: f"/v1/payments/{made.id}")

    @router.post(
        "/{payment_id}/reversals", status_code=201, response_model=PaymentBody, summary="Reverse a payment"
    )
    async def post_reversal(payment_id: PaymentId, body: PaymentReversalBody, call: Make) -> Response:
        """For money that was entered by mistake: what it paid is due again. What a gateway took is refunded instead, and
        what stands in a bank statement is ignored there."""

        async def work(uow: BillingUnitOfWork) -> PaymentBody:
            known = await uow.payments.get(payment_id)
            amount = None if body.amount is None else body.amount.to_money()
            check_currency(amount, known)
            _check_entered_by_hand(known)
            now = clock.business_now(await uow.test_clock(known.clock_id))
            command = ReversePayment(payment_id, amount, cause="mistake", reason=body.reason, now=now)
            return await shown(await reverse_payment(command, uow=uow), uow)

        return await call.once(work, location=lambda made: f"/v1/payments/{made.id}")

    return router


def _check_entered_by_hand(payment: Payment) -> None:
    """Raises: PaymentNotReversible."""
    if payment.attempt_id is not None:
        raise PaymentNotReversible(
            "a gateway has the money",
            remedy="Give it back: credit the invoice with a refund, POST /v1/credit-notes.",
        )
    if payment.entry_id is not None:
        raise PaymentNotReversible(
            "a bank statement says that it came",
            remedy=f"Take it back there: POST /v1/bank-statement-entries/{payment.entry_id}/unmatch, then …/ignore.",
        )
