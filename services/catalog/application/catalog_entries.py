"""What is there → how it is written in a catalog document: with codes for ids, without what goes without saying."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from services.catalog.application.catalog_document import PlanEntry
from services.catalog.application.create_coupon import CreateCoupon
from services.catalog.application.create_feature import CreateFeature
from services.catalog.application.create_product import CreateProduct
from services.catalog.application.ports import UnitOfWork
from services.catalog.application.written_plan import WrittenPlan, WrittenPrice, written_of
from services.catalog.domain.coupon import Coupon
from services.catalog.domain.feature import Feature
from services.catalog.domain.known_meter import KnownMeter
from services.catalog.domain.plan import Plan
from services.catalog.domain.plan_version import PlanVersion
from services.catalog.domain.price import Price
from services.catalog.domain.product import Product, details_of


@dataclass(frozen=True, slots=True)
class Named:
    """What plans and coupons name: products by id, meters by code."""

    products: Mapping[str, Product]
    meters: Mapping[str, KnownMeter]


async def named_by(plans: list[Plan], coupons: list[Coupon], *, uow: UnitOfWork) -> Named:
    """In one statement for each kind of thing."""
    prices = [price for plan in plans for price in plan.draft.prices]
    ids = {price.product_id for price in prices} | {id for each in coupons for id in each.terms.product_ids}
    codes = {price.meter for price in prices if price.meter is not None}
    products = await uow.products.find_named(ids=ids, codes=()) if ids else []
    meters = await uow.known_meters.find_named(codes) if codes else []
    return Named({product.id: product for product in products}, {meter.code: meter for meter in meters})


def product_entry(product: Product) -> CreateProduct:
    return CreateProduct(product.code, product.kind, details_of(product))


def feature_entry(feature: Feature) -> CreateFeature:
    return CreateFeature(feature.code, feature.kind, feature.meter, feature.details)


def coupon_entry(coupon: Coupon, named: Named) -> CreateCoupon:
    products = tuple(named.products[id].code for id in coupon.terms.product_ids)
    return CreateCoupon(coupon.code, replace(coupon.terms, product_ids=()), products)


def plan_entry(plan: Plan, newest: PlanVersion | None, named: Named) -> PlanEntry:
    """`newest` is its newest published version. What is sold is told as sold; anything else as a draft."""
    written = _written_plan(plan, named)
    if newest is None or plan.status == "retired" or newest.content != plan.draft:
        return PlanEntry(plan.code, written, publish=False)
    if plan.sale_state(newest.number) != "published":
        return PlanEntry(plan.code, written, publish=False)
    return PlanEntry(plan.code, written, validity=newest.validity)


def _written_plan(plan: Plan, named: Named) -> WrittenPlan:
    draft = plan.draft
    commitments = (
        replace(each, currency="") if each.currency == draft.currency else each for each in draft.commitments
    )
    return replace(
        written_of(plan),
        prices=tuple(_written_price(price, plan, named) for price in draft.prices),
        commitments=tuple(commitments),
    )


def _written_price(price: Price, plan: Plan, named: Named) -> WrittenPrice:
    """What comes from elsewhere when it is left out is left out, where it is the same."""
    product = named.products[price.product_id]
    meter = named.meters.get(price.meter or "")
    unit = (meter.unit if meter else None) or product.unit
    terms = replace(
        price,
        product_id="",
        description="" if price.description == product.name else price.description,
        currency="" if price.currency == plan.draft.currency else price.currency,
        unit=None if price.unit == unit else price.unit,
        tax_category=None if price.tax_category == product.tax_category else price.tax_category,
    )
    elsewhere = {"unit": unit, "tax_category": product.tax_category}
    left_empty = (name for name, value in elsewhere.items() if value and getattr(price, name) is None)
    return WrittenPrice(terms, product.code, frozenset(left_empty))
