"""A customer gets a coupon, for one subscription or for all that it has."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.ids import new_id
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.coupon import Coupon, CouponNotFound, check_count, check_redeemable
from services.catalog.domain.coupon_redemption import CouponRedemption
from services.catalog.domain.known_customer import CustomerNotFound, SubscriptionNotFound


@dataclass(frozen=True, slots=True)
class RedeemCoupon:
    """The coupon by id or by code, one of the two."""

    customer_id: str
    coupon_id: str | None = None
    coupon_code: str | None = None
    subscription_id: str | None = None


async def redeem_coupon(command: RedeemCoupon, *, uow: UnitOfWork, clock: Clock) -> CouponRedemption:
    """Redeem it, if it may be redeemed now and once more. The limits hold however many redeem it at once.

    "Now" is the subscription's: that of its test clock, where it lives by one. Each call redeems once more.
    Emits: CouponRedeemed, with the coupon as it is.
    Raises: CouponNotFound, CustomerNotFound, SubscriptionNotFound, CouponArchived, CouponNotValidYet, CouponExpired,
    CouponExhausted, CouponExhaustedForCustomer.
    """
    coupon = await _locked_coupon(command, uow)
    clock_id = await _clock_of(command, uow)
    now = clock.business_now(await uow.test_clock(clock_id))
    check_redeemable(coupon, now)
    if not await uow.coupons.count_redemption(coupon.id, command.customer_id):
        check_count(coupon.terms, await uow.coupons.redeemed(coupon.id, command.customer_id))
        raise AssertionError("what is not counted has met a limit")
    redemption = CouponRedemption(
        id=new_id("rdm", clock.system_now()),
        coupon_id=coupon.id,
        coupon_version=coupon.version,
        customer_id=command.customer_id,
        subscription_id=command.subscription_id,
        version=1,
        redeemed_at=now,
    )
    uow.coupon_redemptions.add(redemption)
    uow.record("coupon.redeemed", redemption.id)
    event = events.coupon_redeemed(redemption, coupon, tenant=uow.tenant, clock_id=clock_id)
    uow.outbox.append(event, key=redemption.id)
    return redemption


async def _locked_coupon(command: RedeemCoupon, uow: UnitOfWork) -> Coupon:
    """Locked, so that it is neither changed nor archived meanwhile."""
    if command.coupon_id is not None:
        return await uow.coupons.get_for_update(command.coupon_id)
    assert command.coupon_code is not None, "a coupon is named by its id or by its code"
    named = await uow.coupons.find_named([command.coupon_code])
    if not named:
        raise CouponNotFound("no coupon has this code", pointer="/coupon", remedy="Check the code.")
    return await uow.coupons.get_for_update(named[0].id)


async def _clock_of(command: RedeemCoupon, uow: UnitOfWork) -> str | None:
    if not await uow.known_customers.is_known(command.customer_id):
        raise CustomerNotFound(
            "no customer has this id",
            pointer="/customer_id",
            remedy="Make the customer first (POST /v1/customers).",
        )
    if command.subscription_id is None:
        return None
    subscription = await uow.known_customers.find_subscription(command.subscription_id)
    if subscription is None or subscription.customer_id != command.customer_id:
        raise SubscriptionNotFound(
            "the customer has no subscription with this id that has begun",
            pointer="/subscription_id",
            remedy="Name one of the customer's own, or leave it out: the coupon is then for all of them.",
        )
    return subscription.clock_id
