"""Routes of redemptions: who has which coupon."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.application import queries
from services.catalog.application.ports import RedemptionFilter
from services.catalog.application.redeem_coupon import RedeemCoupon, redeem_coupon
from services.catalog.application.withdraw_coupon_redemption import (
    WithdrawCouponRedemption,
    withdraw_coupon_redemption,
)
from services.catalog.domain.known_customer import CustomerNotFound, SubscriptionNotFound
from services.catalog.entrypoints.coupon_bodies import (
    CouponId,
    CustomerId,
    RedemptionBody,
    RedemptionCreateBody,
    RedemptionId,
    SubscriptionId,
)
from services.catalog.entrypoints.dependencies import ClockDep, ReadCall, RedeemCall, WriteCall

router = LateRouter(prefix="/v1/coupon-redemptions", tags=["coupons"])

# A customer who was made a moment ago may not have been heard of yet: the news is waited for, a little.
LATE_NEWS = (CustomerNotFound, SubscriptionNotFound)


@router.post("", status_code=201, response_model=RedemptionBody, summary="Redeem a coupon")
async def post_coupon_redemption(body: RedemptionCreateBody, call: RedeemCall, clock: ClockDep) -> Response:
    """A customer has the coupon from now on. Its limits hold, however many redeem it at the same time."""
    command = RedeemCoupon(
        customer_id=body.customer_id,
        coupon_id=body.coupon_id,
        coupon_code=body.coupon,
        subscription_id=body.subscription_id,
    )

    async def work(uow: CatalogUnitOfWork) -> RedemptionBody:
        return RedemptionBody.from_domain(await redeem_coupon(command, uow=uow, clock=clock))

    return await call.once(
        work, location=lambda made: f"/v1/coupon-redemptions/{made.id}", awaiting=LATE_NEWS
    )


@router.get("", response_model=Page[RedemptionBody], summary="List redemptions")
async def list_coupon_redemptions(
    call: ReadCall,
    page: PageDep,
    coupon_id: Annotated[CouponId | None, Query()] = None,
    customer_id: Annotated[CustomerId | None, Query()] = None,
    subscription_id: Annotated[SubscriptionId | None, Query()] = None,
    withdrawn: Annotated[bool | None, Query(description="Only withdrawn ones, or only others.")] = None,
) -> Response:
    """By when they were redeemed; `created_from` and `created_to` bound that instant."""
    wanted = RedemptionFilter(
        coupon_id=coupon_id, customer_id=customer_id, subscription_id=subscription_id, withdrawn=withdrawn
    )

    async def work(uow: CatalogUnitOfWork) -> Slice[RedemptionBody]:
        return (await queries.list_coupon_redemptions(wanted, page, uow=uow)).map(RedemptionBody.from_domain)

    return await call.page(work)


@router.get("/{redemption_id}", response_model=RedemptionBody, summary="Show a redemption")
async def get_coupon_redemption(redemption_id: RedemptionId, call: ReadCall) -> Response:
    async def work(uow: CatalogUnitOfWork) -> RedemptionBody:
        return RedemptionBody.from_domain(await queries.get_coupon_redemption(redemption_id, uow=uow))

    return await call.read(work)


@router.post("/{redemption_id}/withdrawal", response_model=RedemptionBody, summary="Withdraw a redemption")
async def post_coupon_redemption_withdrawal(
    redemption_id: RedemptionId, call: WriteCall, clock: ClockDep
) -> Response:
    """The customer no longer has the coupon, and it counts towards no limit. What was billed stays billed."""
    command = WithdrawCouponRedemption(redemption_id=redemption_id)

    async def work(uow: CatalogUnitOfWork) -> RedemptionBody:
        withdrawn = await withdraw_coupon_redemption(
            command, uow=uow, clock=clock, check_version=call.require_version
        )
        return RedemptionBody.from_domain(withdrawn)

    return await call.change(work)
