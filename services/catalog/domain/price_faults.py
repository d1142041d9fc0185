"""Everything that may be wrong with a price by itself: each fault has its place, and says what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from decimal import Decimal

from libs.common.errors import InputError
from services.catalog.domain.amount import amount_faults, percent_faults
from services.catalog.domain.expression import expression_faults
from services.catalog.domain.interval_nesting import length_faults
from services.catalog.domain.matrix import matrix_faults
from services.catalog.domain.price import Price, PriceModel
from services.catalog.domain.price_tier import tier_faults

ROLLOVER_PERIODS_MAX = 1_200

TIERED: frozenset[PriceModel] = frozenset({"graduated", "volume", "graduated_percentage"})

# What only some models charge by. Elsewhere it would be an amount that is written down and never charged.
_BELONGS_TO: Mapping[str, tuple[PriceModel, ...]] = {
    "unit_amount": ("flat", "per_unit", "package", "dynamic", "capacity"),
    "tiers": ("graduated", "volume", "graduated_percentage", "capacity"),
    "charges_first_flat_at_zero": ("graduated", "volume", "graduated_percentage", "capacity"),
    "package_size": ("package",),
    "package_rounding": ("package",),
    "rate_percent": ("percentage",),
    "fixed_amount_per_event": ("percentage",),
    "free_events": ("percentage",),
    "free_amount": ("percentage",),
    "minimum_amount_per_event": ("percentage",),
    "maximum_amount_per_event": ("percentage",),
    "dimensions": ("matrix",),
    "cells": ("matrix",),
    "capacity_basis": ("capacity",),
    "expression": ("expression",),
    "included_quantity": (
        "per_unit",
        "graduated",
        "volume",
        "package",
        "graduated_percentage",
        "matrix",
        "dynamic",
        "capacity",
        "expression",
    ),
    "rollover": ("per_unit", "graduated", "volume", "package", "graduated_percentage", "dynamic"),
    "allowance_pool": ("per_unit", "graduated", "volume", "package"),
}
_NEEDED: Mapping[PriceModel, Mapping[str, str]] = {
    "flat": {"unit_amount": 'give the fee as unit_amount, "0" if it is free'},
    "per_unit": {"unit_amount": 'give the amount for one unit as unit_amount, "0" if it is free'},
    "package": {
        "unit_amount": 'give the amount for one package as unit_amount, "0" if it is free',
        "package_size": "say how many units a package holds",
    },
    "percentage": {"rate_percent": 'give the rate in percent, "2.9" for 2.9 %'},
    "capacity": {"capacity_basis": "say whether the peak counts or every instant: peak or time_weighted"},
    "expression": {"expression": "say how the amount is reckoned"},
}
# What can only be known of events, and what only makes sense of them.
_OF_USAGE_ONLY: frozenset[PriceModel] = frozenset({"matrix", "dynamic", "capacity"})
_PER_EVENT = (
    "fixed_amount_per_event",
    "free_events",
    "minimum_amount_per_event",
    "maximum_amount_per_event",
)
_AMOUNTS = (
    "unit_amount",
    "package_size",
    "fixed_amount_per_event",
    "free_amount",
    "minimum_amount_per_event",
    "maximum_amount_per_event",
    "included_quantity",
    "minimum_amount",
    "maximum_amount",
)
_UNWRITTEN = {field.name: field.default for field in dataclasses.fields(Price)}


def price_faults(price: Price, at: str) -> Iterator[InputError]:
    """Everything wrong with the price by itself, each with its place below `at` and what to do."""
    yield from _kind_faults(price, at)
    yield from _model_faults(price, at)
    yield from _amount_faults(price, at)
    yield from _bound_faults(price, at)
    yield from _allowance_faults(price, at)
    if price.interval is not None:
        yield from length_faults(price.interval, f"{at}/interval")


def _kind_faults(price: Price, at: str) -> Iterator[InputError]:
    if price.kind == "usage":
        if price.timing != "arrears":
            detail = "usage is known only when the period is over: use arrears"
            yield {"pointer": f"{at}/timing", "detail": detail}
        if price.model == "flat":
            detail = "a flat fee is owed whatever is used: make the price recurring, in arrears if you like"
            yield {"pointer": f"{at}/model", "detail": detail}
        if price.meter is None:
            detail = "usage is measured by a meter: give the meter's code"
            yield {"pointer": f"{at}/meter", "detail": detail}
        if price.proration != "day":
            detail = "usage is never prorated: leave proration out"
            yield {"pointer": f"{at}/proration", "detail": detail}
        return
    kind = "one-time" if price.kind == "one_time" else "recurring"
    if price.model in _OF_USAGE_ONLY:
        detail = f"a {price.model} price is reckoned from usage: make its kind usage, or use another model"
        yield {"pointer": f"{at}/model", "detail": detail}
    if price.meter is not None:
        detail = f"a {kind} price counts what was agreed, not usage: leave meter out"
        yield {"pointer": f"{at}/meter", "detail": detail}
    if price.included_quantity != 0:
        detail = "only usage can be included: leave included_quantity out"
        yield {"pointer": f"{at}/included_quantity", "detail": detail}
    for name in _PER_EVENT:
        if price.model == "percentage" and getattr(price, name) is not None:
            detail = f"a {kind} price has no events: leave {name} out, or make its kind usage"
            yield {"pointer": f"{at}/{name}", "detail": detail}
    if price.kind == "one_time":
        if price.interval is not None:
            detail = "a one-time price is charged once: leave interval out, or make it recurring"
            yield {"pointer": f"{at}/interval", "detail": detail}
        if price.proration != "day":
            detail = "a one-time price is never prorated: leave proration out"
            yield {"pointer": f"{at}/proration", "detail": detail}


def _model_faults(price: Price, at: str) -> Iterator[InputError]:
    """What the model needs is there, and nothing that belongs to others."""
    for name, remedy in _NEEDED.get(price.model, {}).items():
        if getattr(price, name) is None:
            yield {"pointer": f"{at}/{name}", "detail": f"is needed by a {price.model} price: {remedy}"}
    for name, models in _BELONGS_TO.items():
        foreign = getattr(price, name) != _UNWRITTEN[name] and price.model not in models
        if foreign and not (name == "included_quantity" and price.kind != "usage"):  # said already
            detail = f"does not belong to a {price.model} price, but to {' or '.join(models)}: leave it out"
            yield {"pointer": f"{at}/{name}", "detail": detail}
    if price.model in TIERED:
        yield from tier_faults(price.tiers, f"{at}/tiers", in_percent=price.model == "graduated_percentage")
    if price.model == "capacity":
        if (price.unit_amount is None) == (not price.tiers):
            detail = "capacity costs so much a unit, or by tiers: give unit_amount or tiers, one of the two"
            yield {"pointer": f"{at}/unit_amount", "detail": detail}
        if price.tiers:
            yield from tier_faults(price.tiers, f"{at}/tiers")
    if price.model == "matrix":
        yield from matrix_faults(price.dimensions, price.cells, at)
    if price.model == "expression" and price.expression is not None:
        for detail in expression_faults(price.expression, of_usage=price.kind == "usage"):
            yield {"pointer": f"{at}/expression", "detail": detail}


def _amount_faults(price: Price, at: str) -> Iterator[InputError]:
    for name in _AMOUNTS:
        amount: Decimal | None = getattr(price, name)
        if amount is not None:
            yield from amount_faults(amount, f"{at}/{name}")
    if price.package_size == 0:
        yield {"pointer": f"{at}/package_size", "detail": "a package holds something: give more than 0"}
    if price.rate_percent is not None:
        yield from percent_faults(price.rate_percent, f"{at}/rate_percent")
    if price.free_events is not None and price.free_events < 0:
        yield {"pointer": f"{at}/free_events", "detail": "must not be negative: give 0, or leave it out"}


def _bound_faults(price: Price, at: str) -> Iterator[InputError]:
    for suffix in ("amount", "amount_per_event"):
        least: Decimal | None = getattr(price, f"minimum_{suffix}")
        most: Decimal | None = getattr(price, f"maximum_{suffix}")
        if least is not None and most is not None and least > most:
            detail = f"is less than minimum_{suffix}: raise it, or lower the other"
            yield {"pointer": f"{at}/maximum_{suffix}", "detail": detail}


def _allowance_faults(price: Price, at: str) -> Iterator[InputError]:
    if price.allowance_pool is not None and price.rollover is not None:
        detail = "a pool lasts as long as it is held, and leaves nothing over: leave rollover out"
        yield {"pointer": f"{at}/rollover", "detail": detail}
    for name in ("allowance_interval", "allowance_pool", "rollover"):
        # The rest of a package that was begun rolls over as well.
        has_rest = name == "rollover" and price.model == "package"
        if getattr(price, name) is not None and price.included_quantity == 0 and not has_rest:
            detail = f"nothing is included: give included_quantity, or leave {name} out"
            yield {"pointer": f"{at}/{name}", "detail": detail}
    if price.allowance_interval is not None:
        yield from length_faults(price.allowance_interval, f"{at}/allowance_interval")
    if price.rollover is None:
        return
    if not 1 <= price.rollover.periods <= ROLLOVER_PERIODS_MAX:
        detail = f"units roll over for 1 to {ROLLOVER_PERIODS_MAX} periods: give another number"
        yield {"pointer": f"{at}/rollover/periods", "detail": detail}
    if price.rollover.cap is not None:
        yield from amount_faults(price.rollover.cap, f"{at}/rollover/cap")
        if price.rollover.cap == 0:
            detail = "nothing would roll over: give more than 0, or leave rollover out"
            yield {"pointer": f"{at}/rollover/cap", "detail": detail}
