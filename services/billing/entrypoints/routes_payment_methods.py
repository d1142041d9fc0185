"""Payment methods over HTTP: added by a token, chosen, replaced, removed."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.persistence.reference import find_tenant_mode
from libs.common.web import etag
from libs.common.web.bodies import BusinessDate
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.gateway_accounts import GatewayAccounts
from services.billing.adapters.queries import SqlBillingQueries
from services.billing.adapters.stripe_gateway import STRIPE
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.add_payment_method import (
    AddPaymentMethod,
    CustomerNotFound,
    TenantNotKnownYet,
    add_payment_method,
    check_gateway,
)
from services.billing.application.choose_default_method import choose_default_method
from services.billing.application.gateway_ports import PaymentGateway
from services.billing.application.remove_payment_method import RemovePaymentMethod, remove_payment_method
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.payment import AcceptedMethod, PaymentMethod, PaymentMethodNotFound
from services.billing.entrypoints.bodies import CustomerId
from services.billing.entrypoints.payment_method_bodies import (
    NewPaymentMethodBody,
    PaymentMethodBody,
    PaymentMethodChangesBody,
    PaymentMethodId,
)

PortalRead = Annotated[Call[BillingUnitOfWork], authorised("billing:read", portal=True)]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]
Change = Annotated[Call[BillingUnitOfWork], authorised("billing:write")]
Awaited = (CustomerNotFound, TenantNotKnownYet)


def payment_method_router(clock: Clock, *, accounts: GatewayAccounts, stripe: PaymentGateway) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1", tags=["payments"])

    @router.post(
        "/payment-methods",
        status_code=201,
        response_model=PaymentMethodBody,
        summary="Add a payment method",
    )
    async def post_payment_method(body: NewPaymentMethodBody, call: Make) -> Response:
        """It becomes the customer's default. A customer made a moment ago is waited for.

        A token of Stripe's is looked at there first, and put to the customer if it is nobody's yet. Of one that it
        replaces, Stripe lets go afterwards.
        """
        accepted = await _accept(body, call)
        account = accounts.find(call.tenant, accepted.account) if accepted is not None else None

        async def work(uow: BillingUnitOfWork) -> PaymentMethodBody:
            command = AddPaymentMethod(
                customer_id=body.customer_id,
                gateway=body.gateway,
                behaviour=body.behaviour or ("succeeds" if body.gateway == "sandbox" else None),
                tenant_mode=await find_tenant_mode(uow),
                token=body.token,
                accepted=accepted,
                account_mode=account.mode if account is not None else None,
                replaces_id=body.replaces,
            )
            customer = await uow.customers.find(body.customer_id)
            lives_by = None if customer is None else await uow.test_clock(customer.clock_id)
            method = await add_payment_method(
                command, now=clock.system_now(), business_now=clock.business_now(lives_by), uow=uow
            )
            return PaymentMethodBody.from_domain(method)

        answer = await call.once(
            work, location=lambda method: f"/v1/payment-methods/{method.id}", awaiting=Awaited
        )
        if body.replaces is not None:
            await _release(body.replaces, call)
        return answer

    async def _release(replaced_id: str, call: Call[BillingUnitOfWork]) -> None:
        """A repeat of the whole request repeats this too. Not of a token by which the customer still pays."""

        async def find_released(uow: BillingUnitOfWork) -> PaymentMethod | None:
            replaced = await uow.payment_methods.find(replaced_id)
            if replaced is None or replaced.removed_at is None or replaced.gateway != STRIPE:
                return None
            assert replaced.account is not None, "one of Stripe's is of an account"
            assert replaced.token is not None, "and known by its token"
            same = await uow.payment_methods.find_by_token(
                gateway=STRIPE, account=replaced.account, token=replaced.token
            )
            return replaced if same is None else None

        released = await call.run(find_released)
        if released is not None:
            await stripe.release_method(tenant=call.tenant, method=released)

    async def _accept(body: NewPaymentMethodBody, call: Call[BillingUnitOfWork]) -> AcceptedMethod | None:
        """Outside of transactions; a repeat finds the same. Nothing is asked for whom nobody knows."""
        if body.token is None:
            return None
        account = accounts.get(call.tenant, body.account)

        async def find_known(uow: BillingUnitOfWork) -> str | None:
            mode = await find_tenant_mode(uow)
            check_gateway(body.gateway, tenant_mode=mode, account_mode=account.mode)
            if await uow.customers.find(body.customer_id) is None:
                raise CustomerNotFound("no customer has this id", pointer="/customer_id")
            theirs = await uow.payment_methods.of_customer(body.customer_id)
            same = [m for m in theirs if (m.gateway, m.account) == (body.gateway, account.code)]
            return same[0].gateway_customer if same else None

        known = await call.run(find_known, awaiting=Awaited)
        return await stripe.accept_method(
            tenant=call.tenant,
            account=account.code,
            token=body.token,
            customer_id=body.customer_id,
            gateway_customer=known,
        )

    @router.get("/payment-methods", response_model=Page[PaymentMethodBody], summary="List payment methods")
    async def list_payment_methods(
        call: PortalRead,
        page: PageDep,
        customer_id: Annotated[CustomerId | None, Query()] = None,
        expiring_by: Annotated[BusinessDate | None, Query()] = None,
    ) -> Response:
        """`expiring_by`: cards that hold no longer than until the end of that day's month."""

        async def work(uow: BillingUnitOfWork) -> Slice[PaymentMethodBody]:
            if call.customer is not None and customer_id not in (None, call.customer):
                return Slice(items=())
            found = await SqlBillingQueries(uow).list_payment_methods(
                page, customer_id=call.customer or customer_id, expiring_by=expiring_by
            )
            return found.map(PaymentMethodBody.from_domain)

        return await call.page(work)

    @router.get(
        "/payment-methods/{payment_method_id}",
        response_model=PaymentMethodBody,
        summary="Show a payment method",
    )
    async def get_payment_method(payment_method_id: PaymentMethodId, call: PortalRead) -> Response:
        async def work(uow: BillingUnitOfWork) -> PaymentMethodBody:
            queries = SqlBillingQueries(uow)
            method = await queries.get_payment_method(payment_method_id, customer_id=call.customer)
            return PaymentMethodBody.from_domain(method)

        return await call.read(work)

    @router.patch(
        "/payment-methods/{payment_method_id}",
        response_model=PaymentMethodBody,
        summary="Choose the default payment method",
    )
    async def patch_payment_method(
        payment_method_id: PaymentMethodId, body: PaymentMethodChangesBody, call: Change
    ) -> Response:
        """Payments that are under way go on with the one that they began with."""

        async def work(uow: BillingUnitOfWork) -> PaymentMethodBody:
            method, _ = await _locked(payment_method_id, uow)
            call.require_version(method.version)
            return PaymentMethodBody.from_domain(await choose_default_method(method, uow=uow))

        return await call.change(work)

    @router.delete("/payment-methods/{payment_method_id}", status_code=204, summary="Remove a payment method")
    async def delete_payment_method(payment_method_id: PaymentMethodId, call: Change) -> Response:
        """The newest of the customer's others becomes the default. Payments that are under way go on with this one.

        Stripe lets go of it first: should nobody write that down here, its event brings about the same.
        """

        async def find_known(uow: BillingUnitOfWork) -> PaymentMethod:
            method, _ = await _locked(payment_method_id, uow)
            call.require_version(method.version)
            return method

        etag.check_named(call.request)  # before anything happens elsewhere
        known = await call.run(find_known)
        if known.gateway == STRIPE:
            await stripe.release_method(tenant=call.tenant, method=known)

        async def work(uow: BillingUnitOfWork) -> None:
            method, customer = await _known(payment_method_id, uow)
            if method.removed_at is not None:
                return  # Stripe's event was quicker
            call.require_version(method.version)
            business_now = clock.business_now(await uow.test_clock(customer.clock_id))
            command = RemovePaymentMethod(method, customer, clock.system_now(), business_now)
            await remove_payment_method(command, uow=uow)

        return await call.change(work)

    return router


async def _locked(id: str, uow: BillingUnitOfWork) -> tuple[PaymentMethod, CustomerDetails]:
    """Raises: PaymentMethodNotFound, also of one that was removed."""
    method, customer = await _known(id, uow)
    if method.removed_at is not None:
        raise PaymentMethodNotFound("no payment method has this id")
    return method, customer


async def _known(id: str, uow: BillingUnitOfWork) -> tuple[PaymentMethod, CustomerDetails]:
    """Locked, the customer first. Raises: PaymentMethodNotFound."""
    known = await SqlBillingQueries(uow).get_payment_method(id, customer_id=None)
    customer = await uow.customers.find_for_update(known.customer_id)
    assert customer is not None, "a payment method was added for somebody"
    return await uow.payment_methods.get_for_update(id), customer
