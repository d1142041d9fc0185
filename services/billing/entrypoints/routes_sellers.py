"""Sellers over HTTP: who issues documents, and how."""

from __future__ import annotations

from typing import Annotated

from starlette.responses import Response

from libs.common.clock import Clock
from libs.common.paging import Slice
from libs.common.web.calls import Call, authorised
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.billing.adapters.queries import SqlBillingQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.change_seller import ChangeSeller, change_seller
from services.billing.application.choose_default_seller import choose_default_seller
from services.billing.application.create_seller import create_seller
from services.billing.entrypoints.seller_bodies import (
    NewSellerBody,
    SellerBody,
    SellerChangeBody,
    SellerId,
)

Read = Annotated[Call[BillingUnitOfWork], authorised("billing:read")]
Make = Annotated[Call[BillingUnitOfWork], authorised("billing:write", once="required")]
Change = Annotated[Call[BillingUnitOfWork], authorised("billing:write")]


def seller_router(clock: Clock) -> LateRouter:
    """The routes, on the clock of the process."""
    router = LateRouter(prefix="/v1/sellers", tags=["sellers"])

    @router.post("", status_code=201, response_model=SellerBody, summary="Add a seller")
    async def post_seller(body: NewSellerBody, call: Make) -> Response:
        """The legal entity that issues invoices. The first is the default; drafts that waited are finalized."""

        async def work(uow: BillingUnitOfWork) -> SellerBody:
            seller = await create_seller(body.to_command(), now=clock.system_now(), uow=uow)
            return SellerBody.from_domain(seller)

        return await call.once(work, location=lambda seller: f"/v1/sellers/{seller.id}")

    @router.get("", response_model=Page[SellerBody], summary="List sellers")
    async def list_sellers(call: Read, page: PageDep) -> Response:
        async def work(uow: BillingUnitOfWork) -> Slice[SellerBody]:
            return (await SqlBillingQueries(uow).list_sellers(page)).map(SellerBody.from_domain)

        return await call.page(work)

    @router.get("/{seller_id}", response_model=SellerBody, summary="Show a seller")
    async def get_seller(seller_id: SellerId, call: Read) -> Response:
        async def work(uow: BillingUnitOfWork) -> SellerBody:
            return SellerBody.from_domain(await uow.sellers.get(seller_id))

        return await call.read(work)

    @router.patch("/{seller_id}", response_model=SellerBody, summary="Change a seller")
    async def patch_seller(seller_id: SellerId, body: SellerChangeBody, call: Change) -> Response:
        """For documents that are issued from now on. Send the seller's ETag in If-Match."""
        command = ChangeSeller(seller_id, body.changes())

        async def work(uow: BillingUnitOfWork) -> SellerBody:
            changed = await change_seller(command, uow=uow, check_version=call.require_version)
            return SellerBody.from_domain(changed)

        return await call.change(work)

    @router.post("/{seller_id}/default", response_model=SellerBody, summary="Make a seller the default")
    async def post_default_seller(seller_id: SellerId, call: Change) -> Response:
        """He issues all that is issued from now on, but for customers whose billing profile names another seller."""

        async def work(uow: BillingUnitOfWork) -> SellerBody:
            chosen = await choose_default_seller(seller_id, uow=uow, check_version=call.require_version)
            return SellerBody.from_domain(chosen)

        return await call.change(work)

    return router
