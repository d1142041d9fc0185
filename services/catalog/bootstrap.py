"""The one place where the catalog's parts are joined."""

from __future__ import annotations

from functools import partial

from libs.common.runtime import Platform, Service, assemble, parts_of
from libs.common.web.limits import MEBIBYTE, Limits
from services.catalog.adapters.audit import audit_catalog
from services.catalog.adapters.published_versions import PublishedVersions
from services.catalog.adapters.rows import shared
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.entrypoints import (
    routes_catalog_documents,
    routes_coupon_redemptions,
    routes_coupons,
    routes_features,
    routes_plan_overlays,
    routes_plan_versions,
    routes_plans,
    routes_products,
    routes_tenants,
)
from services.catalog.entrypoints.event_handlers import HANDLERS

NAME = "catalog"
DESCRIPTION = """What can be bought: products, plans and their immutable prices. Tenants and revoked tokens, too.

A plan has a draft, which may change, and published versions, which never do. Subscriptions refer to versions."""


def build(platform: Platform) -> Service:
    """The catalog. Nothing is ever due in it by itself, so its scheduler has no jobs."""
    return assemble(
        parts_of(NAME, platform, partial(CatalogUnitOfWork, published=PublishedVersions())),
        title="Perennial catalog",
        description=DESCRIPTION,
        machinery=shared,
        handlers=HANDLERS,
        routers=(
            routes_tenants.router,
            routes_products.router,
            routes_plans.router,
            routes_plan_versions.router,
            routes_plan_overlays.router,
            routes_features.router,
            routes_coupons.router,
            routes_coupon_redemptions.router,
            routes_catalog_documents.router,
        ),
        audit=audit_catalog,
        limits=Limits(
            body_bytes_max_by_prefix={routes_catalog_documents.IMPORTS: 8 * MEBIBYTE},
            values_max_by_prefix={routes_catalog_documents.IMPORTS: 200_000},
        ),
    )
