"""Lines of charges that are no plain rating of a quantity: changes, credits, and credits that are capped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from libs.common.exact import Number, add, multiply, subtract, text
from libs.common.money import Money, round_half_away
from services.billing.domain.rating.change import rate_change
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rate import rate
from services.billing.domain.rating.rated_line import (
    LINE_WORDS,
    NOTHING,
    ONE,
    PRICE_DECIMALS,
    QUANTITY_DECIMALS,
    RatedLine,
)

WHOLE = Fraction(1)


@dataclass(frozen=True, slots=True)
class ChargeLine:
    """`quantity` x `unit_amount` x `fraction` is the amount; a credit has a negative quantity and a positive price.

    `corrects` is the id of the line of an earlier document that this one puts right.
    """

    key: str
    tier: int
    description: str
    quantity: Number
    unit_amount: Number
    fraction: Fraction
    amount: Money
    formula: str
    corrects: str | None = None

    @property
    def rounded(self) -> Decimal:
        return self.amount.to_decimal()

    @property
    def shown_quantity(self) -> Decimal:
        """Rounding: half away from zero, to 6 decimals; the amount never comes from it."""
        return _shown(Fraction(self.quantity) * self.fraction, QUANTITY_DECIMALS)

    @property
    def shown_unit_amount(self) -> Decimal:
        if isinstance(self.unit_amount, Decimal):
            return self.unit_amount
        return _shown(self.unit_amount, PRICE_DECIMALS)


def change_lines(price: Price, before: Decimal, after: Decimal, fraction: Fraction) -> tuple[ChargeLine, ...]:
    """From `before` to `after` units, tier by tier. Rounding: each line once. Source: R18."""
    lines = []
    for delta in rate_change(price, before, after, fraction=fraction):
        tier = int(delta.key) if price.tiers and delta.key.isdigit() else 0
        words = LINE_WORDS.get(delta.key)
        lines.append(
            ChargeLine(
                key=delta.key,
                tier=tier,
                description=f"{price.description}: {words}" if words else price.description,
                quantity=delta.quantity,
                unit_amount=delta.unit_amount,
                fraction=fraction,
                amount=delta.amount,
                formula=f"tier {tier}: {delta.formula}" if tier else delta.formula,
            )
        )
    return tuple(lines)


def credit_lines(price: Price, quantity: Decimal, fraction: Fraction) -> tuple[ChargeLine, ...]:
    """What `quantity` costs, given back. Rounding: each line once, as when it was charged. Source: R5."""
    return tuple(_turned(line) for line in rate(price, quantity, fraction=fraction) if line.rounded)


def _turned(line: RatedLine) -> ChargeLine:
    units, unit_amount, fraction = line.quantity, line.unit_amount, line.fraction
    if line.kind != "price":
        units, unit_amount, fraction = line.quantity, line.unit_amount, WHOLE
    elif line.flat_amount or line.cap_amount is not None:
        full = add(multiply(units, unit_amount), line.flat_amount)
        if line.cap_amount is not None and full > line.cap_amount:
            full = line.cap_amount
        units, unit_amount = ONE, full
    amount = -line.amount
    exact = -Fraction(units) * Fraction(unit_amount) * fraction
    equals = "=" if exact == Fraction(amount.to_decimal()) else "≈"
    part = "" if fraction == 1 else f" * {fraction}"
    product = f"{text(subtract(NOTHING, units))} * {text(unit_amount)}{part}"
    told = f"{product} {equals} {amount.to_decimal()} {amount.currency}"
    return ChargeLine(
        key=line.key,
        tier=line.tier,
        description=line.description,
        quantity=subtract(NOTHING, units),
        unit_amount=unit_amount,
        fraction=fraction,
        amount=amount,
        formula=f"{line.bounds}: {told}" if line.bounds and line.kind == "price" else told,
    )


def capped(lines: Sequence[ChargeLine], most: Money) -> tuple[ChargeLine, ...]:
    """The lines of a credit of `most` at the most: the last ones give back less."""
    excess = -sum(line.amount.amount_minor for line in lines) - most.amount_minor
    kept: list[ChargeLine] = []
    for line in reversed(lines):
        taken = min(excess, -line.amount.amount_minor)
        if taken <= 0:
            kept.append(line)
            continue
        excess -= taken
        amount = Money(line.amount.amount_minor + taken, most.currency)
        if amount.amount_minor:
            kept.append(_at_most(line, amount))
    return tuple(reversed(kept))


def _at_most(line: ChargeLine, amount: Money) -> ChargeLine:
    told = f"{line.formula}; no more than was charged: {amount.to_decimal()} {amount.currency}"
    return replace(
        line, quantity=-ONE, unit_amount=-amount.to_decimal(), fraction=WHOLE, amount=amount, formula=told
    )


def told_line(line: RatedLine, formula: str) -> ChargeLine:
    """The line, with what is known of how its quantity came about."""
    return ChargeLine(
        key=line.key,
        tier=line.tier,
        description=line.description,
        quantity=line.quantity,
        unit_amount=line.unit_amount,
        fraction=line.fraction,
        amount=line.amount,
        formula=formula,
    )


def _shown(exact: Fraction, decimals: int) -> Decimal:
    return Decimal(text(Decimal(round_half_away(exact, decimals)).scaleb(-decimals)))
