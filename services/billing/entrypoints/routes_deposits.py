"""Deposits and compensation notes over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.money import CurrencyMismatch
from libs.common.paging import Slice
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.credit_note_queries import CreditNoteQueries
from services.billing.adapters.queries import SqlBillingQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.add_payment_method import CustomerNotFound
from services.billing.application.gather_simulation import SubscriptionUnknown
from services.billing.application.issue_compensation_note import issue_compensation_note
from services.billing.application.make_deposit import make_deposit
from services.billing.application.settle_deposit import (
    CaptureDeposit,
    ReleaseDeposit,
    SetOffDeposit,
    capture_deposit,
    release_deposit,
    set_off_deposit,
)
from services.billing.domain.agreement import CustomerDetails
from services.billing.entrypoints.bodies import CustomerId, InvoiceBody, SubscriptionId
from services.billing.entrypoints.credit_note_bodies import PositiveMoney
from services.billing.entrypoints.deposit_bodies import (
    DepositBody,
    DepositCaptureBody,
    DepositId,
    DepositReleaseBody,
    DepositSetOffBody,
    DepositStateText,
    NewCompensationNoteBody,
    NewDepositBody,
)

PortalRead = Annotated[Call[BillingUnitOfWork], authorised("billing:read", portal=True)]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]


AWAITED = (CustomerNotFound, SubscriptionUnknown)


def deposit_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1")

    async def customer_of(
        customer_id: str, subscription_id: str | None, uow: BillingUnitOfWork
    ) -> tuple[CustomerDetails, datetime]:
        """Who it is, and what time it is for him; a subscription that is named is one of his."""
        customer = await uow.customers.find(customer_id)
        if customer is None:
            raise CustomerNotFound("no customer has this id", pointer="/customer_id")
        if subscription_id is not None:
            agreement = await uow.agreements.find(subscription_id)
            if agreement is None or customer_id not in [party.id for party in agreement.parties]:
                raise SubscriptionUnknown("the customer has no such subscription", pointer="/subscription_id")
        return customer, clock.business_now(await uow.test_clock(customer.clock_id))

    async def now_of(deposit_id: str, amount: PositiveMoney | None, uow: BillingUnitOfWork) -> datetime:
        """The deposit's business now; its amounts are in its currency."""
        deposit = await uow.deposits.get(deposit_id)
        if amount is not None and amount.currency != deposit.amount.currency:
            raise CurrencyMismatch(
                "the deposit is in another currency",
                pointer="/amount/currency",
                one=deposit.amount.currency,
                other=amount.currency,
            )
        return clock.business_now(await uow.test_clock(deposit.clock_id))

    @router.post(
        "/deposits", status_code=201, response_model=DepositBody, tags=["deposits"], summary="Make a deposit"
    )
    async def post_deposit(body: NewDepositBody, call: Make) -> Response:
        """Security that is owed back to the customer. A customer made a moment ago is waited for."""

        async def work(uow: BillingUnitOfWork) -> DepositBody:
            customer, now = await customer_of(body.customer_id, body.subscription_id, uow)
            return DepositBody.from_domain(
                await make_deposit(body.to_command(), customer=customer, now=now, uow=uow)
            )

        return await call.once(work, location=lambda made: f"/v1/deposits/{made.id}", awaiting=AWAITED)

    @router.get("/deposits", response_model=Page[DepositBody], tags=["deposits"], summary="List deposits")
    async def list_deposits(
        call: PortalRead,
        page: PageDep,
        customer_id: Annotated[CustomerId | None, Query()] = None,
        subscription_id: Annotated[SubscriptionId | None, Query()] = None,
        state: Annotated[DepositStateText | None, Query()] = None,
    ) -> Response:
        async def work(uow: BillingUnitOfWork) -> Slice[DepositBody]:
            if call.customer is not None and customer_id not in (None, call.customer):
                return Slice(items=())
            found = await CreditNoteQueries(uow).list_deposits(
                page,
                customer_id=call.customer or customer_id,
                subscription_id=subscription_id,
                state=state,
            )
            return found.map(DepositBody.from_domain)

        return await call.page(work)

    @router.get(
        "/deposits/{deposit_id}", response_model=DepositBody, tags=["deposits"], summary="Show a deposit"
    )
    async def get_deposit(deposit_id: DepositId, call: PortalRead) -> Response:
        async def work(uow: BillingUnitOfWork) -> DepositBody:
            found = await CreditNoteQueries(uow).get_deposit(deposit_id, customer_id=call.customer)
            return DepositBody.from_domain(found)

        return await call.read(work)

    @router.post(
        "/deposits/{deposit_id}/captures",
        status_code=201,
        response_model=DepositBody,
        tags=["deposits"],
        summary="Capture a deposit that is held",
    )
    async def post_deposit_capture(deposit_id: DepositId, body: DepositCaptureBody, call: Make) -> Response:
        """Say that the money was taken, in full or in part. It is owed to the customer from now on."""

        async def work(uow: BillingUnitOfWork) -> DepositBody:
            now = await now_of(deposit_id, body.amount, uow)
            amount = None if body.amount is None else body.amount.to_money()
            command = CaptureDeposit(deposit_id, now, amount)
            return DepositBody.from_domain(
                await capture_deposit(command, uow=uow, check_version=call.require_version)
            )

        return await call.once(work, location=lambda made: f"/v1/deposits/{made.id}")

    @router.post(
        "/deposits/{deposit_id}/releases",
        status_code=201,
        response_model=DepositBody,
        tags=["deposits"],
        summary="Give a deposit back",
    )
    async def post_deposit_release(deposit_id: DepositId, body: DepositReleaseBody, call: Make) -> Response:
        """All that remains, or a part of it: a refund is made. One that is held ends without any."""

        async def work(uow: BillingUnitOfWork) -> DepositBody:
            now = await now_of(deposit_id, body.amount, uow)
            amount = None if body.amount is None else body.amount.to_money()
            command = ReleaseDeposit(deposit_id, body.reason, now, amount)
            return DepositBody.from_domain(
                await release_deposit(command, uow=uow, check_version=call.require_version)
            )

        return await call.once(work, location=lambda made: f"/v1/deposits/{made.id}")

    @router.post(
        "/deposits/{deposit_id}/set-offs",
        status_code=201,
        response_model=DepositBody,
        tags=["deposits"],
        summary="Keep a part of a deposit against a document",
    )
    async def post_deposit_set_off(deposit_id: DepositId, body: DepositSetOffBody, call: Make) -> Response:
        """Against a compensation note, or any document where the deposit allows it. It is paid by as much."""

        async def work(uow: BillingUnitOfWork) -> DepositBody:
            now = await now_of(deposit_id, body.amount, uow)
            amount = None if body.amount is None else body.amount.to_money()
            command = SetOffDeposit(deposit_id, body.invoice_id, now, amount)
            return DepositBody.from_domain(
                await set_off_deposit(command, uow=uow, check_version=call.require_version)
            )

        return await call.once(work, location=lambda made: f"/v1/deposits/{made.id}")

    @router.post(
        "/compensation-notes",
        status_code=201,
        response_model=InvoiceBody,
        tags=["deposits"],
        summary="Issue a compensation note",
    )
    async def post_compensation_note(body: NewCompensationNoteBody, call: Make) -> Response:
        """For damage or loss: no supply, no tax. It is paid like an invoice, or out of a deposit."""

        async def work(uow: BillingUnitOfWork) -> InvoiceBody:
            customer, now = await customer_of(body.customer_id, body.subscription_id, uow)
            note = await issue_compensation_note(body.to_command(), customer=customer, now=now, uow=uow)
            await uow.flush()
            view = await SqlBillingQueries(uow).get_invoice(note.id, customer_id=None)
            return InvoiceBody.from_view(view)

        return await call.once(work, location=lambda note: f"/v1/invoices/{note.id}", awaiting=AWAITED)

    return router
