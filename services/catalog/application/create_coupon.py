"""A tenant makes a coupon: money off for whoever redeems it."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.ids import new_id
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.application.read_coupon import read_terms
from services.catalog.domain.coupon import Coupon, CouponTerms


@dataclass(frozen=True, slots=True)
class CreateCoupon:
    """`products` are ids or codes; they take the place of the terms' product ids."""

    code: str
    terms: CouponTerms
    products: tuple[str, ...] = ()


async def create_coupon(command: CreateCoupon, *, uow: UnitOfWork, clock: Clock) -> Coupon:
    """Make it. It can be redeemed as soon as it is valid.

    Emits: CouponChanged.
    Raises: CouponInvalid; CouponCodeTaken, when the unit of work is flushed.
    """
    now = clock.system_now()
    terms = await read_terms(command.terms, products=command.products, uow=uow)
    coupon = Coupon(id=new_id("cpn", now), code=command.code, terms=terms, version=1, created_at=now)
    uow.coupons.add(coupon)
    uow.record("coupon.created", coupon.id)
    uow.outbox.append(events.coupon_changed(coupon, tenant=uow.tenant, now=now), key=coupon.id)
    return coupon
