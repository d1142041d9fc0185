"""The least and the most that one charge of a price comes to, each a line of its own beside those of the usage."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from libs.common.exact import text
from libs.common.money import Money, total
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import NOTHING, ONE, LineKind, RatedLine, Terms

WHOLE = Fraction(1)


class Bound(NamedTuple):
    """What brings an amount up to a minimum, or (negative) down to a maximum."""

    kind: LineKind
    difference: Money
    told: str

    @property
    def quantity(self) -> Decimal:
        """A credit is a negative quantity at a positive price."""
        return ONE if self.difference.amount_minor > 0 else -ONE


def find_bound(
    minimum: Decimal | None, maximum: Decimal | None, amount: Money, fraction: Fraction
) -> Bound | None:
    """What is missing or too much, None where the amount lies between. `fraction` is the part for which they hold.

    Rounding: the bound once, half away from zero; hence the amount and the difference sum to it exactly.
    """
    if minimum is not None:
        missing = Money.from_decimal(Fraction(minimum) * fraction, amount.currency) - amount
        if missing.amount_minor > 0:
            return Bound("minimum", missing, _told(minimum, fraction, amount, missing))
    if maximum is not None:
        excess = amount - Money.from_decimal(Fraction(maximum) * fraction, amount.currency)
        if excess.amount_minor > 0:
            return Bound("maximum", -excess, _told(maximum, fraction, amount, -excess))
    return None


def bound_line(price: Price, lines: Sequence[RatedLine], fraction: Fraction) -> RatedLine | None:
    """The line that takes those of the usage up to the price's minimum, or down to its maximum."""
    amount = total((line.amount for line in lines), price.currency)
    bound = find_bound(price.minimum_amount, price.maximum_amount, amount, fraction)
    if bound is None:
        return None
    rounded = bound.difference.to_decimal()
    return RatedLine(
        price=price,
        part=(0, bound.quantity, abs(rounded), NOTHING, None, None),
        rounded=rounded,
        terms=Terms(bound.kind, WHOLE, told=bound.told),
    )


def part_told(number: Decimal, fraction: Fraction) -> str:
    return text(number) if fraction == 1 else f"{text(number)} * {fraction}"


def _told(bound: Decimal, fraction: Fraction, amount: Money, difference: Money) -> str:
    exact = Fraction(bound) * fraction - Fraction(amount.to_decimal())
    equals = "=" if exact == Fraction(difference.to_decimal()) else "≈"
    product = f"{part_told(bound, fraction)} - {text(amount.to_decimal())}"
    return f"{product} {equals} {difference.to_decimal()} {difference.currency}"
