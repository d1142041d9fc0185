"""What a tenant wrote as a plan → a draft whose products and meters exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from libs.common.errors import InputError
from libs.common.periods import Interval
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.plan_draft import PlanDraft, check_draft
from services.catalog.domain.price import Price, PriceKind, PriceModel, PriceTiming, Proration
from services.catalog.domain.price_tier import PriceTier
from services.catalog.domain.product import Product


@dataclass(frozen=True, slots=True)
class WrittenPrice:
    """A price as it was written: its product by id or by code; words left out come from the product."""

    code: str
    kind: PriceKind
    timing: PriceTiming
    model: PriceModel
    product_id: str | None = None
    product_code: str | None = None
    description: str | None = None
    unit_amount: Decimal | None = None
    tiers: tuple[PriceTier, ...] = ()
    package_size: Decimal | None = None
    included_quantity: Decimal = Decimal(0)
    meter: str | None = None
    unit: str | None = None
    proration: Proration = "day"


@dataclass(frozen=True, slots=True)
class WrittenPlan:
    name: str
    currency: str
    interval: Interval
    prices: tuple[WrittenPrice, ...]


async def read_draft(written: WrittenPlan, *, uow: UnitOfWork) -> PlanDraft:
    """The draft, with everything looked up.

    Raises: PlanInvalid, with every fault; MeterUnknown, when unknown meters are the only ones.
    """
    products = await uow.products.find_named(
        ids={p.product_id for p in written.prices if p.product_id is not None},
        codes={p.product_code for p in written.prices if p.product_code is not None},
    )
    by_id = {product.id: product for product in products}
    by_code = {product.code: product for product in products}
    faults: list[InputError] = []
    prices = []
    for position, price in enumerate(written.prices):
        found = _find_product(price, by_id, by_code)
        if isinstance(found, str):
            name = "product" if price.product_code is not None else "product_id"
            faults.append({"pointer": f"/prices/{position}/{name}", "detail": found})
        prices.append(_priced(price, None if isinstance(found, str) else found))
    draft = PlanDraft(
        name=written.name, currency=written.currency, interval=written.interval, prices=tuple(prices)
    )
    await check_saleable(draft, uow=uow, products=products, found=faults)
    return draft


async def check_saleable(
    draft: PlanDraft,
    *,
    uow: UnitOfWork,
    products: Sequence[Product] | None = None,
    found: Sequence[InputError] = (),
) -> None:
    """Refuse a draft that could not be sold today. Raises: PlanInvalid, MeterUnknown."""
    if products is None:
        products = await uow.products.find_named(ids={p.product_id for p in draft.prices}, codes=())
    meters = {price.meter for price in draft.prices if price.meter is not None}
    check_draft(
        draft,
        products={product.id: product for product in products},
        meters=await uow.known_meters.find_known(meters) if meters else frozenset(),
        found=found,
    )


def _find_product(
    price: WrittenPrice, by_id: dict[str, Product], by_code: dict[str, Product]
) -> Product | str:
    """The product, or what is wrong with how it is named."""
    if (price.product_id is None) == (price.product_code is None):
        return "name the product by product_id or by product (its code), one of the two"
    if price.product_id is not None:
        return by_id.get(price.product_id) or "there is no such product: make it first (POST /v1/products)"
    assert price.product_code is not None, "one of the two is given"
    found = by_code.get(price.product_code)
    return found or f"there is no product {price.product_code}: make it first (POST /v1/products)"


def _priced(price: WrittenPrice, product: Product | None) -> Price:
    name, unit = (product.name, product.unit) if product is not None else ("", None)
    return Price(
        code=price.code,
        product_id=product.id if product is not None else "",
        description=price.description if price.description is not None else name,
        kind=price.kind,
        timing=price.timing,
        model=price.model,
        unit_amount=price.unit_amount,
        tiers=price.tiers,
        package_size=price.package_size,
        included_quantity=price.included_quantity,
        meter=price.meter,
        unit=price.unit if price.unit is not None else unit,
        proration=price.proration,
    )
