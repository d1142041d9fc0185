"""A published version of a plan: what is agreed to. It never changes, and its digest proves it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from libs.common.errors import Conflict, NotFound
from libs.common.ids import derived_id
from services.catalog.domain.document import document_of
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.price import Price
from services.catalog.domain.price_tier import PriceTier
from services.catalog.domain.sale import Validity


class PlanVersionNotFound(NotFound):
    """The plan has no version of this number."""

    code = "plan_version_not_found"
    title = "There is no such plan version"


class PlanVersionImmutable(Conflict):
    """What was published is what customers agreed to."""

    code = "plan_version_immutable"
    title = "A published version never changes"


@dataclass(frozen=True, slots=True)
class PlanVersion:
    """`number` counts from 1 within the plan. `digest` is of all the rest, taken when it was published."""

    id: str
    plan_id: str
    number: int
    code: str
    content: PlanDraft
    validity: Validity
    published_at: datetime
    digest: str


def plan_version_id(plan_id: str, number: int) -> str:
    """Derived from plan and number, so that a version cannot be made twice."""
    return derived_id("plv", plan_id, str(number))


def publish_as(
    plan_id: str, code: str, number: int, draft: PlanDraft, validity: Validity, now: datetime
) -> PlanVersion:
    """The draft as version `number` of its plan."""
    unsealed = PlanVersion(
        id=plan_version_id(plan_id, number),
        plan_id=plan_id,
        number=number,
        code=code,
        content=draft,
        validity=validity,
        published_at=now,
        digest="",
    )
    return replace(unsealed, digest=digest_of(unsealed))


# What the first versions had stands in every digest, in the spelling of then. All that came later stands there only
# where it differs from its default: so a digest keeps its value for ever, whatever is added to prices and plans.
_FIRST_OF_PRICES = (
    "code",
    "product_id",
    "description",
    "kind",
    "timing",
    "model",
    "unit_amount",
    "tiers",
    "package_size",
    "included_quantity",
    "meter",
    "unit",
    "proration",
)
_FIRST_OF_TIERS = ("up_to", "unit_amount", "flat_amount")
_FIRST_OF_CONTENT = ("name", "currency", "interval", "prices")


def digest_of(version: PlanVersion) -> str:
    """SHA-256 over every word and number of the version, in one spelling (`5.20` and `5.2` are the same)."""
    content = version.content
    told = {
        "id": version.id,
        "plan_id": version.plan_id,
        "number": version.number,
        "code": version.code,
        "name": content.name,
        "currency": content.currency,
        "interval": [content.interval.unit, content.interval.count],
        "prices": [_price_told(price, content.currency) for price in content.prices],
        "published_at": document_of(version.published_at),
        **_later(content, _FIRST_OF_CONTENT),
        **document_of(version.validity),
    }
    spelled = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(spelled.encode()).hexdigest()


def _price_told(price: Price, currency: str) -> dict[str, Any]:
    told = {name: document_of(getattr(price, name)) for name in _FIRST_OF_PRICES}
    told["tiers"] = [_tier_told(tier) for tier in price.tiers]
    later = _later(price, _FIRST_OF_PRICES)
    if price.currency == currency:
        del later["currency"]
    return told | later


def _tier_told(tier: PriceTier) -> list[Any]:
    later = _later(tier, _FIRST_OF_TIERS)
    return [*(document_of(getattr(tier, name)) for name in _FIRST_OF_TIERS), *([later] if later else [])]


def _later(part: object, first: tuple[str, ...]) -> dict[str, Any]:
    """What `part` has beyond the first fields, and not as its default is."""
    return {name: told for name, told in document_of(part).items() if name not in first}
