"""The whole catalog as one document, so that it can be kept, compared, and made again elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from operator import attrgetter
from typing import TypeVar

from libs.common.paging import PageRequest, Slice
from services.catalog.application.catalog_document import THINGS_MAX, CatalogDocument, CatalogTooLarge
from services.catalog.application.catalog_entries import (
    coupon_entry,
    feature_entry,
    named_by,
    plan_entry,
    product_entry,
)
from services.catalog.application.ports import (
    CouponFilter,
    FeatureFilter,
    PlanFilter,
    ProductFilter,
    UnitOfWork,
)
from services.catalog.domain.coupon import Coupon
from services.catalog.domain.feature import Feature
from services.catalog.domain.plan import Plan
from services.catalog.domain.plan_version import plan_version_id
from services.catalog.domain.product import Product

T = TypeVar("T")


async def export_catalog(*, uow: UnitOfWork) -> CatalogDocument:
    """Each kind by code. Importing it where it comes from changes nothing.

    What is archived or retired is left out, unless something that is told names it.
    Raises: CatalogTooLarge.
    """
    coupons = await unarchived_coupons(uow)
    plans = _with_named(await all_plans(uow), coupons)
    named = await named_by(plans, coupons, uow=uow)
    granted = {grant.code for plan in plans for grant in plan.draft.features}
    granting = await uow.features.find_named(granted) if granted else []
    products = {p.id: p for p in (*await unarchived_products(uow), *named.products.values())}
    features = {f.id: f for f in (*await unarchived_features(uow), *granting)}
    newest = await uow.plan_versions.find_by_ids(
        [plan_version_id(plan.id, plan.published_number) for plan in plans if plan.published_number]
    )
    document = CatalogDocument(
        products=tuple(product_entry(product) for product in _by_code(products.values())),
        features=tuple(feature_entry(feature) for feature in _by_code(features.values())),
        plans=tuple(
            plan_entry(plan, newest.get(plan_version_id(plan.id, plan.published_number)), named)
            for plan in _by_code(plans)
        ),
        coupons=tuple(coupon_entry(coupon, named) for coupon in _by_code(coupons)),
    )
    _check_size(document.thing_count)
    return document


async def unarchived_products(uow: UnitOfWork) -> list[Product]:
    """Raises: CatalogTooLarge; so do the others."""
    found = await _all(lambda page: uow.products.list_page(ProductFilter(archived=False), page))
    return [product for product in found if not product.archived]


async def unarchived_features(uow: UnitOfWork) -> list[Feature]:
    found = await _all(lambda page: uow.features.list_page(FeatureFilter(archived=False), page))
    return [feature for feature in found if not feature.archived]


async def unarchived_coupons(uow: UnitOfWork) -> list[Coupon]:
    found = await _all(lambda page: uow.coupons.list_page(CouponFilter(archived=False), page))
    return [coupon for coupon in found if not coupon.archived]


async def all_plans(uow: UnitOfWork) -> list[Plan]:
    return await _all(lambda page: uow.plans.list_page(PlanFilter(), page))


def _with_named(plans: list[Plan], coupons: list[Coupon]) -> list[Plan]:
    """Those that are not retired, and those that they or the coupons name: so nothing names what is not there."""
    wanted = {plan.code for plan in plans if plan.status != "retired"}
    wanted |= {code for coupon in coupons for code in coupon.terms.plan_codes}
    wanted |= {code for plan in plans if plan.code in wanted for code in plan.draft.for_plans}
    return [plan for plan in plans if plan.code in wanted]


async def _all(page_of: Callable[[PageRequest], Awaitable[Slice[T]]]) -> list[T]:
    """Raises: CatalogTooLarge."""
    found = await page_of(PageRequest(limit=THINGS_MAX))
    if found.next is not None:
        _check_size(THINGS_MAX + 1)
    return list(found.items)


def _check_size(count: int) -> None:
    if count > THINGS_MAX:
        raise CatalogTooLarge(
            f"one document holds at most {THINGS_MAX} things, and there are more",
            things_max=THINGS_MAX,
            remedy="Read the lists page by page: GET /v1/products, /v1/features, /v1/plans, /v1/coupons.",
        )


def _by_code(things: Collection[T]) -> list[T]:
    return sorted(things, key=attrgetter("code"))
