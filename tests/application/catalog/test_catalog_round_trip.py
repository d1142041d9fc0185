"""Whatever a catalog holds: its export, imported, changes nothing, and makes the same catalog elsewhere."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.clock import SystemClock
from services.catalog.application.change_plan_sale import ChangePlanSale, change_plan_sale
from services.catalog.application.change_product import ChangeProduct, change_product
from services.catalog.application.export_catalog import export_catalog
from services.catalog.application.import_catalog import import_catalog
from services.catalog.application.retire_plan import RetirePlan, retire_plan
from services.catalog.domain.known_meter import KnownMeter
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.entrypoints.catalog_reading import read_document, tell_document
from tests.support.catalog import MemoryCatalog

METERS = (
    KnownMeter("flying-minutes", "mtr_1", "sum", "minute", 1),
    KnownMeter("calls", "mtr_2", "count", None, 1),
)
CURRENCIES = ("EUR", "JPY", "KWD")
amounts = st.decimals(0, 10**6, places=4).map(lambda amount: f"{amount:f}")
sizes = st.integers(1, 10**6).map(str)
intervals = st.fixed_dictionaries({"unit": st.sampled_from(["month", "year"]), "count": st.integers(1, 3)})
words = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)


def rising(parts: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Tiers, the last of them open-ended."""
    tier = st.fixed_dictionaries(parts)
    ends = st.lists(st.integers(1, 10**6), unique=True, max_size=3).map(sorted)
    return ends.flatmap(
        lambda up_to: st.lists(tier, min_size=len(up_to) + 1, max_size=len(up_to) + 1).map(
            lambda tiers: (
                [{"up_to": str(end), **t} for end, t in zip(up_to, tiers[:-1], strict=True)] + tiers[-1:]
            )
        )
    )


MODELS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "flat": {"unit_amount": amounts},
    "per_unit": {"unit_amount": amounts},
    "graduated": {"tiers": rising({"unit_amount": amounts, "flat_amount": amounts})},
    "volume": {"tiers": rising({"unit_amount": amounts}), "charges_first_flat_at_zero": st.booleans()},
    "package": {
        "unit_amount": amounts,
        "package_size": sizes,
        "package_rounding": st.sampled_from(["up", "down"]),
    },
    "percentage": {"rate_percent": st.integers(0, 100).map(str)},
    "expression": {"expression": st.just("quantity * 2")},
}
OF_USAGE: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "matrix": {
        "dimensions": st.just(["region"]),
        "cells": amounts.map(lambda amount: [{"values": ["*"], "unit_amount": amount}]),
    },
    "capacity": {"capacity_basis": st.sampled_from(["peak", "time_weighted"]), "unit_amount": amounts},
    "dynamic": {},
}


@st.composite
def prices(draw: st.DrawFn, code: str, phases: list[str]) -> dict[str, Any]:
    kind = draw(st.sampled_from(["recurring", "one_time", "usage"]))
    models = {**MODELS, **OF_USAGE} if kind == "usage" else MODELS
    model = draw(st.sampled_from([name for name in models if (kind, name) != ("usage", "flat")]))
    price = {"code": code, "kind": kind, "model": model, **draw(st.fixed_dictionaries(models[model]))}
    price["product"] = draw(st.sampled_from(["p0", "p1"]))
    optional: dict[str, st.SearchStrategy[Any]] = {
        "description": words,
        "tax_category": st.sampled_from(["standard", "reduced"]),
        "tax_behavior": st.just("inclusive"),
        "minimum_amount": st.just("1"),
        "maximum_amount": amounts.map(lambda amount: str(int(float(amount)) + 1)),
    }
    if phases:
        optional["phase"] = st.sampled_from(phases)
    if kind == "usage":
        price["meter"] = draw(st.sampled_from([meter.code for meter in METERS]))
    else:
        optional["unit"] = words
    if kind == "recurring":
        optional |= {"proration": st.sampled_from(["none", "second"]), "timing": st.just("arrears")}
    return {**price, **draw(st.fixed_dictionaries({}, optional=optional))}


