"""The catalog's repositories on one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.errors import ServiceError
from libs.common.persistence.unit_of_work import UnitOfWork
from services.catalog.adapters.coupons import CouponRedemptionRepository, CouponRepository
from services.catalog.adapters.features import FeatureRepository
from services.catalog.adapters.known_customers import KnownCustomerRepository
from services.catalog.adapters.plan_overlays import PlanOverlayRepository
from services.catalog.adapters.plan_versions import PlanVersionRepository
from services.catalog.adapters.published_versions import PublishedVersions
from services.catalog.adapters.repositories import (
    KnownMeterRepository,
    PlanRepository,
    ProductRepository,
    RevokedTokenRepository,
    TenantRepository,
)
from services.catalog.adapters.rows import shared
from services.catalog.domain.coupon import CouponCodeTaken
from services.catalog.domain.feature import FeatureCodeTaken
from services.catalog.domain.plan import PlanCodeTaken
from services.catalog.domain.plan_overlay import PlanOverlayExists
from services.catalog.domain.product import ProductCodeTaken
from services.catalog.domain.tenant import TenantExists


def _tenant_exists() -> TenantExists:
    return TenantExists("a tenant with this id was made a moment ago", remedy="Send the request again.")


def _product_code_taken() -> ProductCodeTaken:
    return ProductCodeTaken(
        "another product has this code", pointer="/code", remedy="Choose another code, or use that product."
    )


def _plan_code_taken() -> PlanCodeTaken:
    return PlanCodeTaken(
        "another plan has this code",
        pointer="/code",
        remedy="Choose another code, or change that plan's draft.",
    )


def _plan_overlay_exists() -> PlanOverlayExists:
    return PlanOverlayExists(
        "the customer has an overlay of this plan version already",
        pointer="/customer_id",
        remedy="Withdraw that one first (POST /v1/plan-overlays/{overlay_id}/withdrawal).",
    )


def _feature_code_taken() -> FeatureCodeTaken:
    return FeatureCodeTaken(
        "another feature has this code", pointer="/code", remedy="Choose another code, or use that feature."
    )


def _coupon_code_taken() -> CouponCodeTaken:
    return CouponCodeTaken(
        "another coupon has this code", pointer="/code", remedy="Choose another code, or use that coupon."
    )


class CatalogUnitOfWork(UnitOfWork):
    constraint_errors: ClassVar[Mapping[str, Callable[[], ServiceError]]] = {
        "pk_tenant": _tenant_exists,
        "uq_product_tenant_code": _product_code_taken,
        "uq_plan_tenant_code": _plan_code_taken,
        "uq_plan_overlay_one_at_a_time": _plan_overlay_exists,
        "uq_feature_tenant_code": _feature_code_taken,
        "uq_coupon_tenant_code": _coupon_code_taken,
    }

    def __init__(self, connection: AsyncConnection, published: PublishedVersions | None = None) -> None:
        """`published` is what all units of work of a process have at hand."""
        super().__init__(connection, shared)
        self.tenants = TenantRepository(self)
        self.revoked_tokens = RevokedTokenRepository(self)
        self.products = ProductRepository(self)
        self.plans = PlanRepository(self)
        self.plan_overlays = PlanOverlayRepository(self)
        self.plan_versions = PlanVersionRepository(self, published or PublishedVersions())
        self.known_meters = KnownMeterRepository(self)
        self.features = FeatureRepository(self)
        self.coupons = CouponRepository(self)
        self.coupon_redemptions = CouponRedemptionRepository(self)
        self.known_customers = KnownCustomerRepository(self)
        self.register(self.tenants, self.products, self.plans, self.plan_versions, self.plan_overlays)
        self.register(self.features, self.coupons, self.coupon_redemptions, self.known_customers)
