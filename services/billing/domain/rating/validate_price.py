"""What may be wrong with a price, all of it at once, each fault with the JSON pointer to where it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction

from libs.common.errors import InputError
from libs.common.expression import PRICE_TOTALS, InvalidExpression, parse
from libs.common.money import UnknownCurrency, exponent
from services.billing.domain.rating.percentage import is_about_events
from services.billing.domain.rating.price import Model, Price, PriceTier

DECIMALS_MAX = 12
WHOLE_DIGITS_MAX = 18

# The fields that belong to some models only: which each model needs, and which it may have besides.
_NEEDED: Mapping[Model, tuple[str, ...]] = {
    "flat": ("unit_amount",),
    "per_unit": ("unit_amount",),
    "graduated": ("tiers",),
    "volume": ("tiers",),
    "package": ("unit_amount", "package_size"),
    "percentage": ("rate_percent",),
    "graduated_percentage": ("tiers",),
    "matrix": ("dimensions", "cells"),
    "dynamic": (),
    "capacity": ("capacity_basis",),
    "expression": ("expression",),
}
_BY_EVENT = ("fixed_amount_per_event", "minimum_amount_per_event", "maximum_amount_per_event")
_ALLOWED: Mapping[Model, tuple[str, ...]] = {
    "percentage": ("free_events", "free_amount", *_BY_EVENT),
    "dynamic": ("unit_amount",),
    "capacity": ("unit_amount", "tiers"),
}
_FIELDS = (
    "unit_amount",
    "tiers",
    "package_size",
    "rate_percent",
    "free_events",
    "free_amount",
    *_BY_EVENT,
    "dimensions",
    "cells",
    "capacity_basis",
    "expression",
)
_NUMBERS = (
    "unit_amount",
    "package_size",
    "rate_percent",
    "free_amount",
    *_BY_EVENT,
    "included_quantity",
    "minimum_amount",
    "maximum_amount",
)
_POOLED = ("per_unit", "graduated", "volume", "package")
_CARRIED_ON = ("per_unit", "graduated", "volume", "package", "graduated_percentage", "dynamic")


def validate_price(price: Price) -> tuple[InputError, ...]:
    """Everything wrong with `price`, none when it can be sold; pointers are relative to the price."""
    return (
        *_currency_faults(price),
        *_charging_faults(price),
        *_field_faults(price),
        *_tier_faults(price),
        *_cell_faults(price),
        *_expression_faults(price),
        *_number_field_faults(price),
        *_order_faults(price),
        *_allowance_faults(price),
        *_interval_faults(price),
    )


def _currency_faults(price: Price) -> Iterator[InputError]:
    try:
        exponent(price.currency)
    except UnknownCurrency:
        yield _fault("/currency", "is not a currency of ISO 4217 that one can pay in")


def _charging_faults(price: Price) -> Iterator[InputError]:
    if price.kind == "usage":
        if not price.meter:
            yield _fault("/meter", "a price of usage names the meter that measures it")
        if price.timing == "advance":
            yield _fault("/timing", "usage is known afterwards: it is charged in arrears")
        if price.model == "flat":
            yield _fault("/model", "a flat fee is no price of usage: make it a recurring one")
        return
    if price.meter:
        yield _fault("/meter", f"a {price.kind.replace('_', '-')} price is not metered")
    if _needs_more_than_a_quantity(price):
        yield _fault("/model", "needs events, which only a price of usage has")


def _needs_more_than_a_quantity(price: Price) -> bool:
    if price.model == "percentage":
        return is_about_events(price) or bool(price.fixed_amount_per_event)
    if price.model == "expression" and price.expression:
        try:
            read = parse(price.expression, PRICE_TOTALS)
        except InvalidExpression:
            return False
        return read.needs_events or "event_count" in read.names
    return price.model == "matrix"


def _field_faults(price: Price) -> Iterator[InputError]:
    """Each field stands where its model needs it, and nowhere else."""
    needed, allowed = _NEEDED[price.model], _ALLOWED.get(price.model, ())
    for name in _FIELDS:
        value = getattr(price, name)
        is_given = value is not None and value != ()
        if name in needed and not is_given:
            yield _fault(f"/{name}", f"is missing: the model {price.model} needs it")
        if is_given and name not in needed and name not in allowed:
            yield _fault(f"/{name}", f"does not belong to the model {price.model}")
    if price.model != "package" and price.package_rounding != "up":
        yield _fault("/package_rounding", f"does not belong to the model {price.model}")
    if price.model == "capacity" and (price.unit_amount is None) == (not price.tiers):
        yield _fault("/unit_amount", "a capacity has either a unit amount or tiers")


def _tier_faults(price: Price) -> Iterator[InputError]:
    in_percent = price.model == "graduated_percentage"
    for index, tier in enumerate(price.tiers):
        at = f"/tiers/{index}"
        yield from _bound_faults(price.tiers, index)
        yield from _number_faults(f"{at}/unit_amount", tier.unit_amount)
        for name in ("flat_amount", "rate_percent", "cap_amount"):
            number = getattr(tier, name)
            if number is not None:
                yield from _number_faults(f"{at}/{name}", number)
        if in_percent and tier.rate_percent is None:
            yield _fault(f"{at}/rate_percent", "is missing: the tier takes a percentage")
        if in_percent and tier.unit_amount:
            yield _fault(f"{at}/unit_amount", "a tier that takes a percentage has no unit amount")
        if not in_percent and tier.rate_percent is not None:
            yield _fault(f"{at}/rate_percent", f"does not belong to the model {price.model}")


def _bound_faults(tiers: tuple[PriceTier, ...], index: int) -> Iterator[InputError]:
    """A tier starts where the one before it ends, so tiers in order have no gap and no overlap."""
    pointer, up_to = f"/tiers/{index}/up_to", tiers[index].up_to
    is_last = index == len(tiers) - 1
    if up_to is None:
        if not is_last:
            yield _fault(pointer, "is missing: only the last tier has no end")
        return
    if is_last:
        yield _fault(pointer, "the last tier has no end")
    faults = list(_number_faults(pointer, up_to))
    yield from faults
    before = tiers[index - 1].up_to if index else Decimal(0)
    if not faults and before is not None and before.is_finite() and up_to <= before:
        yield _fault(pointer, "is more than where the tier before it ends" if index else "is more than zero")


def _cell_faults(price: Price) -> Iterator[InputError]:
    for index, name in enumerate(price.dimensions):
        if not name:
            yield _fault(f"/dimensions/{index}", "is not empty")
        elif name in price.dimensions[:index]:
            yield _fault(f"/dimensions/{index}", "is named twice")
    seen: set[tuple[str, ...]] = set()
    for index, cell in enumerate(price.cells):
        yield from _number_faults(f"/cells/{index}/unit_amount", cell.unit_amount)
        if len(cell.values) != len(price.dimensions):
            yield _fault(f"/cells/{index}/values", "has one value for each dimension, * being any")
        elif cell.values in seen:
            yield _fault(f"/cells/{index}/values", "is the same as in an earlier cell")
        seen.add(cell.values)


def _expression_faults(price: Price) -> Iterator[InputError]:
    if price.expression is not None:
        try:
            parse(price.expression, PRICE_TOTALS)
        except InvalidExpression as invalid:
            yield _fault("/expression", f"{invalid.message}. {invalid.remedy}")


def _number_field_faults(price: Price) -> Iterator[InputError]:
    for name in _NUMBERS:
        number = getattr(price, name)
        if number is not None:
            yield from _number_faults(f"/{name}", number)
    if price.package_size == 0:
        yield _fault("/package_size", "is more than zero")
    if price.free_events is not None and price.free_events < 0:
        yield _fault("/free_events", "is not negative")


def _order_faults(price: Price) -> Iterator[InputError]:
    for least, most in (
        ("minimum_amount", "maximum_amount"),
        ("minimum_amount_per_event", "maximum_amount_per_event"),
    ):
        low, high = getattr(price, least), getattr(price, most)
        if low is not None and high is not None and low.is_finite() and high.is_finite() and low > high:
            yield _fault(f"/{most}", f"is no less than {least}")


def _allowance_faults(price: Price) -> Iterator[InputError]:
    if price.allowance_interval_unit is not None and not price.included_quantity:
        yield _fault("/allowance_interval_unit", "there is nothing included that could begin anew")
    if price.allowance_pool is not None:
        if price.model not in _POOLED:
            yield _fault("/allowance_pool", f"units of the model {price.model} cannot be pooled")
        if not price.included_quantity:
            yield _fault("/allowance_pool", "there is nothing included that could be pooled")
        if price.rollover is not None:
            yield _fault("/rollover", "a pool lasts as long as it is held, and leaves nothing over")
    if price.rollover is None:
        return
    if price.model not in _CARRIED_ON:
        yield _fault("/rollover", f"units of the model {price.model} cannot be carried on")
    elif not price.included_quantity and price.model != "package":
        yield _fault("/rollover", "there is nothing included that could roll over")
    if price.rollover.cap is not None:
        yield from _number_faults("/rollover/cap", price.rollover.cap)
    if price.rollover.periods < 1:
        yield _fault("/rollover/periods", "is at least one")


def _interval_faults(price: Price) -> Iterator[InputError]:
    for name in ("interval_count", "allowance_interval_count"):
        if getattr(price, name) < 1:
            yield _fault(f"/{name}", "is at least one")


def _number_faults(pointer: str, number: Decimal) -> Iterator[InputError]:
    if not number.is_finite():
        yield _fault(pointer, "is a number")
        return
    if number < 0:
        yield _fault(pointer, "is not negative")
    if number.adjusted() >= WHOLE_DIGITS_MAX:
        yield _fault(pointer, f"has at most {WHOLE_DIGITS_MAX} digits before the point")
    elif (Fraction(number) * 10**DECIMALS_MAX).denominator != 1:
        yield _fault(pointer, f"has at most {DECIMALS_MAX} decimals")


def _fault(pointer: str, detail: str) -> InputError:
    return InputError(pointer=pointer, detail=detail)
