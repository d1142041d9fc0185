"""Routes of coupons."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import Code
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.application import queries
from services.catalog.application.archive_coupon import ArchiveCoupon, archive_coupon
from services.catalog.application.change_coupon import ChangeCoupon, change_coupon
from services.catalog.application.coupon_availability import get_coupon_availability
from services.catalog.application.create_coupon import CreateCoupon, create_coupon
from services.catalog.application.ports import CouponFilter
from services.catalog.entrypoints.coupon_bodies import (
    CouponAvailabilityBody,
    CouponBody,
    CouponChangeBody,
    CouponCreateBody,
    CouponId,
    CustomerId,
)
from services.catalog.entrypoints.dependencies import ClockDep, MakeCall, ReadCall, WriteCall

router = LateRouter(prefix="/v1/coupons", tags=["coupons"])


@router.post("", status_code=201, response_model=CouponBody, summary="Make a coupon")
async def post_coupon(body: CouponCreateBody, call: MakeCall, clock: ClockDep) -> Response:
    """Money off, for whoever redeems it. Every fault is listed."""
    command = CreateCoupon(code=body.code, terms=body.to_terms(), products=tuple(body.products))

    async def work(uow: CatalogUnitOfWork) -> CouponBody:
        return CouponBody.from_domain(await create_coupon(command, uow=uow, clock=clock))

    return await call.once(work, location=lambda made: f"/v1/coupons/{made.id}")


@router.get("", response_model=Page[CouponBody], summary="List coupons")
async def list_coupons(
    call: ReadCall,
    page: PageDep,
    code: Annotated[Code | None, Query()] = None,
    archived: Annotated[bool | None, Query(description="Only archived ones, or only others.")] = None,
) -> Response:
    """Oldest first, archived ones included unless told otherwise."""
    wanted = CouponFilter(code=code, archived=archived)

    async def work(uow: CatalogUnitOfWork) -> Slice[CouponBody]:
        return (await queries.list_coupons(wanted, page, uow=uow)).map(CouponBody.from_domain)

    return await call.page(work)


@router.get("/{coupon_id}", response_model=CouponBody, summary="Show a coupon")
async def get_coupon(coupon_id: CouponId, call: ReadCall) -> Response:
    async def work(uow: CatalogUnitOfWork) -> CouponBody:
        return CouponBody.from_domain(await queries.get_coupon(coupon_id, uow=uow))

    return await call.read(work)


@router.get(
    "/{coupon_id}/availability",
    response_model=CouponAvailabilityBody,
    summary="Show whether a coupon can be redeemed",
)
async def show_coupon_availability(
    coupon_id: CouponId,
    call: ReadCall,
    clock: ClockDep,
    customer_id: Annotated[CustomerId | None, Query()] = None,
) -> Response:
    """As of now, and how often it is redeemed; by the customer, too, if one is named. Nothing is kept for anybody."""

    async def work(uow: CatalogUnitOfWork) -> CouponAvailabilityBody:
        found = await get_coupon_availability(coupon_id, customer_id, uow=uow, clock=clock)
        return CouponAvailabilityBody.from_domain(found)

    return await call.read(work)


@router.patch("/{coupon_id}", response_model=CouponBody, summary="Change a coupon")
async def patch_coupon(
    coupon_id: CouponId, body: CouponChangeBody, call: WriteCall, clock: ClockDep
) -> Response:
    """Whoever redeemed it keeps what it was. What it is worth is fixed once it is redeemed."""
    products = tuple(body.products) if body.products is not None else None
    command = ChangeCoupon(coupon_id=coupon_id, change=body.apply, products=products)

    async def work(uow: CatalogUnitOfWork) -> CouponBody:
        changed = await change_coupon(command, uow=uow, clock=clock, check_version=call.require_version)
        return CouponBody.from_domain(changed)

    return await call.change(work)


@router.post("/{coupon_id}/archival", response_model=CouponBody, summary="Archive a coupon")
async def post_coupon_archival(coupon_id: CouponId, call: WriteCall, clock: ClockDep) -> Response:
    """Nobody can redeem it any more; whoever has it keeps it. Archiving it again changes nothing."""
    command = ArchiveCoupon(coupon_id=coupon_id)

    async def work(uow: CatalogUnitOfWork) -> CouponBody:
        archived = await archive_coupon(command, uow=uow, clock=clock, check_version=call.require_version)
        return CouponBody.from_domain(archived)

    return await call.change(work)
