"""What may be wrong with a price, all of it at once, each fault with the JSON pointer to where it is."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

from libs.common.errors import InputError
from libs.common.money import UnknownCurrency, exponent
from services.billing.domain.rating.price import Price, PriceTier, Proration

DECIMALS_MAX = 12
WHOLE_DIGITS_MAX = 18
TIERED = ("graduated", "volume")
PRORATIONS_OFFERED: tuple[Proration, ...] = ("none", "day", "full")


def validate_price(price: Price) -> tuple[InputError, ...]:
    """Everything wrong with `price`, none when it can be sold; pointers are relative to the price."""
    return (
        *_currency_faults(price),
        *_charging_faults(price),
        *_amount_faults(price),
        *_package_faults(price),
        *_tier_faults(price),
        *_number_faults("/included_quantity", price.included_quantity),
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
    elif price.meter:
        yield _fault("/meter", "a recurring price is not metered")
    if price.proration not in PRORATIONS_OFFERED:
        yield _fault("/proration", f"is one of {', '.join(PRORATIONS_OFFERED)}")


def _amount_faults(price: Price) -> Iterator[InputError]:
    if price.model in TIERED:
        if price.unit_amount is not None:
            yield _fault("/unit_amount", "is said by the tiers")
    elif price.unit_amount is None:
        yield _fault("/unit_amount", "is missing")
    else:
        yield from _number_faults("/unit_amount", price.unit_amount)


def _package_faults(price: Price) -> Iterator[InputError]:
    if price.model != "package":
        if price.package_size is not None:
            yield _fault("/package_size", "belongs to the model package only")
    elif price.package_size is None:
        yield _fault("/package_size", "is missing")
    elif price.package_size == 0:
        yield _fault("/package_size", "is more than zero")
    else:
        yield from _number_faults("/package_size", price.package_size)


def _tier_faults(price: Price) -> Iterator[InputError]:
    if price.model not in TIERED:
        if price.tiers:
            yield _fault("/tiers", "belong to the models graduated and volume only")
        return
    if not price.tiers:
        yield _fault("/tiers", "are missing")
    for index, tier in enumerate(price.tiers):
        yield from _number_faults(f"/tiers/{index}/unit_amount", tier.unit_amount)
        if tier.flat_amount is not None:
            yield from _number_faults(f"/tiers/{index}/flat_amount", tier.flat_amount)
        yield from _bound_faults(price.tiers, index)


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