@st.composite
def plans(draw: st.DrawFn, code: str) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(["ramp", "steady"]), unique=True, max_size=2))
    phases = [{"code": name, "name": name, **({"periods": 3} if name != names[-1] else {})} for name in names]
    written = [draw(prices(f"c{n}", names)) for n in range(draw(st.integers(1, 3)))]
    currency = draw(st.sampled_from(CURRENCIES))
    if draw(st.booleans()):  # the same price, in another currency as well
        other = next(each for each in CURRENCIES if each != currency)
        written.append({**written[0], "currency": other})
    granted = draw(st.lists(st.sampled_from(["f0", "f1", "f2"]), unique=True))
    grants = {
        "f0": {"feature": "f0"},
        "f1": {"feature": "f1", "limit": "5"},
        "f2": {"feature": "f2", "allowance": "7", "overage_allowed": True, "interval": {"unit": "week"}},
    }
    optional: dict[str, st.SearchStrategy[Any]] = {
        "description": words,
        "trial": st.fixed_dictionaries({"interval": st.just({"unit": "day", "count": 14})}),
        "external_id": words,
        "metadata": st.dictionaries(st.sampled_from(["a", "b"]), words),
        "publish": st.just(False),
    }
    if code != "add":
        optional["late_usage"] = st.fixed_dictionaries(
            {"policy": st.sampled_from(["next_invoice", "note_at_once", "draft_only"])},
            optional={"window_days": st.sampled_from([0, 1, 35])},
        )
        optional["dunning"] = st.fixed_dictionaries(
            {},
            optional={
                "retry_days": st.sampled_from([[], [1], [1, 3, 5, 7]]),
                "reminder_days": st.sampled_from([[0], [3, 10]]),
                "suspend_after_days": st.sampled_from([1, 14]),
                "end_after_days": st.sampled_from([30, 60]),
            },
        )
    bounds = {"valid_from": st.just("2026-01-01T00:00:00Z"), "valid_until": st.just("2027-01-01T00:00:00Z")}
    plan = {
        "code": code,
        "name": draw(words),
        "currency": currency,
        "interval": draw(intervals),
        "phases": phases,
        "prices": written,
        "features": [grants[name] for name in granted],
        "commitments": [{"code": "least", "minimum_amount": "10", "price_codes": ["c0"]}],
        **draw(st.fixed_dictionaries({}, optional=optional)),
    }
    return (
        plan if plan.get("publish") is False else {**plan, **draw(st.fixed_dictionaries({}, optional=bounds))}
    )


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A good one, of every kind of thing."""
    product = {
        "name": words,
        "kind": st.sampled_from(["goods", "service", "digital"]),
    }
    maybe = {"unit": words, "tax_category": st.sampled_from(["standard", "reduced"]), "description": words}
    base = [draw(plans(f"l{n}")) for n in range(draw(st.integers(1, 2)))]
    extra = {**draw(plans("add")), "kind": "add_on", "for_plans": [base[0]["code"]]}
    worth = draw(st.sampled_from([{"percent": "12.5"}, {"amount": {"amount": "500", "currency": "JPY"}}]))
    return {
        "perennial_catalog": 1,
        "products": [
            {"code": code, **draw(st.fixed_dictionaries(product, optional=maybe))} for code in ("p0", "p1")
        ],
        "features": [
            {"code": "f0", "name": "On", "kind": "switch"},
            {"code": "f1", "name": "Limit", "kind": "limit", "unit": "seat"},
            {"code": "f2", "name": "Metered", "kind": "metered", "meter": "calls"},
        ],
        "plans": [extra, *base],
        "coupons": [
            {"code": "off", "name": "Off", "duration": "once", "products": ["p1"], "plans": ["add"], **worth}
        ],
    }


def a_catalog() -> MemoryCatalog:
    """Empty, but for meters."""
    uow = MemoryCatalog()
    uow.products.by_id.clear()
    uow.known_meters.by_code = {meter.code: meter for meter in METERS}
    return uow


async def put_in(uow: MemoryCatalog, document: dict[str, Any]) -> str:
    command = read_document(document, dry_run=False, prune=True)
    return (await import_catalog(command, uow=uow, clock=SystemClock())).words


def drafts_of(uow: MemoryCatalog) -> dict[str, PlanDraft]:
    """By code, with codes for ids."""

    def with_codes(draft: PlanDraft) -> PlanDraft:
        codes = {product.id: product.code for product in uow.products.by_id.values()}
        return replace(
            draft,
            prices=tuple(replace(price, product_id=codes[price.product_id]) for price in draft.prices),
            features=tuple(replace(grant, feature_id=grant.code) for grant in draft.features),
        )

    return {plan.code: with_codes(plan.draft) for plan in uow.plans.by_id.values()}


async def told_by(uow: MemoryCatalog) -> dict[str, Any]:
    return tell_document(await export_catalog(uow=uow))


@given(document=documents())
@settings(max_examples=60, deadline=None)
def test_an_export_imports_as_no_change_and_makes_the_same_elsewhere(document: dict[str, Any]) -> None:
    async def there_and_back() -> None:
        here, elsewhere = a_catalog(), a_catalog()
        await put_in(here, document)
        told = await told_by(here)
        assert await put_in(here, told) == "Nothing changes."
        assert await put_in(here, document) == "Nothing changes."
        await put_in(elsewhere, told)
        assert await told_by(elsewhere) == told
        assert drafts_of(elsewhere) == drafts_of(here)
        assert await put_in(elsewhere, document) == "Nothing changes."

    asyncio.run(there_and_back())


@given(document=documents(), data=st.data())
@settings(max_examples=30, deadline=None)
def test_nor_does_it_after_others_have_changed_the_catalog(
    document: dict[str, Any], data: st.DataObject
) -> None:
    """A product gets words that its prices were made without; a version is withdrawn; a plan is retired."""

    async def changed_by_others() -> None:
        uow, clock = a_catalog(), SystemClock()
        await put_in(uow, document)
        for product in list(uow.products.by_id.values()):
            details = {
                "unit": data.draw(words | st.none()),
                "tax_category": data.draw(st.none() | st.just("other")),
            }
            command = ChangeProduct(product.id, lambda now, new=details: replace(now, **new))
            await change_product(command, uow=uow, clock=clock, check_version=lambda _: None)
        plan = data.draw(st.sampled_from(list(uow.plans.by_id.values())))
        if data.draw(st.booleans()):
            await retire_plan(RetirePlan(plan.id), uow=uow, clock=clock, check_version=lambda _: None)
        elif plan.published_number:
            sale = ChangePlanSale(plan.id, 1, data.draw(st.sampled_from(["withdrawn", "archived"])))
            await change_plan_sale(sale, uow=uow, clock=clock, check=lambda _: None)
        told = await told_by(uow)
        assert await put_in(uow, told) == "Nothing changes."
        elsewhere = a_catalog()
        await put_in(elsewhere, told)
        assert await told_by(elsewhere) == told
        drafts = drafts_of(uow)
        assert drafts_of(elsewhere) == {code: drafts[code] for code in drafts_of(elsewhere)}

    asyncio.run(changed_by_others())
