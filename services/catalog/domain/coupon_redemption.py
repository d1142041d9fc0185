"""A redemption: a customer has a coupon, for one subscription or for all, until it is withdrawn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.errors import NotFound


class CouponRedemptionNotFound(NotFound):
    """No redemption of this tenant has this id."""

    code = "coupon_redemption_not_found"
    title = "There is no such redemption"


@dataclass(frozen=True, slots=True)
class CouponRedemption:
    """`coupon_version` is that of the coupon when it was redeemed; `subscription_id` None stands for all."""

    id: str
    coupon_id: str
    coupon_version: int
    customer_id: str
    subscription_id: str | None
    version: int
    redeemed_at: datetime
    withdrawn_at: datetime | None = None

    @property
    def withdrawn(self) -> bool:
        return self.withdrawn_at is not None


def withdraw(redemption: CouponRedemption, now: datetime) -> CouponRedemption:
    """It gives nothing off what is billed from now on. Withdrawing twice is harmless."""
    if redemption.withdrawn:
        return redemption
    return replace(redemption, withdrawn_at=now, version=redemption.version + 1)
