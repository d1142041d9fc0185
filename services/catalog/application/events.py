"""What happened in the catalog → the event that tells of it."""

from __future__ import annotations

from datetime import datetime

from libs.common.contracts.catalog import (
    CouponChangedV1,
    CouponRedeemedV1,
    CouponRedemptionWithdrawnV1,
    CouponV1,
    FeatureChangedV1,
    FeatureV1,
    PlanOverlaidV1,
    PlanOverlayWithdrawnV1,
    PlanPublishedV1,
    PlanRetiredV1,
    PlanVersionSalesChangedV1,
    ProductChangedV1,
    ProductV1,
    TenantChangedV1,
    TokenRevokedV1,
)
from services.catalog.application.plan_snapshot import overlay_snapshot, plan_snapshot
from services.catalog.domain.coupon import Coupon
from services.catalog.domain.coupon_redemption import CouponRedemption
from services.catalog.domain.feature import Feature
from services.catalog.domain.plan import Plan
from services.catalog.domain.plan_overlay import PlanOverlay
from services.catalog.domain.plan_version import PlanVersion
from services.catalog.domain.product import Product
from services.catalog.domain.publication import Published
from services.catalog.domain.tenant import Tenant
from services.catalog.domain.token_revocation import TokenRevocation


def tenant_changed(tenant: Tenant) -> TenantChangedV1:
    """The event belongs to the tenant that it tells of, whoever made the change."""
    return TenantChangedV1(
        tenant=tenant.id,
        version=tenant.version,
        occurred_at=tenant.changed_at,
        name=tenant.name,
        mode=tenant.mode,
    )


def token_revoked(revocation: TokenRevocation, *, tenant: str, now: datetime) -> TokenRevokedV1:
    return TokenRevokedV1(
        tenant=tenant, occurred_at=now, token_id=revocation.token_id, expires_at=revocation.expires_at
    )


def product_changed(product: Product, *, tenant: str, now: datetime) -> ProductChangedV1:
    """Made, altered or archived: the product as it is from now on."""
    snapshot = ProductV1(
        product_id=product.id,
        product_version=product.version,
        code=product.code,
        name=product.name,
        kind=product.kind,
        unit=product.unit,
        tax_category=product.tax_category,
        gtin=product.gtin,
        is_archived=product.archived,
    )
    return ProductChangedV1(tenant=tenant, version=product.version, occurred_at=now, product=snapshot)


def feature_changed(feature: Feature, *, tenant: str, now: datetime) -> FeatureChangedV1:
    """Made, altered or archived: the feature as it is from now on."""
    snapshot = FeatureV1(
        feature_id=feature.id,
        feature_version=feature.version,
        code=feature.code,
        name=feature.details.name,
        kind=feature.kind,
        meter=feature.meter,
        unit=feature.details.unit,
        is_archived=feature.archived,
    )
    return FeatureChangedV1(tenant=tenant, version=feature.version, occurred_at=now, feature=snapshot)


def coupon_changed(coupon: Coupon, *, tenant: str, now: datetime) -> CouponChangedV1:
    """Made, altered or archived: the coupon as it is from now on."""
    snapshot = _coupon_snapshot(coupon)
    return CouponChangedV1(tenant=tenant, version=coupon.version, occurred_at=now, coupon=snapshot)


def coupon_redeemed(
    redemption: CouponRedemption, coupon: Coupon, *, tenant: str, clock_id: str | None
) -> CouponRedeemedV1:
    """With the whole coupon, so that whoever bills needs no other event."""
    return CouponRedeemedV1(
        tenant=tenant,
        version=redemption.version,
        occurred_at=redemption.redeemed_at,
        test_clock=clock_id,
        redemption_id=redemption.id,
        customer_id=redemption.customer_id,
        subscription_id=redemption.subscription_id,
        coupon=_coupon_snapshot(coupon),
    )


def coupon_redemption_withdrawn(
    redemption: CouponRedemption, *, tenant: str, now: datetime, clock_id: str | None
) -> CouponRedemptionWithdrawnV1:
    return CouponRedemptionWithdrawnV1(
        tenant=tenant,
        version=redemption.version,
        occurred_at=now,
        test_clock=clock_id,
        redemption_id=redemption.id,
        coupon_id=redemption.coupon_id,
        customer_id=redemption.customer_id,
        subscription_id=redemption.subscription_id,
    )


def plan_published(published: Published, *, tenant: str) -> PlanPublishedV1:
    """The whole version, so that no reader has to ask for it."""
    return PlanPublishedV1(
        tenant=tenant,
        version=published.plan.version,
        occurred_at=published.plan_version.published_at,
        plan=plan_snapshot(published.plan_version),
    )


def plan_retired(plan: Plan, *, tenant: str, now: datetime) -> PlanRetiredV1:
    return PlanRetiredV1(tenant=tenant, version=plan.version, occurred_at=now, plan_id=plan.id)


def _coupon_snapshot(coupon: Coupon) -> CouponV1:
    terms = coupon.terms
    return CouponV1(
        coupon_id=coupon.id,
        coupon_version=coupon.version,
        code=coupon.code,
        name=terms.name,
        percent=terms.percent,
        amount=terms.amount.to_decimal() if terms.amount else None,
        currency=terms.amount.currency if terms.amount else None,
        duration=terms.duration,
        periods=terms.periods,
        product_ids=terms.product_ids,
        plan_codes=terms.plan_codes,
        stacking_order=terms.stacking_order,
        redemptions_max=terms.redemptions_max,
        redemptions_per_customer_max=terms.redemptions_per_customer_max,
        valid_from=terms.valid_from,
        valid_until=terms.valid_until,
        is_archived=coupon.archived,
    )


def plan_version_sales_changed(
    plan: Plan, version: PlanVersion, *, tenant: str, now: datetime
) -> PlanVersionSalesChangedV1:
    """Somebody stopped selling the version, or sells it again; its bounds stay what they were."""
    return PlanVersionSalesChangedV1(
        tenant=tenant,
        version=plan.version,
        occurred_at=now,
        plan_id=plan.id,
        plan_version_id=version.id,
        plan_version=version.number,
        status=plan.sale_state(version.number),
        valid_from=version.validity.valid_from,
        valid_until=version.validity.valid_until,
    )


def plan_overlaid(overlay: PlanOverlay, version: PlanVersion, *, tenant: str) -> PlanOverlaidV1:
    """With the whole plan as the customer has it, so that no reader has to lay one over the other."""
    return PlanOverlaidV1(
        tenant=tenant,
        version=overlay.version,
        occurred_at=overlay.created_at,
        overlay=overlay_snapshot(overlay, version),
    )


def plan_overlay_withdrawn(overlay: PlanOverlay, *, tenant: str, now: datetime) -> PlanOverlayWithdrawnV1:
    return PlanOverlayWithdrawnV1(
        tenant=tenant,
        version=overlay.version,
        occurred_at=now,
        overlay_id=overlay.id,
        customer_id=overlay.customer_id,
    )
