"""Drafts, prices and what versions are made of ↔ the JSON in which they are stored: numbers as text, defaults left out.

What was stored before a field was added is read as if it had the field's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from libs.common.periods import Interval
from services.catalog.domain.document import document_of
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.plan_overlay import OVERRIDABLE, PriceOverride
from services.catalog.domain.price import Price

_DRAFT = TypeAdapter(PlanDraft)
_PRICE_FIELDS = {name: TypeAdapter(get_type_hints(Price)[name]) for name in OVERRIDABLE}

# What of a published version and of its prices stands in columns, to be found or joined by.
VERSION_COLUMNS = ("name", "currency")
PRICE_COLUMNS = ("code", "currency", "product_id", "kind", "meter")


def draft_to_json(draft: PlanDraft) -> dict[str, Any]:
    told: dict[str, Any] = document_of(draft)
    return told


def draft_from_json(stored: Mapping[str, Any]) -> PlanDraft:
    return _DRAFT.validate_python(stored)


def version_terms(content: PlanDraft) -> dict[str, Any]:
    """All of a version's content but its prices, which have rows of their own, and what stands in columns."""
    elsewhere = ("prices", "interval", *VERSION_COLUMNS)
    return {name: told for name, told in document_of(content).items() if name not in elsewhere}


def price_terms(price: Price) -> dict[str, Any]:
    """All of a price but what stands in columns."""
    return {name: told for name, told in document_of(price).items() if name not in PRICE_COLUMNS}


def override_from_json(stored: Mapping[str, Any]) -> PriceOverride:
    """Each change is read as the field of a price that it stands for."""
    changes = {name: _PRICE_FIELDS[name].validate_python(value) for name, value in stored["changes"].items()}
    return PriceOverride(stored["code"], stored["currency"], changes)


def term_from_json(stored: Mapping[str, Any] | None) -> Interval | None:
    return None if stored is None else Interval(**stored)
