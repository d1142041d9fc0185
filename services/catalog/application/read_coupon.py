"""What a tenant wrote as a coupon → terms whose products and plans exist."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace

from libs.common.errors import InputError
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.coupon import CouponTerms, check_terms


async def read_terms(terms: CouponTerms, *, products: Sequence[str] | None, uow: UnitOfWork) -> CouponTerms:
    """The terms, checked, with the ids of `products`, which are named by id or by code; None keeps those it has.

    What is named twice counts once.
    Raises: CouponInvalid, with every fault.
    """
    faults: list[InputError] = []
    if products is not None:
        found = await uow.products.find_named(ids=products, codes=products) if products else []
        ids = {product.code: product.id for product in found} | {product.id: product.id for product in found}
        faults += _unknown("products", products, ids.keys(), "POST /v1/products")
        terms = replace(terms, product_ids=_once(ids[name] for name in products if name in ids))
    plans = await uow.plans.find_named(terms.plan_codes) if terms.plan_codes else []
    faults += _unknown("plans", terms.plan_codes, {plan.code for plan in plans}, "POST /v1/plans")
    terms = replace(terms, plan_codes=_once(terms.plan_codes))
    check_terms(terms, found=faults)
    return terms


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _unknown(field: str, names: Sequence[str], known: Container[str], route: str) -> Iterator[InputError]:
    for position, name in enumerate(names):
        if name not in known:
            detail = f"there is none of this name: make it first ({route})"
            yield {"pointer": f"/{field}/{position}", "detail": detail}
