"""What a tenant wrote as a plan → a draft whose products, meters, features and plans exist."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from libs.common.errors import InputError
from services.catalog.application.ports import UnitOfWork
from services.catalog.application.written_plan import WrittenPlan, WrittenPrice, draft_of
from services.catalog.domain.commitment import Commitment
from services.catalog.domain.feature_grant import FeatureGrant
from services.catalog.domain.interval_nesting import is_same
from services.catalog.domain.known_meter import KnownMeter
from services.catalog.domain.plan_draft import Known, PlanDraft, check_draft
from services.catalog.domain.price import Price
from services.catalog.domain.product import Product


async def read_draft(written: WrittenPlan, *, uow: UnitOfWork) -> PlanDraft:
    """The draft, with everything looked up, and what was left out taken from where it comes from.

    Raises: PlanInvalid, with every fault; MeterUnknown, when unknown meters are the only ones.
    """
    told = (price.terms.currency for price in written.prices if price.terms.currency)
    written = replace(written, currency=written.currency or next(told, ""))
    known = await _known(
        product_ids={price.terms.product_id for price in written.prices if price.terms.product_id},
        product_codes={price.product_code for price in written.prices if price.product_code is not None},
        meters={price.terms.meter for price in written.prices},
        features={grant.feature for grant in written.features},
        base_plans=written.for_plans,
        uow=uow,
    )
    faults: list[InputError] = []
    prices = tuple(_read_prices(written, known, faults))
    grants = tuple(_read_grants(written, known, faults))
    commitments = tuple(_in_a_currency(commitment, written.currency) for commitment in written.commitments)
    draft = draft_of(replace(written, commitments=commitments), prices, grants)
    check_draft(draft, known, found=faults)
    return draft


async def check_saleable(draft: PlanDraft, *, uow: UnitOfWork) -> None:
    """Refuse a draft that could not be sold today. Raises: PlanInvalid, MeterUnknown."""
    known = await _known(
        product_ids={price.product_id for price in draft.prices},
        meters={price.meter for price in draft.prices},
        features={grant.code for grant in draft.features},
        base_plans=draft.for_plans,
        uow=uow,
    )
    check_draft(draft, known)


async def _known(
    *,
    product_ids: Collection[str],
    product_codes: Collection[str] = (),
    meters: Collection[str | None],
    features: Collection[str],
    base_plans: Collection[str],
    uow: UnitOfWork,
) -> Known:
    """What there is of what is named, in one statement for each kind of thing."""
    metered = {code for code in meters if code is not None}
    products = await uow.products.find_named(ids=product_ids, codes=product_codes)
    plans = await uow.plans.find_named(base_plans) if base_plans else []
    return Known(
        products={product.id: product for product in products},
        meters={m.code: m for m in await uow.known_meters.find_named(metered)} if metered else {},
        features={f.id: f for f in await uow.features.find_named(features)} if features else {},
        base_plans=frozenset(
            plan.code for plan in plans if plan.status != "retired" and plan.draft.kind == "base"
        ),
    )


def _read_prices(written: WrittenPlan, known: Known, faults: list[InputError]) -> Iterator[Price]:
    by_code = {product.code: product for product in known.products.values()}
    for position, price in enumerate(written.prices):
        id, code = price.terms.product_id, price.product_code
        product = known.products.get(id) if id else by_code.get(code or "")
        at = f"/prices/{position}/{'product' if code is not None else 'product_id'}"
        if (not id) == (code is None):
            detail = "name the product by product_id or by product (its code), one of the two"
            faults.append({"pointer": at, "detail": detail})
            product = None
        elif product is None:
            named = "such product" if id else f"product {code}"
            detail = f"there is no {named}: make it first (POST /v1/products)"
            faults.append({"pointer": at, "detail": detail})
        yield _priced(price, product, known.meters.get(price.terms.meter or ""), written)


def _read_grants(written: WrittenPlan, known: Known, faults: list[InputError]) -> Iterator[FeatureGrant]:
    by_code = {feature.code: feature for feature in known.features.values()}
    for position, grant in enumerate(written.features):
        feature = by_code.get(grant.feature)
        if feature is None:
            detail = f"there is no feature {grant.feature}: make it first (POST /v1/features)"
            faults.append({"pointer": f"/features/{position}/feature", "detail": detail})
            continue
        yield FeatureGrant(
            feature_id=feature.id,
            code=feature.code,
            kind=feature.kind,
            limit=grant.limit,
            allowance=grant.allowance,
            meter=feature.meter,
            overage_allowed=grant.overage_allowed,
            interval=grant.interval,
        )


def _priced(
    price: WrittenPrice, product: Product | None, meter: KnownMeter | None, plan: WrittenPlan
) -> Price:
    """What was left out comes from the product, the meter and the plan; what says nothing new is left out."""
    terms, charged_every = price.terms, plan.interval
    interval = terms.interval
    if interval is not None and is_same(interval, plan.interval):
        interval = None
    elif interval is not None:
        charged_every = interval
    allowance = terms.allowance_interval
    if allowance is not None and is_same(allowance, charged_every):
        allowance = None
    unit = terms.unit or (meter.unit if meter else None) or (product.unit if product else None)
    tax_category = terms.tax_category or (product.tax_category if product else None)
    return replace(
        terms,
        product_id=product.id if product else "",
        description=terms.description or (product.name if product else ""),
        currency=terms.currency or plan.currency,
        unit=None if "unit" in price.left_empty else unit,
        tax_category=None if "tax_category" in price.left_empty else tax_category,
        interval=interval,
        allowance_interval=allowance,
    )


def _in_a_currency(commitment: Commitment, currency: str) -> Commitment:
    return commitment if commitment.currency else replace(commitment, currency=currency)
