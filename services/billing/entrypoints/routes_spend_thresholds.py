"""Spend thresholds over HTTP: from which amount of usage on a subscription is billed before its period is over."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.gather_simulation import SubscriptionUnknown
from services.billing.application.set_spend_threshold import (
    SetSpendThreshold,
    no_threshold,
    set_spend_threshold,
)
from services.billing.entrypoints.billing_run_bodies import SpendThresholdBody, SpendThresholdChangeBody
from services.billing.entrypoints.bodies import CustomerId, SubscriptionId

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
PortalRead = Annotated[Call[BillingUnitOfWork], authorised("billing:read", portal=True)]
Change = Annotated[Call[BillingUnitOfWork], authorised("billing:write")]


def spend_threshold_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1/spend-thresholds", tags=["spend thresholds"])

    @router.get("", response_model=Page[SpendThresholdBody], summary="List spend thresholds")
    async def list_spend_thresholds(
        call: PortalRead, page: PageDep, customer_id: Annotated[CustomerId | None, Query()] = None
    ) -> Response:
        async def work(uow: BillingUnitOfWork) -> Slice[SpendThresholdBody]:
            if call.customer is not None and customer_id not in (None, call.customer):
                return Slice(items=())
            wanted = call.customer or customer_id
            found = await uow.spend_thresholds.list_thresholds(page, customer_id=wanted)
            return found.map(SpendThresholdBody.from_domain)

        return await call.page(work)

    @router.get("/{subscription_id}", response_model=SpendThresholdBody, summary="Show a spend threshold")
    async def get_spend_threshold(subscription_id: SubscriptionId, call: Read) -> Response:
        """Every subscription has one: in version 0, without an amount, while nothing was said of it."""

        async def work(uow: BillingUnitOfWork) -> SpendThresholdBody:
            threshold = await uow.spend_thresholds.find(subscription_id)
            if threshold is None:
                agreement = await uow.agreements.find(subscription_id)
                if agreement is None:
                    raise SubscriptionUnknown("no subscription has this id")
                threshold = no_threshold(agreement, now=clock.system_now())
            return SpendThresholdBody.from_domain(threshold)

        return await call.read(work)

    @router.put("/{subscription_id}", response_model=SpendThresholdBody, summary="Set a spend threshold")
    async def put_spend_threshold(
        subscription_id: SubscriptionId, body: SpendThresholdChangeBody, call: Change
    ) -> Response:
        """Usage is looked at at once, and then again and again. What was invoiced stays invoiced when it is lifted."""
        command = SetSpendThreshold(subscription_id, body.amount.to_money() if body.amount else None)

        async def work(uow: BillingUnitOfWork) -> SpendThresholdBody:
            agreement = await uow.agreements.find_for_update(subscription_id)
            clock_id = None if agreement is None else agreement.clock_id
            now = clock.business_now(await uow.test_clock(clock_id))
            threshold = await set_spend_threshold(
                command, now=now, uow=uow, check_version=call.require_version
            )
            return SpendThresholdBody.from_domain(threshold)

        return await call.change(work, awaiting=(SubscriptionUnknown,))

    return router
