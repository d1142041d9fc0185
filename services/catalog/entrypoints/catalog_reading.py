"""A catalog document as JSON ↔ what it says. Whatever is wrong with a part of it, the rest is read as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from libs.common.documents.json_reading import told_twice
from libs.common.errors import InputError
from libs.common.web.bodies import MoneyBody
from libs.common.web.problem import ERRORS_MAX
from libs.common.web.validation import faults_of
from services.catalog.application.catalog_document import (
    FORMAT,
    CatalogDocument,
    Name,
    PlanEntry,
    ThingKind,
)
from services.catalog.application.create_coupon import CreateCoupon
from services.catalog.application.create_feature import CreateFeature
from services.catalog.application.create_product import CreateProduct
from services.catalog.application.import_catalog import ImportCatalog
from services.catalog.application.written_plan import WrittenPrice
from services.catalog.domain.price import DEFAULT_TIMING
from services.catalog.entrypoints.catalog_bodies import (
    CatalogDocumentBody,
    CouponEntryBody,
    FeatureEntryBody,
    MeterEntryBody,
    PlanEntryBody,
    PriceEntryBody,
    ProductEntryBody,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_ENTRIES: Mapping[str, tuple[ThingKind, Any]] = {
    "meters": ("meter", MeterEntryBody),
    "products": ("product", ProductEntryBody),
    "features": ("feature", FeatureEntryBody),
    "plans": ("plan", PlanEntryBody),
    "coupons": ("coupon", CouponEntryBody),
}


# In what order people want to read them; the rest comes after these.
_FIRST_OF_PLANS = (
    "code",
    "name",
    "description",
    "kind",
    "for_plans",
    "publish",
    "valid_from",
    "valid_until",
    "currency",
    "interval",
    "trial",
    "phases",
    "prices",
    "commitments",
    "features",
    "late_usage",
    "dunning",
)
_FIRST_OF_PRICES = ("code", "product", "description", "kind", "timing", "meter", "model", "currency")


def read_document(
    told: object, *, dry_run: bool, prune: bool, keys_twice: Sequence[str] = ()
) -> ImportCatalog:
    """The command to import it, with the faults of what could not be read, each where it stands.

    `keys_twice` are keys of which only the last was read.
    """
    faults: list[InputError] = []
    if keys_twice:
        faults.append({"pointer": "", "detail": told_twice(keys_twice)})
    unread: set[Name] = set()
    parts: Mapping[str, Any] = told if isinstance(told, dict) else {}
    lists = {name: entries for name in _ENTRIES if isinstance(entries := parts.get(name), list)}
    _read(CatalogDocumentBody, {**parts, **{name: [] for name in lists}} if parts else told, "", faults)
    sections: dict[str, Any] = {}
    for name, entries in lists.items():
        kind, body = _ENTRIES[name]
        read = []
        for position, part in enumerate(entries):
            entry = _read(body, part, f"/{name}/{position}", faults)
            read.append(entry.to_entry() if entry is not None else None)
            if entry is None and isinstance(part, dict) and isinstance(part.get("code"), str):
                unread.add((kind, part["code"]))
        sections[name] = tuple(read)
    return ImportCatalog(
        document=CatalogDocument(**sections),
        dry_run=dry_run,
        prune=prune,
        found=tuple(faults),
        unread=frozenset(unread),
    )


def tell_document(document: CatalogDocument) -> dict[str, Any]:
    """As JSON, without what is as by default. Reading it gives the same document."""
    told: dict[str, Any] = {"perennial_catalog": FORMAT}
    for name, tell in (
        ("products", _tell_product),
        ("features", _tell_feature),
        ("plans", _tell_plan),
        ("coupons", _tell_coupon),
    ):
        entries = [tell(entry) for entry in getattr(document, name)]
        if entries:
            told[name] = entries
    return told


B = TypeVar("B", bound=BaseModel)


def _read(body: type[B], part: object, at: str, faults: list[InputError]) -> B | None:
    try:
        return body.model_validate(part)
    except ValidationError as error:
        read_as = body if len(faults) < ERRORS_MAX else None
        faults += faults_of(error.errors(include_url=False, include_input=False), part, read_as, at)
        return None


def _tell_product(entry: CreateProduct) -> dict[str, Any]:
    return _compact(ProductEntryBody, {"code": entry.code, "kind": entry.kind, **_fields(entry.details)})


def _tell_feature(entry: CreateFeature) -> dict[str, Any]:
    own = {"code": entry.code, "kind": entry.kind, "meter": entry.meter}
    return _compact(FeatureEntryBody, {**own, **_fields(entry.details)})


def _tell_coupon(entry: CreateCoupon) -> dict[str, Any]:
    terms = _fields(entry.terms)
    del terms["product_ids"]
    if entry.terms.amount is not None:
        terms["amount"] = MoneyBody.from_money(entry.terms.amount)
    own = {"code": entry.code, "products": entry.products, "plans": terms.pop("plan_codes")}
    return _compact(CouponEntryBody, {**own, **terms})


def _tell_plan(entry: PlanEntry) -> dict[str, Any]:
    written = _fields(entry.written)
    prices = written.pop("prices")
    commitments = [
        {**_fields(each), "currency": each.currency or None} for each in written.pop("commitments")
    ]
    own = {"code": entry.code, "publish": entry.publish, **_fields(entry.validity)}
    plan = _compact(PlanEntryBody, {**own, **written, "commitments": commitments, "prices": []})
    plan["prices"] = [_tell_price(price) for price in prices]
    return _in_reading_order(plan, _FIRST_OF_PLANS)


def _tell_price(price: WrittenPrice) -> dict[str, Any]:
    terms = _fields(price.terms)
    del terms["product_id"]
    for name in ("description", "currency"):
        terms[name] = terms[name] or None
    if terms["timing"] == DEFAULT_TIMING[price.terms.kind]:
        terms["timing"] = None
    told = _compact(PriceEntryBody, {**terms, "product": price.product_code})
    return _in_reading_order(told | dict.fromkeys(sorted(price.left_empty)), _FIRST_OF_PRICES)


def _in_reading_order(told: Mapping[str, Any], first: Sequence[str]) -> dict[str, Any]:
    rest = (name for name in told if name not in first)
    return {name: told[name] for name in (*first, *rest) if name in told}


def _fields(part: DataclassInstance) -> dict[str, Any]:
    return {field.name: getattr(part, field.name) for field in fields(part)}


def _compact(body: type[BaseModel], parts: Mapping[str, Any]) -> dict[str, Any]:
    read = body.model_validate(parts, from_attributes=True)
    return read.model_dump(mode="json", by_alias=True, exclude_defaults=True)
