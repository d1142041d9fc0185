"""Keep what the catalog tells of the coupons that customers have."""

from __future__ import annotations

from libs.common.contracts.catalog import CouponRedeemedV1, CouponRedemptionWithdrawnV1, CouponV1
from libs.common.money import Money
from services.billing.application.ports import UnitOfWork
from services.billing.domain.coupon_redemption import CouponRedemption, CouponTerms


async def keep_coupon_redemption(event: CouponRedeemedV1, *, uow: UnitOfWork) -> None:
    """The coupon as it was redeemed: later changes of it change nothing here. A repeat changes nothing."""
    uow.coupon_redemptions.keep(
        CouponRedemption(
            id=event.redemption_id,
            customer_id=event.customer_id,
            subscription_id=event.subscription_id,
            terms=_terms_from(event.coupon),
            redeemed_at=event.occurred_at,
            clock_id=event.test_clock,
        )
    )


async def withdraw_coupon_redemption(event: CouponRedemptionWithdrawnV1, *, uow: UnitOfWork) -> None:
    """Nothing is taken off what is billed from now on; what was billed stays as it is."""
    uow.coupon_redemptions.withdraw(
        event.redemption_id,
        customer_id=event.customer_id,
        subscription_id=event.subscription_id,
        at=event.occurred_at,
    )


def _terms_from(coupon: CouponV1) -> CouponTerms:
    amount = None
    if coupon.amount is not None:
        assert coupon.currency is not None, "an amount off is in a currency"
        amount = Money.from_decimal(coupon.amount, coupon.currency)
    return CouponTerms(
        coupon_id=coupon.coupon_id,
        code=coupon.code,
        name=coupon.name,
        duration=coupon.duration,
        percent=coupon.percent,
        amount=amount,
        periods=coupon.periods,
        product_ids=coupon.product_ids,
        plan_codes=coupon.plan_codes,
        stacking_order=coupon.stacking_order,
    )
