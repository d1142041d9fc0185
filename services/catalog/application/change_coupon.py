"""A tenant changes a coupon: anything before it is redeemed, afterwards its name, validity, limits and metadata."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.clock import Clock
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.application.read_coupon import read_terms
from services.catalog.domain.coupon import Coupon, CouponTerms, change_terms


@dataclass(frozen=True, slots=True)
class ChangeCoupon:
    """`change` makes the new terms from those that are locked, so that what is not named stays.

    `products` are ids or codes, None where they stay as well.
    """

    coupon_id: str
    change: Callable[[CouponTerms], CouponTerms]
    products: tuple[str, ...] | None = None


async def change_coupon(
    command: ChangeCoupon, *, uow: UnitOfWork, clock: Clock, check_version: Callable[[int], None]
) -> Coupon:
    """Change it. The same terms again change nothing and say nothing; whoever redeemed it keeps what it was.

    Emits: CouponChanged.
    Raises: CouponNotFound, CouponInvalid, CouponArchived, CouponTermsFixed, CouponLimitTooLow, and what
    `check_version` raises for the version that was locked.
    """
    coupon = await uow.coupons.get_for_update(command.coupon_id)
    check_version(coupon.version)
    terms = await read_terms(command.change(coupon.terms), products=command.products, uow=uow)
    redeemed = await uow.coupons.redeemed(coupon.id, customer_id=None)
    changed = change_terms(coupon, terms, redeemed=redeemed)
    if changed is not coupon:
        uow.coupons.save(changed)
        uow.record("coupon.changed", changed.id, changed.version)
        event = events.coupon_changed(changed, tenant=uow.tenant, now=clock.system_now())
        uow.outbox.append(event, key=changed.id)
    return changed
