"""Customer balances over HTTP: what is owed to whom, how it came to that, and goodwill."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.web.bodies import Currency
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.queries import SqlBillingQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.add_payment_method import CustomerNotFound
from services.billing.application.adjust_customer_balance import adjust_customer_balance
from services.billing.entrypoints.balance_bodies import (
    BalanceEntryBody,
    BalanceId,
    CustomerBalanceBody,
    NewBalanceAdjustmentBody,
)
from services.billing.entrypoints.bodies import CustomerId

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
PortalRead = Annotated[Call[BillingUnitOfWork], authorised("billing:read", portal=True)]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]


def balance_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1", tags=["customer balances"])

    @router.get(
        "/customer-balances", response_model=Page[CustomerBalanceBody], summary="List customer balances"
    )
    async def list_customer_balances(
        call: PortalRead,
        page: PageDep,
        customer_id: Annotated[CustomerId | None, Query()] = None,
        currency: Annotated[Currency | None, Query()] = None,
    ) -> Response:
        """One for each customer and currency in which something was ever owed to him; also those of nothing."""

        async def work(uow: BillingUnitOfWork) -> Slice[CustomerBalanceBody]:
            if call.customer is not None and customer_id not in (None, call.customer):
                return Slice(items=())
            found = await SqlBillingQueries(uow).list_customer_balances(
                page, customer_id=call.customer or customer_id, currency=currency
            )
            return found.map(CustomerBalanceBody.from_domain)

        return await call.page(work)

    @router.get(
        "/customer-balances/adjustments",
        response_model=Page[BalanceEntryBody],
        summary="List the adjustments of customer balances",
    )
    async def list_balance_adjustments(
        call: Read, page: PageDep, customer_id: Annotated[CustomerId | None, Query()] = None
    ) -> Response:
        """What was given or taken back by hand, and why; of all customers, oldest first."""

        async def work(uow: BillingUnitOfWork) -> Slice[BalanceEntryBody]:
            found = await SqlBillingQueries(uow).list_adjustments(page, customer_id=customer_id)
            return found.map(BalanceEntryBody.from_domain)

        return await call.page(work)

    @router.get(
        "/customer-balances/{customer_balance_id}",
        response_model=CustomerBalanceBody,
        summary="Show a customer balance",
    )
    async def get_customer_balance(customer_balance_id: BalanceId, call: PortalRead) -> Response:
        async def work(uow: BillingUnitOfWork) -> CustomerBalanceBody:
            queries = SqlBillingQueries(uow)
            return CustomerBalanceBody.from_domain(
                await queries.get_customer_balance(customer_balance_id, customer_id=call.customer)
            )

        return await call.read(work)

    @router.get(
        "/customer-balances/{customer_balance_id}/entries",
        response_model=Page[BalanceEntryBody],
        summary="List the entries of a customer balance",
    )
    async def list_customer_balance_entries(
        customer_balance_id: BalanceId, call: PortalRead, page: PageDep
    ) -> Response:
        """Oldest first: what documents gave to it and drew on it, and what was adjusted by hand."""

        async def work(uow: BillingUnitOfWork) -> Slice[BalanceEntryBody]:
            found = await SqlBillingQueries(uow).list_balance_entries(
                customer_balance_id, page, customer_id=call.customer
            )
            return found.map(BalanceEntryBody.from_domain)

        return await call.page(work)

    @router.post(
        "/customer-balances/adjustments",
        status_code=201,
        response_model=BalanceEntryBody,
        summary="Adjust a customer balance",
    )
    async def post_balance_adjustment(body: NewBalanceAdjustmentBody, call: Make) -> Response:
        """Goodwill, given or taken back. Invoices that are issued stay as they are: the next ones draw on it."""

        async def work(uow: BillingUnitOfWork) -> BalanceEntryBody:
            command = body.to_command()
            customer = await uow.customers.find(command.customer_id)
            if customer is None:
                raise CustomerNotFound("no customer has this id", pointer="/customer_id")
            known = await uow.customer_balances.find_for_update(command.customer_id, command.amount.currency)
            call.require_version(None if known is None else known.version)
            now = clock.business_now(await uow.test_clock(customer.clock_id))
            entry = await adjust_customer_balance(command, customer=customer, now=now, uow=uow)
            return BalanceEntryBody.from_domain(entry)

        return await call.once(
            work,
            location=lambda entry: f"/v1/customer-balances/{entry.customer_balance_id}",
            awaiting=(CustomerNotFound,),
        )

    return router
