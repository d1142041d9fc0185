"""Builders of catalog things, and the catalog's unit of work in memory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from libs.common.clock import TestClock
from libs.common.paging import PageRequest, Slice
from libs.common.periods import Interval
from services.catalog.application.ports import PlanFilter, PlanOverlayFilter, ProductFilter
from services.catalog.application.written_plan import WrittenPlan, WrittenPrice
from services.catalog.domain.coupon import CouponNotFound
from services.catalog.domain.coupon_redemption import CouponRedemptionNotFound
from services.catalog.domain.feature import FeatureNotFound
from services.catalog.domain.known_meter import KnownMeter
from services.catalog.domain.plan import Plan, PlanNotFound
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.plan_overlay import PlanOverlay, PlanOverlayNotFound
from services.catalog.domain.plan_version import PlanVersion
from services.catalog.domain.price import Price
from services.catalog.domain.price_tier import PriceTier
from services.catalog.domain.product import Product, ProductNotFound
from services.catalog.domain.tenant import Tenant, TenantMode, TenantNotFound
from services.catalog.domain.token_revocation import TokenRevocation
from tests.support.coupons import MemoryCoupons, MemoryFeatures, MemoryKnownCustomers, MemoryRedemptions
from tests.support.memory import MemoryRepository, MemoryUnitOfWork

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
MONTHLY = Interval("month", 1)
TIERS = (
    PriceTier(Decimal(100_000), Decimal("5.20")),
    PriceTier(Decimal(500_000), Decimal("4.75")),
    PriceTier(None, Decimal("4.35")),
)


def a_product(**changes: Any) -> Product:
    product = Product(
        id="prd_engine",
        code="flying-minutes",
        name="Flying minutes",
        kind="service",
        unit="minute",
        description="",
        external_id=None,
        metadata={},
        version=1,
        created_at=NOW,
    )
    return replace(product, **changes)


def a_fee(**changes: Any) -> Price:
    """Per aircraft and month, in advance."""
    price = Price(
        code="aircraft",
        product_id="prd_engine",
        description="Aircraft",
        kind="recurring",
        timing="advance",
        model="per_unit",
        currency="USD",
        unit_amount=Decimal("1200.00"),
        unit="aircraft",
    )
    return replace(price, **changes)


def a_usage_price(**changes: Any) -> Price:
    """Flying minutes, graduated, in arrears."""
    price = Price(
        code="minutes",
        product_id="prd_engine",
        description="Flying minutes",
        kind="usage",
        timing="arrears",
        model="graduated",
        currency="USD",
        tiers=TIERS,
        meter="flying-minutes",
        unit="minute",
    )
    return replace(price, **changes)


def a_draft(*prices: Price, **changes: Any) -> PlanDraft:
    """Its prices are in its currency, unless they name another one."""
    currency = changes.get("currency", "USD")
    chosen = prices or (a_fee(), a_usage_price())
    own = tuple(replace(price, currency=currency) if price.currency == "USD" else price for price in chosen)
    draft = PlanDraft(name="Power by the minute", currency="USD", interval=MONTHLY, prices=own)
    return replace(draft, **changes)


def a_plan(**changes: Any) -> Plan:
    plan = Plan(
        id="pln_power",
        code="power",
        external_id=None,
        metadata={},
        status="draft",
        draft=a_draft(),
        published_number=0,
        version=1,
        created_at=NOW,
    )
    return replace(plan, **changes)


def a_written_plan(*prices: WrittenPrice, **changes: Any) -> WrittenPlan:
    chosen = prices or (written(a_fee()), written(a_usage_price()))
    plan = WrittenPlan(name="Power by the minute", currency="USD", interval=MONTHLY, prices=tuple(chosen))
    return replace(plan, **changes)


def written(price: Price, *, product_code: str | None = None, **changes: Any) -> WrittenPrice:
    """The price as somebody would write it."""
    return WrittenPrice(replace(price, **changes), product_code)


class MemoryTenants(MemoryRepository[Tenant]):
    async def list_page(self, mode: TenantMode | None, page: PageRequest) -> Slice[Tenant]:
        return self.page(page, lambda tenant: mode in (None, tenant.mode))


class MemoryRevokedTokens:
    def __init__(self) -> None:
        self.until: dict[str, datetime] = {}

    async def put(self, revocation: TokenRevocation) -> bool:
        known = self.until.get(revocation.token_id)
        if known is not None and known >= revocation.expires_at:
            return False
        self.until[revocation.token_id] = revocation.expires_at
        return True


class MemoryProducts(MemoryRepository[Product]):
    async def find_named(self, *, ids: Collection[str], codes: Collection[str]) -> list[Product]:
        return [p for p in self.by_id.values() if p.id in ids or p.code in codes]

    async def list_page(self, wanted: ProductFilter, page: PageRequest) -> Slice[Product]:
        return self.page(page, lambda product: wanted.code in (None, product.code))


class MemoryPlans(MemoryRepository[Plan]):
    async def find_named(self, codes: Collection[str]) -> list[Plan]:
        return [plan for plan in self.by_id.values() if plan.code in codes]

    async def list_page(self, wanted: PlanFilter, page: PageRequest) -> Slice[Plan]:
        return self.page(page, lambda plan: wanted.code in (None, plan.code))


class MemoryPlanVersions:
    def __init__(self) -> None:
        self.versions: list[PlanVersion] = []

    async def find(self, plan_id: str, number: int) -> PlanVersion | None:
        return next((v for v in self.versions if (v.plan_id, v.number) == (plan_id, number)), None)

    async def find_by_ids(self, ids: Collection[str]) -> dict[str, PlanVersion]:
        return {version.id: version for version in self.versions if version.id in ids}

    def add(self, version: PlanVersion) -> None:
        self.versions.append(version)

    async def list_page(self, plan_id: str, page: PageRequest) -> Slice[PlanVersion]:
        return Slice(tuple(v for v in self.versions if v.plan_id == plan_id)[: page.limit])


class MemoryPlanOverlays(MemoryRepository[PlanOverlay]):
    async def list_page(self, wanted: PlanOverlayFilter, page: PageRequest) -> Slice[PlanOverlay]:
        return self.page(page, lambda overlay: wanted.customer_id in (None, overlay.customer_id))


class MemoryKnownMeters:
    def __init__(self) -> None:
        self.by_code: dict[str, KnownMeter] = {}

    async def find_known(self, codes: Collection[str]) -> frozenset[str]:
        return frozenset(codes) & self.by_code.keys()

    async def find_named(self, codes: Collection[str]) -> list[KnownMeter]:
        return [self.by_code[code] for code in codes if code in self.by_code]

    async def put(self, meter: KnownMeter) -> None:
        known = self.by_code.get(meter.code)
        if known is None or known.version < meter.version:
            self.by_code[meter.code] = meter


class MemoryCatalog(MemoryUnitOfWork):
    """The catalog's unit of work in memory, with one product and one meter."""

    def __init__(self) -> None:
        super().__init__()
        self.tenants = MemoryTenants(lambda id: TenantNotFound("there is no such tenant", tenant_id=id))
        self.revoked_tokens = MemoryRevokedTokens()
        self.products = MemoryProducts(lambda id: ProductNotFound("there is no such product", product_id=id))
        self.plans = MemoryPlans(lambda id: PlanNotFound("there is no such plan", plan_id=id))
        self.plan_versions = MemoryPlanVersions()
        self.plan_overlays = MemoryPlanOverlays(
            lambda id: PlanOverlayNotFound("there is no such plan overlay", overlay_id=id)
        )
        self.known_meters = MemoryKnownMeters()
        self.features = MemoryFeatures(lambda id: FeatureNotFound("there is no such feature", feature_id=id))
        self.coupons = MemoryCoupons(lambda id: CouponNotFound("there is no such coupon", coupon_id=id))
        self.coupon_redemptions = MemoryRedemptions(
            lambda id: CouponRedemptionNotFound("there is no such redemption", redemption_id=id)
        )
        self.known_customers = MemoryKnownCustomers()
        self.clocks: dict[str, TestClock] = {}
        self.products.add(a_product())
        self.known_meters.by_code["flying-minutes"] = KnownMeter(
            "flying-minutes", "mtr_1", "sum", "minute", 1
        )

    async def test_clock(self, clock_id: str | None) -> TestClock | None:
        return self.clocks.get(clock_id) if clock_id else None
