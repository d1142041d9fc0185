"""A price ↔ the JSON in which it is kept. Prices never change: one that is met again is not read or written again."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from libs.common.contracts.catalog import PriceV1
from services.billing.application.snapshots import PRICES_KEPT, price_from, price_snapshot
from services.billing.domain.rating.price import Price

_read: dict[str, tuple[Mapping[str, Any], Price]] = {}


@lru_cache(maxsize=PRICES_KEPT)
def price_to_json(price: Price) -> Mapping[str, Any]:
    """What differs from the defaults only: most prices use few of the fields. Not to be altered."""
    return price_snapshot(price).model_dump(mode="json", exclude_defaults=True)


def price_from_json(stored: Mapping[str, Any]) -> Price:
    kept = _read.get(stored["id"])
    if kept is not None and kept[0] == stored:
        return kept[1]
    price = price_from(PriceV1.model_validate(stored))
    if len(_read) >= PRICES_KEPT:
        _read.clear()
    _read[price.id] = (stored, price)
    return price
