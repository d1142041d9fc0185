"""Rating itself: included units off, the model's tiers, the part of the period, and one rounding a line."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction

from libs.common.errors import RuleViolation
from libs.common.money import Money
from services.billing.domain.rating.exact import difference, text
from services.billing.domain.rating.flat import flat
from services.billing.domain.rating.graduated import graduated
from services.billing.domain.rating.package import package
from services.billing.domain.rating.per_unit import per_unit
from services.billing.domain.rating.price import Model, Price
from services.billing.domain.rating.rated_line import RatedLine, TierPart
from services.billing.domain.rating.volume import volume

__all__ = ["MODELS", "WHOLE_PERIOD", "NegativeQuantity", "RatedLine", "rate"]

WHOLE_PERIOD = Fraction(1)

MODELS: Mapping[Model, Callable[[Price, Decimal], tuple[TierPart, ...]]] = {
    "flat": flat,
    "per_unit": per_unit,
    "graduated": graduated,
    "volume": volume,
    "package": package,
}


class NegativeQuantity(RuleViolation):
    code = "negative_quantity"
    title = "A quantity below zero"


def rate(price: Price, quantity: Decimal, *, fraction: Fraction = WHOLE_PERIOD) -> tuple[RatedLine, ...]:
    """What `quantity` costs for `fraction` of a period: one line for each tier reached, at least one.

    The same arguments always give the same lines. `price` is one that `validate_price` found no fault with.
    Units: amounts of the price in major units; `quantity` in units of what is sold or metered.
    Rounding: each line once, half away from zero, from the exact product.
    Raises: NegativeQuantity; a credit is rated as the quantity given back, and then turned.
    Source: each tier of a graduated price counts as a price of its own, hence is a line of its own.
    """
    if quantity < 0:
        raise NegativeQuantity("a quantity is rated from zero up", quantity=quantity)
    assert 0 <= fraction <= 1, "a part of a period is no more than the period"
    billable = max(Decimal(0), difference(quantity, price.included_quantity))
    return tuple(_line(price, part, fraction) for part in MODELS[price.model](price, billable))


def _line(price: Price, part: TierPart, fraction: Fraction) -> RatedLine:
    full = Fraction(part.quantity) * Fraction(part.unit_amount) + Fraction(part.flat_amount)
    exact = full * fraction
    amount = Money.from_decimal(exact, price.currency)
    return RatedLine(
        tier=part.tier,
        quantity=part.quantity,
        unit_amount=part.unit_amount,
        flat_amount=part.flat_amount,
        fraction=fraction,
        exact=exact,
        amount=amount,
        formula=_formula(price, part, fraction, exact, amount),
    )


def _formula(price: Price, part: TierPart, fraction: Fraction, exact: Fraction, amount: Money) -> str:
    included = f"after {text(price.included_quantity)} included" if price.included_quantity else ""
    which = ", ".join(words for words in (included, part.bounds) if words)
    product = f"{part.counted} * {text(part.unit_amount)}"
    if part.flat_amount:
        product = f"{product} + {text(part.flat_amount)}"
    if fraction != WHOLE_PERIOD:
        factor = f"{fraction.numerator}/{fraction.denominator}"
        product = f"({product}) * {factor}" if part.flat_amount else f"{product} * {factor}"
    equals = "=" if Fraction(amount.to_decimal()) == exact else "≈"
    explained = f"{product} {equals} {amount.to_decimal()} {amount.currency}"
    return f"{which}: {explained}" if which else explained
