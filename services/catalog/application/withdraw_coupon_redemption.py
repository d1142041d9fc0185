"""A redemption is taken back: the customer no longer has the coupon, and somebody else may redeem it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.clock import Clock
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.coupon_redemption import CouponRedemption, withdraw


@dataclass(frozen=True, slots=True)
class WithdrawCouponRedemption:
    redemption_id: str


async def withdraw_coupon_redemption(
    command: WithdrawCouponRedemption,
    *,
    uow: UnitOfWork,
    clock: Clock,
    check_version: Callable[[int], None],
) -> CouponRedemption:
    """Take it back, and its place among the redemptions of the coupon. Withdrawing twice is harmless.

    What has been billed stays billed.
    Emits: CouponRedemptionWithdrawn.
    Raises: CouponRedemptionNotFound, and what `check_version` raises for the version that was locked.
    """
    redemption = await uow.coupon_redemptions.get_for_update(command.redemption_id)
    check_version(redemption.version)
    clock_id = await _clock_of(redemption, uow)
    now = clock.business_now(await uow.test_clock(clock_id))
    withdrawn = withdraw(redemption, now)
    if withdrawn is not redemption:
        await uow.coupons.give_back_redemption(withdrawn.coupon_id, withdrawn.customer_id)
        uow.coupon_redemptions.save(withdrawn)
        uow.record("coupon.redemption_withdrawn", withdrawn.id, withdrawn.version)
        event = events.coupon_redemption_withdrawn(withdrawn, tenant=uow.tenant, now=now, clock_id=clock_id)
        uow.outbox.append(event, key=withdrawn.id)
    return withdrawn


async def _clock_of(redemption: CouponRedemption, uow: UnitOfWork) -> str | None:
    if redemption.subscription_id is None:
        return None
    subscription = await uow.known_customers.find_subscription(redemption.subscription_id)
    return subscription.clock_id if subscription else None
