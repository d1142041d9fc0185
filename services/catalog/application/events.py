"""What happened in the catalog → the event that tells of it."""

from __future__ import annotations

from datetime import datetime

from libs.common.contracts.catalog import (
    PlanPublishedV1,
    PlanRetiredV1,
    PlanV1,
    PriceTierV1,
    PriceV1,
    TenantChangedV1,
    TokenRevokedV1,
)
from services.catalog.domain.plan import Plan
from services.catalog.domain.plan_version import PlanVersion
from services.catalog.domain.price import Price, price_id
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


def plan_published(published: Published, *, tenant: str) -> PlanPublishedV1:
    """The whole version, so that no reader has to ask for it."""
    return PlanPublishedV1(
        tenant=tenant,
        version=published.plan.version,
        occurred_at=published.plan_version.published_at,
        plan=_plan_snapshot(published.plan_version),
    )


def plan_retired(plan: Plan, *, tenant: str, now: datetime) -> PlanRetiredV1:
    return PlanRetiredV1(tenant=tenant, version=plan.version, occurred_at=now, plan_id=plan.id)


def _plan_snapshot(version: PlanVersion) -> PlanV1:
    return PlanV1(
        plan_id=version.plan_id,
        plan_version_id=version.id,
        code=version.code,
        name=version.name,
        plan_version=version.number,
        currency=version.currency,
        interval_unit=version.interval.unit,
        interval_count=version.interval.count,
        prices=tuple(_price_snapshot(price, version) for price in version.prices),
    )


def _price_snapshot(price: Price, version: PlanVersion) -> PriceV1:
    return PriceV1(
        id=price_id(version.id, price.code),
        code=price.code,
        product_id=price.product_id,
        description=price.description,
        kind=price.kind,
        timing=price.timing,
        model=price.model,
        currency=version.currency,
        unit_amount=price.unit_amount,
        tiers=tuple(
            PriceTierV1(up_to=tier.up_to, unit_amount=tier.unit_amount, flat_amount=tier.flat_amount)
            for tier in price.tiers
        ),
        package_size=price.package_size,
        included_quantity=price.included_quantity,
        meter=price.meter,
        unit=price.unit,
        proration=price.proration,
    )
