"""A published version of a plan: what is agreed to. It never changes, and its digest proves it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from libs.common.errors import NotFound
from libs.common.ids import derived_id
from libs.common.periods import Interval
from services.catalog.domain.amount import plain
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.price import Price


class PlanVersionNotFound(NotFound):
    """The plan has no version of this number."""

    code = "plan_version_not_found"
    title = "There is no such plan version"


@dataclass(frozen=True, slots=True)
class PlanVersion:
    """`number` counts from 1 within the plan. `digest` is of all the rest, taken when it was published."""

    id: str
    plan_id: str
    number: int
    code: str
    name: str
    currency: str
    interval: Interval
    prices: tuple[Price, ...]
    published_at: datetime
    digest: str

    @property
    def content(self) -> PlanDraft:
        """What was offered, to compare with a draft."""
        return PlanDraft(self.name, self.currency, self.interval, self.prices)


def plan_version_id(plan_id: str, number: int) -> str:
    """Derived from plan and number, so that a version cannot be made twice."""
    return derived_id("plv", plan_id, str(number))


def publish_as(plan_id: str, code: str, number: int, draft: PlanDraft, now: datetime) -> PlanVersion:
    """The draft as version `number` of its plan."""
    unsealed = PlanVersion(
        id=plan_version_id(plan_id, number),
        plan_id=plan_id,
        number=number,
        code=code,
        name=draft.name,
        currency=draft.currency,
        interval=draft.interval,
        prices=draft.prices,
        published_at=now,
        digest="",
    )
    return replace(unsealed, digest=digest_of(unsealed))


def digest_of(version: PlanVersion) -> str:
    """SHA-256 over every word and number of the version, in one spelling (`5.20` and `5.2` are the same)."""
    told = {
        "id": version.id,
        "plan_id": version.plan_id,
        "number": version.number,
        "code": version.code,
        "name": version.name,
        "currency": version.currency,
        "interval": [version.interval.unit, version.interval.count],
        "prices": [_told(price) for price in version.prices],
        "published_at": version.published_at.astimezone(UTC).isoformat(timespec="microseconds"),
    }
    spelled = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(spelled.encode()).hexdigest()


def _told(price: Price) -> dict[str, object]:
    return {
        "code": price.code,
        "product_id": price.product_id,
        "description": price.description,
        "kind": price.kind,
        "timing": price.timing,
        "model": price.model,
        "unit_amount": _number(price.unit_amount),
        "tiers": [[_number(t.up_to), _number(t.unit_amount), _number(t.flat_amount)] for t in price.tiers],
        "package_size": _number(price.package_size),
        "included_quantity": _number(price.included_quantity),
        "meter": price.meter,
        "unit": price.unit,
        "proration": price.proration,
    }


def _number(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)
