"""A tenant stops giving a coupon: nobody can redeem it any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.clock import Clock
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.coupon import Coupon, archive


@dataclass(frozen=True, slots=True)
class ArchiveCoupon:
    coupon_id: str


async def archive_coupon(
    command: ArchiveCoupon, *, uow: UnitOfWork, clock: Clock, check_version: Callable[[int], None]
) -> Coupon:
    """Archive it; whoever redeemed it keeps it. Archiving twice is harmless.

    Emits: CouponChanged.
    Raises: CouponNotFound, and what `check_version` raises for the version that was locked.
    """
    coupon = await uow.coupons.get_for_update(command.coupon_id)
    check_version(coupon.version)
    now = clock.system_now()
    archived = archive(coupon, now)
    if archived is not coupon:
        uow.coupons.save(archived)
        uow.record("coupon.archived", archived.id, archived.version)
        uow.outbox.append(events.coupon_changed(archived, tenant=uow.tenant, now=now), key=archived.id)
    return archived
