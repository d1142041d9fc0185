"""A price: one way in which a product is charged within a plan. Once published, it never changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from libs.common.errors import InputError
from libs.common.ids import derived_id
from services.catalog.domain.amount import amount_faults
from services.catalog.domain.price_tier import PriceTier, tier_faults

PriceKind = Literal["recurring", "usage"]
PriceTiming = Literal["advance", "arrears"]
PriceModel = Literal["flat", "per_unit", "graduated", "volume", "package"]
Proration = Literal["none", "day", "second", "full"]

# What can be sold today, by kind. Another model that billing can rate is added here, with a test.
TIMING_OFFERED: dict[PriceKind, PriceTiming] = {"recurring": "advance", "usage": "arrears"}
MODELS_OFFERED: dict[PriceKind, tuple[PriceModel, ...]] = {
    "recurring": ("flat", "per_unit"),
    "usage": ("per_unit", "graduated"),
}
PRORATIONS_OFFERED: tuple[Proration, ...] = ("none", "day", "full")


@dataclass(frozen=True, slots=True)
class Price:
    """`code` is unique within its plan. Amounts are in major units, and may be finer than a cent.

    `unit_amount` is the fee of a flat price, and the amount for one unit of a per-unit price; a graduated
    price has `tiers` instead. `included_quantity` costs nothing, in every period. `unit` is what is counted.
    """

    code: str
    product_id: str
    description: str
    kind: PriceKind
    timing: PriceTiming
    model: PriceModel
    unit_amount: Decimal | None = None
    tiers: tuple[PriceTier, ...] = ()
    package_size: Decimal | None = None
    included_quantity: Decimal = Decimal(0)
    meter: str | None = None
    unit: str | None = None
    proration: Proration = "day"


def price_id(plan_version_id: str, code: str) -> str:
    """The id of a published price: the same for ever, whoever derives it."""
    return derived_id("prc", plan_version_id, code)


def price_faults(price: Price, at: str) -> Iterator[InputError]:
    """Everything wrong with the price by itself, each with its place below `at` and what to do."""
    yield from _offer_faults(price, at)
    yield from _amount_faults(price, at)
    yield from _usage_faults(price, at)


def _offer_faults(price: Price, at: str) -> Iterator[InputError]:
    timing, models = TIMING_OFFERED[price.kind], MODELS_OFFERED[price.kind]
    if price.timing != timing:
        why = (
            "usage is known only when the period is over"
            if price.kind == "usage"
            else "recurring prices in arrears are not offered yet"
        )
        yield {"pointer": f"{at}/timing", "detail": f"{why}: use {timing}"}
    if price.model not in models:
        offered = " or ".join(models)
        detail = f"{price.model} is not offered yet for {price.kind} prices: use {offered}"
        yield {"pointer": f"{at}/model", "detail": detail}
    if price.proration not in PRORATIONS_OFFERED:
        detail = f"{price.proration} is not offered yet: use {', '.join(PRORATIONS_OFFERED)}"
        yield {"pointer": f"{at}/proration", "detail": detail}


def _amount_faults(price: Price, at: str) -> Iterator[InputError]:
    if price.model in ("graduated", "volume"):
        if price.unit_amount is not None:
            detail = f"the amounts of a {price.model} price stand in its tiers: leave unit_amount out"
            yield {"pointer": f"{at}/unit_amount", "detail": detail}
        yield from tier_faults(price.tiers, f"{at}/tiers")
    else:
        if price.unit_amount is None:
            detail = f'a {price.model} price needs an amount: give unit_amount, "0" if it is free'
            yield {"pointer": f"{at}/unit_amount", "detail": detail}
        else:
            yield from amount_faults(price.unit_amount, f"{at}/unit_amount")
        if price.tiers:
            detail = f"a {price.model} price has no tiers: leave them out, or use graduated"
            yield {"pointer": f"{at}/tiers", "detail": detail}
    if price.package_size is not None and price.model != "package":
        detail = f"a {price.model} price has no package size: leave it out"
        yield {"pointer": f"{at}/package_size", "detail": detail}


def _usage_faults(price: Price, at: str) -> Iterator[InputError]:
    if price.kind == "usage":
        if price.meter is None:
            detail = "usage is measured by a meter: give the meter's code"
            yield {"pointer": f"{at}/meter", "detail": detail}
        if price.proration != "day":
            detail = "usage is never prorated: leave proration out"
            yield {"pointer": f"{at}/proration", "detail": detail}
        yield from amount_faults(price.included_quantity, f"{at}/included_quantity")
        return
    if price.meter is not None:
        detail = "a recurring price counts what was agreed, not usage: leave meter out"
        yield {"pointer": f"{at}/meter", "detail": detail}
    if price.included_quantity != 0:
        detail = "only usage can be included: leave included_quantity out"
        yield {"pointer": f"{at}/included_quantity", "detail": detail}
