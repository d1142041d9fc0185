"""Builders of features and coupons, and their repositories in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from libs.common.paging import PageRequest, Slice
from services.catalog.application.ports import CouponFilter, FeatureFilter, RedemptionFilter
from services.catalog.domain.coupon import Coupon, CouponTerms, RedemptionCount
from services.catalog.domain.coupon_redemption import CouponRedemption
from services.catalog.domain.feature import Feature, FeatureDetails
from services.catalog.domain.known_customer import KnownSubscription
from tests.support.memory import MemoryRepository

MADE = datetime(2025, 6, 1, 12, tzinfo=UTC)


def a_feature(**changes: Any) -> Feature:
    feature = Feature(
        id="ftr_minutes",
        code="minutes",
        kind="metered",
        meter="flying-minutes",
        details=FeatureDetails(name="Minutes included", unit="minute", description="", metadata={}),
        version=1,
        created_at=MADE,
    )
    return replace(feature, **changes)


def some_terms(**changes: Any) -> CouponTerms:
    """A quarter off, for ever, without any limit."""
    return replace(CouponTerms(name="A quarter off", duration="forever", percent=Decimal(25)), **changes)


def a_coupon(**changes: Any) -> Coupon:
    """Changes of the terms stand beside those of the coupon."""
    own = {name: changes.pop(name) for name in Coupon.__slots__ if name in changes}
    coupon = Coupon(id="cpn_spring", code="spring", terms=some_terms(**changes), version=1, created_at=MADE)
    return replace(coupon, **own)


def a_redemption(**changes: Any) -> CouponRedemption:
    redemption = CouponRedemption(
        id="rdm_first",
        coupon_id="cpn_spring",
        coupon_version=1,
        customer_id="cus_one",
        subscription_id=None,
        version=1,
        redeemed_at=MADE,
    )
    return replace(redemption, **changes)


class MemoryFeatures(MemoryRepository[Feature]):
    async def find_named(self, codes: Collection[str]) -> list[Feature]:
        return [feature for feature in self.by_id.values() if feature.code in codes]

    async def list_page(self, wanted: FeatureFilter, page: PageRequest) -> Slice[Feature]:
        return self.page(page, lambda feature: wanted.code in (None, feature.code))


class MemoryCoupons(MemoryRepository[Coupon]):
    """Counts as the database does: nothing beyond a limit."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.counts: Counter[tuple[str, str]] = Counter()

    async def find_named(self, codes: Collection[str]) -> list[Coupon]:
        return [coupon for coupon in self.by_id.values() if coupon.code in codes]

    async def list_page(self, wanted: CouponFilter, page: PageRequest) -> Slice[Coupon]:
        return self.page(page, lambda coupon: wanted.code in (None, coupon.code))

    async def count_redemption(self, coupon_id: str, customer_id: str) -> bool:
        terms, redeemed = self.by_id[coupon_id].terms, await self.redeemed(coupon_id, customer_id)
        for count, limit in (
            (redeemed.overall, terms.redemptions_max),
            (redeemed.by_customer, terms.redemptions_per_customer_max),
        ):
            if limit is not None and count >= limit:
                return False
        self.counts[coupon_id, customer_id] += 1
        return True

    async def give_back_redemption(self, coupon_id: str, customer_id: str) -> None:
        self.counts[coupon_id, customer_id] -= 1

    async def redeemed(self, coupon_id: str, customer_id: str | None) -> RedemptionCount:
        by_customer = {who: count for (what, who), count in self.counts.items() if what == coupon_id}
        most = max(by_customer.values(), default=0)
        return RedemptionCount(
            sum(by_customer.values()), most if customer_id is None else by_customer.get(customer_id, 0)
        )


class MemoryRedemptions(MemoryRepository[CouponRedemption]):
    async def list_page(self, wanted: RedemptionFilter, page: PageRequest) -> Slice[CouponRedemption]:
        found = [r for r in self.by_id.values() if wanted.coupon_id in (None, r.coupon_id)]
        return Slice(tuple(found[: page.limit]))


class MemoryKnownCustomers:
    def __init__(self) -> None:
        self.customer_ids: set[str] = set()
        self.subscriptions: dict[str, KnownSubscription] = {}

    async def is_known(self, customer_id: str) -> bool:
        return customer_id in self.customer_ids

    async def find_subscription(self, subscription_id: str) -> KnownSubscription | None:
        return self.subscriptions.get(subscription_id)

    def put(self, customer_id: str) -> None:
        self.customer_ids.add(customer_id)

    def put_subscription(self, subscription: KnownSubscription) -> None:
        self.subscriptions.setdefault(subscription.id, subscription)
