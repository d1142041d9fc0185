"""Billing profiles over HTTP: how each customer is billed."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.queries import SqlBillingQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.add_payment_method import CustomerNotFound
from services.billing.application.change_billing_profile import change_billing_profile
from services.billing.domain.billing_profile import BillingProfile
from services.billing.entrypoints.bodies import CustomerId
from services.billing.entrypoints.profile_bodies import BillingProfileBody, BillingProfileChangeBody
from services.billing.entrypoints.seller_bodies import SellerId

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
Change = Annotated[Call[BillingUnitOfWork], authorised("billing:write")]


def profile_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1/billing-profiles", tags=["billing profiles"])

    @router.get("", response_model=Page[BillingProfileBody], summary="List billing profiles")
    async def list_billing_profiles(
        call: Read,
        page: PageDep,
        customer_id: Annotated[CustomerId | None, Query()] = None,
        seller_id: Annotated[SellerId | None, Query()] = None,
        gathers: Annotated[bool | None, Query()] = None,
    ) -> Response:
        """Those of customers of whom something was said."""

        async def work(uow: BillingUnitOfWork) -> Slice[BillingProfileBody]:
            queries = SqlBillingQueries(uow)
            found = await queries.list_billing_profiles(
                page, customer_id=customer_id, seller_id=seller_id, gathers=gathers
            )
            return found.map(BillingProfileBody.from_domain)

        return await call.page(work)

    @router.get("/{customer_id}", response_model=BillingProfileBody, summary="Show a billing profile")
    async def get_billing_profile(customer_id: CustomerId, call: Read) -> Response:
        """Every customer has one: in version 0 while nothing was said of him."""

        async def work(uow: BillingUnitOfWork) -> BillingProfileBody:
            profile = await uow.billing_profiles.find(customer_id)
            if profile is None:
                if await uow.customers.find(customer_id) is None:
                    raise CustomerNotFound("no customer has this id")
                profile = BillingProfile(customer_id, created_at=clock.system_now(), version=0)
            return BillingProfileBody.from_domain(profile)

        return await call.read(work)

    @router.put("/{customer_id}", response_model=BillingProfileBody, summary="Say how a customer is billed")
    async def put_billing_profile(
        customer_id: CustomerId, body: BillingProfileChangeBody, call: Change
    ) -> Response:
        """For documents that are issued from now on. A customer made a moment ago is waited for."""
        command = body.to_command(customer_id)

        async def work(uow: BillingUnitOfWork) -> BillingProfileBody:
            profile = await change_billing_profile(
                command, now=clock.system_now(), uow=uow, check_version=call.require_version
            )
            return BillingProfileBody.from_domain(profile)

        return await call.change(work, awaiting=(CustomerNotFound,))

    return router
