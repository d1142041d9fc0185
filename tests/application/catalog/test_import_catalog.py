"""A document of a catalog becomes the catalog: what is made, what is told, and all that is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from libs.common.contracts.catalog import (
    CouponChangedV1,
    FeatureChangedV1,
    PlanPublishedV1,
    PlanVersionSalesChangedV1,
    ProductChangedV1,
)
from services.catalog.application.archive_product import ArchiveProduct, archive_product
from services.catalog.application.catalog_changes import CatalogImport
from services.catalog.application.catalog_document import CatalogInvalid, CatalogMeterUnknown, CatalogTooLarge
from services.catalog.application.create_product import CreateProduct, create_product
from services.catalog.application.export_catalog import export_catalog
from services.catalog.application.import_catalog import import_catalog
from services.catalog.application.retire_plan import RetirePlan, retire_plan
from services.catalog.domain.product import ProductDetails
from services.catalog.entrypoints.catalog_reading import read_document, tell_document
from tests.support.catalog import MemoryCatalog
from tests.support.clocks import FixedClock

FEE: dict[str, Any] = {
    "code": "desks",
    "product": "desk",
    "kind": "recurring",
    "model": "per_unit",
    "unit_amount": "9",
}
PLAN: dict[str, Any] = {
    "code": "office",
    "name": "Office",
    "currency": "EUR",
    "interval": {"unit": "month"},
    "prices": [FEE],
}
DOCUMENT: dict[str, Any] = {
    "perennial_catalog": 1,
    "products": [{"code": "desk", "name": "Desk", "kind": "goods"}],
    "features": [{"code": "swaps", "name": "Swaps", "kind": "limit"}],
    "plans": [PLAN],
    "coupons": [{"code": "spring", "name": "Spring", "percent": "10", "duration": "once"}],
}


@pytest.fixture
def uow() -> MemoryCatalog:
    """With a meter, and nothing else."""
    catalog = MemoryCatalog()
    catalog.products.by_id.clear()
    return catalog


def a_document(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(DOCUMENT), **copy.deepcopy(changes)}


async def put_in(
    uow: MemoryCatalog, document: dict[str, Any], *, dry_run: bool = False, prune: bool = False
) -> CatalogImport:
    command = read_document(document, dry_run=dry_run, prune=prune)
    return await import_catalog(command, uow=uow, clock=FixedClock())


async def refused(uow: MemoryCatalog, document: dict[str, Any], **how: bool) -> dict[str, str]:
    """Details by pointer. Nothing has changed."""
    before = [dict(things.by_id) for things in (uow.products, uow.features, uow.plans, uow.coupons)]
    events = len(uow.outbox.events)
    with pytest.raises(CatalogInvalid) as caught:
        await put_in(uow, document, **how)
    assert before == [dict(things.by_id) for things in (uow.products, uow.features, uow.plans, uow.coupons)]
    assert len(uow.outbox.events) == events
    faults = {fault["pointer"]: fault["detail"] for fault in caught.value.errors}
    assert len(faults) == len(caught.value.errors), "a place is told twice"
    return faults


def done(told: CatalogImport) -> dict[str, str]:
    return {f"{thing.kind} {thing.code}": thing.action for thing in told.things}


async def test_everything_is_made_told_and_put_on_sale(uow: MemoryCatalog) -> None:
    told = await put_in(uow, DOCUMENT)
    assert told.applied
    assert done(told) == dict.fromkeys(
        ("product desk", "feature swaps", "plan office", "coupon spring"), "create"
    )
    assert told.words == "4 to create."
    assert [type(event) for event in uow.outbox.events] == [
        ProductChangedV1,
        FeatureChangedV1,
        PlanPublishedV1,
        CouponChangedV1,
    ]
    (plan,) = uow.plans.by_id.values()
    assert (plan.status, plan.published_number) == ("published", 1)
    (version,) = uow.plan_versions.versions
    assert version.content.prices[0].product_id in uow.products.by_id
    assert [line.action for line in uow.recorded] == [
        "product.created",
        "feature.created",
        "plan.created",
        "plan.published",
        "coupon.created",
    ]


async def test_a_dry_run_says_the_same_and_leaves_everything_as_it_is(uow: MemoryCatalog) -> None:
    tried = await put_in(uow, DOCUMENT, dry_run=True)
    assert not tried.applied
    assert not uow.products.by_id
    assert not uow.outbox.events
    assert not uow.recorded
    assert [(t.action, t.words, t.pointer) for t in tried.things] == [
        (t.action, t.words, t.pointer) for t in (await put_in(uow, DOCUMENT)).things
    ]


async def test_a_repeat_changes_nothing_and_says_nothing(uow: MemoryCatalog) -> None:
    await put_in(uow, DOCUMENT)
    told, recorded = len(uow.outbox.events), len(uow.recorded)
    again = await put_in(uow, DOCUMENT)
    assert again.words == "Nothing changes."
    assert (len(uow.outbox.events), len(uow.recorded)) == (told, recorded)


async def test_the_order_of_the_document_and_another_spelling_of_a_number_change_nothing(
    uow: MemoryCatalog,
) -> None:
    extra = {**PLAN, "code": "a-swap", "kind": "add_on", "for_plans": ["office"]}
    await put_in(uow, a_document(plans=[extra, PLAN]))  # the add-on before what it goes with
    turned = a_document(
        plans=[PLAN, {**extra, "prices": [{**FEE, "unit_amount": "9.00", "timing": "advance"}]}]
    )
    assert (await put_in(uow, turned)).words == "Nothing changes."


async def test_a_draft_is_kept_and_published_when_the_document_says_so(uow: MemoryCatalog) -> None:
    told = await put_in(uow, a_document(plans=[{**PLAN, "publish": False}]))
    (made,) = (thing for thing in told.things if thing.kind == "plan")
    assert (made.action, made.version, made.words) == ("create", None, "is new: Office, a draft")
    assert not uow.plan_versions.versions
    told = await put_in(uow, DOCUMENT)
    assert done(told)["plan office"] == "publish"
    assert [version.number for version in uow.plan_versions.versions] == [1]
    dearer = {**PLAN, "prices": [{**FEE, "unit_amount": "10"}], "publish": False}
    told = await put_in(uow, a_document(plans=[dearer]))
    (changed,) = (thing for thing in told.things if thing.kind == "plan")
    assert (changed.action, changed.version) == ("update", None)
    assert len(uow.plan_versions.versions) == 1


async def test_other_bounds_are_another_version(uow: MemoryCatalog) -> None:
    await put_in(uow, DOCUMENT)
    bounded = {**PLAN, "valid_until": "2030-01-01T00:00:00Z"}
    told = await put_in(uow, a_document(plans=[bounded]))
    (changed,) = (thing for thing in told.things if thing.kind == "plan")
    assert (changed.action, changed.version) == ("update", 2)
    assert [change.pointer for change in changed.changes] == ["/plans/0/valid_until"]
    assert (await put_in(uow, a_document(plans=[bounded]))).words == "Nothing changes."


async def test_what_a_price_takes_from_its_product_follows_the_product(uow: MemoryCatalog) -> None:
    await put_in(uow, DOCUMENT)
    taxed = a_document()
    taxed["products"][0] |= {"tax_category": "reduced", "unit": "piece"}
    told = await put_in(uow, taxed)
    assert done(told)["plan office"] == "update"
    price = uow.plan_versions.versions[-1].content.prices[0]
    assert (price.tax_category, price.unit) == ("reduced", "piece")
    # Null is none at all, whatever the product has.
    bare = a_document(plans=[{**PLAN, "prices": [{**FEE, "tax_category": None, "unit": None}]}])
    bare["products"] = taxed["products"]
    await put_in(uow, bare)
    price = uow.plan_versions.versions[-1].content.prices[0]
    assert (price.tax_category, price.unit) == (None, None)
    assert tell_document(await export_catalog(uow=uow))["plans"][0]["prices"][0]["unit"] is None
    assert (await put_in(uow, bare)).words == "Nothing changes."


async def test_a_coupon_that_is_redeemed_keeps_its_terms(uow: MemoryCatalog) -> None:
    await put_in(uow, DOCUMENT)
    (coupon,) = uow.coupons.by_id.values()
    await uow.coupons.count_redemption(coupon.id, "cus_one")
    more = a_document()
    more["coupons"][0] |= {"percent": "20"}
    assert list(await refused(uow, more)) == ["/coupons/0/percent"]
    renamed = a_document()
    renamed["coupons"][0] |= {"name": "Spring again"}
    assert done(await put_in(uow, renamed))["coupon spring"] == "update"


async def test_what_is_named_twice_counts_once(uow: MemoryCatalog) -> None:
    limited = a_document()
    limited["coupons"][0] |= {"products": ["desk", "desk"], "plans": ["office", "office"]}
    await put_in(uow, limited)
    assert (await put_in(uow, limited)).words == "Nothing changes."


async def test_every_fault_is_told_at_once_wherever_it_is(uow: MemoryCatalog) -> None:
    wrong = {
        "perennial_catalog": 1,
        "products": [
            {"code": "desk", "name": "Desk", "kind": "gods"},
            {"code": "chair", "name": "Chair", "kind": "goods"},
            {"code": "chair", "name": "Chair", "kind": "goods"},
        ],
        "features": [{"code": "swaps", "name": "Swaps", "kind": "limit", "meter": "flying-minutes"}],
        "plans": [
            {**PLAN, "features": [{"feature": "swaps"}, {"feature": "other"}], "valid_until": "soon"},
            {**PLAN, "code": "home", "prices": [{**FEE, "kind": "usage", "meter": "no-meter"}]},
            {**PLAN, "code": "swap", "kind": "add_on", "for_plans": ["office", "garden"]},
            {**PLAN, "code": "late", "publish": False, "valid_from": "2030-01-01T00:00:00Z"},
        ],
        "coupons": [{"code": "spring", "name": "Spring", "duration": "once", "plans": ["swap"]}],
    }
    faults = await refused(uow, wrong)
    assert sorted(faults) == [
        "/coupons/0/percent",
        "/features/0/meter",
        "/plans/0/valid_until",
        "/plans/1/prices/0/meter",
        "/plans/2/for_plans/1",
        "/plans/3/publish",
        "/products/0/kind",
        "/products/2/code",
    ]  # and not once more where a desk, the swaps or the office are named


async def test_what_never_changes_is_refused_with_its_place(uow: MemoryCatalog) -> None:
    await put_in(uow, DOCUMENT)
    other = a_document()
    other["products"][0]["kind"] = "service"
    other["features"][0] |= {"kind": "metered", "meter": "flying-minutes"}
    other["plans"][0]["currency"] = "USD"
    faults = await refused(uow, other)
    assert sorted(faults) == ["/features/0/kind", "/plans/0/currency", "/products/0/kind"]
    assert faults["/products/0/kind"].startswith("the kind of the product desk is goods and never changes")


async def test_what_is_archived_stays_so_and_may_stand_in_the_document(uow: MemoryCatalog) -> None:
    await put_in(uow, DOCUMENT)
    (product,) = uow.products.by_id.values()
    command = ArchiveProduct(product.id)
    await archive_product(command, uow=uow, clock=FixedClock(), check_version=lambda _: None)
    told = await put_in(uow, DOCUMENT)
    assert told.words == "Nothing changes."
    assert told.things[0].words == "is archived, and stays so"
    assert [p["code"] for p in tell_document(await export_catalog(uow=uow))["products"]] == ["desk"]
    again = a_document(plans=[{**PLAN, "prices": [{**FEE, "unit_amount": "10"}]}])
    assert list(await refused(uow, again)) == ["/plans/0/prices/0/product"]


async def test_a_retired_plan_is_not_sold_again_and_leaves_the_export(uow: MemoryCatalog) -> None:
    limited = a_document()
    limited["coupons"][0]["plans"] = ["office"]
    await put_in(uow, limited)
    (plan,) = uow.plans.by_id.values()
    await retire_plan(RetirePlan(plan.id), uow=uow, clock=FixedClock(), check_version=lambda _: None)
    assert "retired" in (await refused(uow, limited))["/plans/0"]
    told = tell_document(await export_catalog(uow=uow))
    assert told["plans"][0]["publish"] is False  # a coupon names it, so that it is told, as not on sale
    assert (await put_in(uow, told)).words == "Nothing changes."
    del told["coupons"][0]["plans"]
    del told["plans"]
    await put_in(uow, told)
    assert "plans" not in tell_document(await export_catalog(uow=uow))


async def test_prune_withdraws_every_version_and_the_document_can_bring_the_newest_back(
    uow: MemoryCatalog,
) -> None:
    await put_in(uow, DOCUMENT)
    await put_in(uow, a_document(plans=[{**PLAN, "prices": [{**FEE, "unit_amount": "10"}]}]))
    rest = a_document(plans=[], coupons=[])
    told = await put_in(uow, rest, prune=True)
    assert {name: action for name, action in done(told).items() if action != "unchanged"} == {
        "coupon spring": "archive",
        "plan office": "withdraw",
    }
    (withdrawn,) = (thing for thing in told.things if thing.kind == "plan")
    assert "versions 1, 2" in withdrawn.words
    assert [type(event) for event in uow.outbox.events[-2:]] == [PlanVersionSalesChangedV1] * 2
    assert (await put_in(uow, rest, prune=True)).words == "Nothing changes."
    dear = a_document(plans=[{**PLAN, "prices": [{**FEE, "unit_amount": "10"}]}], coupons=[])
    told = await put_in(uow, dear)
    assert done(told)["plan office"] == "reinstate"
    (plan,) = uow.plans.by_id.values()
    assert dict(plan.off_sale) == {1: "withdrawn"}


async def test_a_meter_that_is_not_known_is_all_that_is_wrong_or_not(uow: MemoryCatalog) -> None:
    """What is only late is told apart, so that it can be waited for."""
    metered = a_document(plans=[{**PLAN, "prices": [{**FEE, "kind": "usage", "meter": "swaps"}]}])
    with pytest.raises(CatalogMeterUnknown) as caught:
        await put_in(uow, metered, dry_run=True)
    assert [fault["pointer"] for fault in caught.value.errors] == ["/plans/0/prices/0/meter"]
    metered["meters"] = [{"code": "swaps", "event_type": "swapped", "aggregation": "count"}]
    assert done(await put_in(uow, metered, dry_run=True))["meter swaps"] == "define"
    with pytest.raises(CatalogMeterUnknown) as caught:
        await put_in(uow, metered)
    assert [fault["pointer"] for fault in caught.value.errors] == ["/meters/0"]
    metered["products"][0]["name"] = ""
    with pytest.raises(CatalogInvalid) as caught:
        await put_in(uow, metered)
    assert not isinstance(caught.value, CatalogMeterUnknown)


async def test_more_than_one_document_holds_is_refused_both_ways(
    uow: MemoryCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("import_catalog", "export_catalog"):
        monkeypatch.setattr(f"services.catalog.application.{module}.THINGS_MAX", 2)
    assert "3 things" in (await refused(uow, a_document(features=[])))[""]
    for code in ("one", "two", "three"):
        details = ProductDetails(name=code, unit=None, description="", external_id=None, metadata={})
        await create_product(CreateProduct(code, "goods", details), uow=uow, clock=FixedClock())
    with pytest.raises(CatalogTooLarge):
        await export_catalog(uow=uow)
