"""Whether a coupon could be redeemed now. Asking changes nothing, and keeps nothing for anybody."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.errors import DomainError
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.coupon import RedemptionCount, check_count, check_redeemable
from services.catalog.domain.known_customer import CustomerNotFound


@dataclass(frozen=True, slots=True)
class CouponAvailability:
    """`refusal` is the code of what redeeming would raise now, None when nothing stands against it."""

    coupon_id: str
    refusal: str | None
    redeemed_count: int
    customer_redeemed_count: int | None

    @property
    def redeemable(self) -> bool:
        return self.refusal is None


async def get_coupon_availability(
    coupon_id: str, customer_id: str | None, *, uow: UnitOfWork, clock: Clock
) -> CouponAvailability:
    """By the wall's time; for the customer, if one is named. Raises: CouponNotFound, CustomerNotFound."""
    coupon = await uow.coupons.get(coupon_id)
    if customer_id is not None and not await uow.known_customers.is_known(customer_id):
        raise CustomerNotFound(
            "no customer has this id", remedy="Make the customer first (POST /v1/customers)."
        )
    redeemed = await uow.coupons.redeemed(coupon_id, customer_id)
    if customer_id is None:
        redeemed = RedemptionCount(redeemed.overall)
    refusal = None
    try:
        check_redeemable(coupon, clock.system_now())
        check_count(coupon.terms, redeemed)
    except DomainError as refused:
        refusal = refused.code
    by_customer = redeemed.by_customer if customer_id is not None else None
    return CouponAvailability(coupon_id, refusal, redeemed.overall, by_customer)
