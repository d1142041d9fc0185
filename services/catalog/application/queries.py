"""Reads that answer a screen. They change nothing."""

from __future__ import annotations

from libs.common.clock import Clock
from libs.common.paging import PageRequest, Slice
from services.catalog.application.create_plan_overlay import Overlaid
from services.catalog.application.offered_version import OfferedVersion, get_version, offered
from services.catalog.application.ports import (
    CouponFilter,
    FeatureFilter,
    PlanFilter,
    PlanOverlayFilter,
    ProductFilter,
    RedemptionFilter,
    UnitOfWork,
)
from services.catalog.domain.coupon import Coupon
from services.catalog.domain.coupon_redemption import CouponRedemption
from services.catalog.domain.feature import Feature
from services.catalog.domain.plan import Plan
from services.catalog.domain.product import Product
from services.catalog.domain.tenant import Tenant, TenantMode


async def list_tenants(mode: TenantMode | None, page: PageRequest, *, uow: UnitOfWork) -> Slice[Tenant]:
    return await uow.tenants.list_page(mode, page)


async def get_tenant(tenant_id: str, *, uow: UnitOfWork) -> Tenant:
    """Raises: TenantNotFound."""
    return await uow.tenants.get(tenant_id)


async def list_products(wanted: ProductFilter, page: PageRequest, *, uow: UnitOfWork) -> Slice[Product]:
    return await uow.products.list_page(wanted, page)


async def get_product(product_id: str, *, uow: UnitOfWork) -> Product:
    """Raises: ProductNotFound."""
    return await uow.products.get(product_id)


async def list_plans(wanted: PlanFilter, page: PageRequest, *, uow: UnitOfWork) -> Slice[Plan]:
    return await uow.plans.list_page(wanted, page)


async def get_plan(plan_id: str, *, uow: UnitOfWork) -> Plan:
    """Raises: PlanNotFound."""
    return await uow.plans.get(plan_id)


async def list_plan_versions(
    plan_id: str, page: PageRequest, *, uow: UnitOfWork, clock: Clock
) -> Slice[OfferedVersion]:
    """Raises: PlanNotFound."""
    plan, now = await uow.plans.get(plan_id), clock.system_now()
    found = await uow.plan_versions.list_page(plan.id, page)
    return found.map(lambda version: offered(plan, version, now))


async def get_plan_version(plan_id: str, number: int, *, uow: UnitOfWork, clock: Clock) -> OfferedVersion:
    """Raises: PlanNotFound, PlanVersionNotFound."""
    plan = await uow.plans.get(plan_id)
    return offered(plan, await get_version(plan, number, uow=uow), clock.system_now())


async def list_plan_overlays(
    wanted: PlanOverlayFilter, page: PageRequest, *, uow: UnitOfWork
) -> Slice[Overlaid]:
    found = await uow.plan_overlays.list_page(wanted, page)
    versions = await uow.plan_versions.find_by_ids({overlay.plan_version_id for overlay in found.items})
    return found.map(lambda overlay: Overlaid(overlay, versions[overlay.plan_version_id]))


async def get_plan_overlay(overlay_id: str, *, uow: UnitOfWork) -> Overlaid:
    """Raises: PlanOverlayNotFound."""
    overlay = await uow.plan_overlays.get(overlay_id)
    versions = await uow.plan_versions.find_by_ids([overlay.plan_version_id])
    return Overlaid(overlay, versions[overlay.plan_version_id])


async def list_features(wanted: FeatureFilter, page: PageRequest, *, uow: UnitOfWork) -> Slice[Feature]:
    return await uow.features.list_page(wanted, page)


async def get_feature(feature_id: str, *, uow: UnitOfWork) -> Feature:
    """Raises: FeatureNotFound."""
    return await uow.features.get(feature_id)


async def list_coupons(wanted: CouponFilter, page: PageRequest, *, uow: UnitOfWork) -> Slice[Coupon]:
    return await uow.coupons.list_page(wanted, page)


async def get_coupon(coupon_id: str, *, uow: UnitOfWork) -> Coupon:
    """Raises: CouponNotFound."""
    return await uow.coupons.get(coupon_id)


async def list_coupon_redemptions(
    wanted: RedemptionFilter, page: PageRequest, *, uow: UnitOfWork
) -> Slice[CouponRedemption]:
    return await uow.coupon_redemptions.list_page(wanted, page)


async def get_coupon_redemption(redemption_id: str, *, uow: UnitOfWork) -> CouponRedemption:
    """Raises: CouponRedemptionNotFound."""
    return await uow.coupon_redemptions.get(redemption_id)
