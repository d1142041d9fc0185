"""A plan's draft ↔ the JSON in which it is stored: every number a string, so that none is rounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from libs.common.periods import Interval
from services.catalog.domain.plan_draft import PlanDraft
from services.catalog.domain.price import Price
from services.catalog.domain.price_tier import PriceTier


def draft_to_json(draft: PlanDraft) -> dict[str, Any]:
    return {
        "name": draft.name,
        "currency": draft.currency,
        "interval_unit": draft.interval.unit,
        "interval_count": draft.interval.count,
        "prices": [_price_to_json(price) for price in draft.prices],
    }


def draft_from_json(stored: Mapping[str, Any]) -> PlanDraft:
    return PlanDraft(
        name=stored["name"],
        currency=stored["currency"],
        interval=Interval(stored["interval_unit"], stored["interval_count"]),
        prices=tuple(_price_from_json(price) for price in stored["prices"]),
    )


def tiers_to_json(tiers: Sequence[PriceTier]) -> list[dict[str, Any]]:
    return [
        {
            "up_to": _text(tier.up_to),
            "unit_amount": _text(tier.unit_amount),
            "flat_amount": _text(tier.flat_amount),
        }
        for tier in tiers
    ]


def tiers_from_json(stored: Sequence[Mapping[str, Any]]) -> tuple[PriceTier, ...]:
    return tuple(
        PriceTier(_number(tier["up_to"]), Decimal(tier["unit_amount"]), _number(tier["flat_amount"]))
        for tier in stored
    )


def _price_to_json(price: Price) -> dict[str, Any]:
    return {
        "code": price.code,
        "product_id": price.product_id,
        "description": price.description,
        "kind": price.kind,
        "timing": price.timing,
        "model": price.model,
        "unit_amount": _text(price.unit_amount),
        "tiers": tiers_to_json(price.tiers),
        "package_size": _text(price.package_size),
        "included_quantity": _text(price.included_quantity),
        "meter": price.meter,
        "unit": price.unit,
        "proration": price.proration,
    }


def _price_from_json(stored: Mapping[str, Any]) -> Price:
    return Price(
        code=stored["code"],
        product_id=stored["product_id"],
        description=stored["description"],
        kind=stored["kind"],
        timing=stored["timing"],
        model=stored["model"],
        unit_amount=_number(stored["unit_amount"]),
        tiers=tiers_from_json(stored["tiers"]),
        package_size=_number(stored["package_size"]),
        included_quantity=Decimal(stored["included_quantity"]),
        meter=stored["meter"],
        unit=stored["unit"],
        proration=stored["proration"],
    )


def _text(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
