"""The difference between two ratings: units added inside a period."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from libs.common.exact import Number, plain, subtract, text
from libs.common.money import Money
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rate import WHOLE_PERIOD, RatedLine, rate
from services.billing.domain.rating.rated_line import NOTHING, ONE


@dataclass(frozen=True, slots=True)
class DeltaLine:
    """What one line has come to more, or (a negative quantity of a positive price) less. `key` is that of the line."""

    key: str
    quantity: Number
    unit_amount: Number
    amount: Money
    formula: str


def rate_change(
    price: Price, before: Decimal, after: Decimal, *, fraction: Fraction = WHOLE_PERIOD
) -> tuple[DeltaLine, ...]:
    """What it costs to go from `before` to `after` units for `fraction` of a period, tier by tier.

    Rounding: each line once: the exact difference of the two, prorated.
    Raises: as `rate`.
    Source: R18: added units are rated as graduated(new) - graduated(old), then prorated.
    """
    old = {_key(line): line for line in rate(price, before)}
    new = {_key(line): line for line in rate(price, after)}
    lines: list[DeltaLine] = []
    for key in [*new, *(key for key in old if key not in new)]:
        units, unit_amount = _units(old.get(key), new.get(key))
        exact = Fraction(units) * Fraction(unit_amount) * fraction
        amount = Money.from_decimal(exact, price.currency)
        if amount.amount_minor:
            equals = "=" if Fraction(amount.to_decimal()) == exact else "≈"
            part = "" if fraction == 1 else f" * {fraction}"
            told = (
                f"{text(units)} * {text(unit_amount)}{part} {equals} {amount.to_decimal()} {amount.currency}"
            )
            lines.append(DeltaLine(key, units, unit_amount, amount, told))
    return tuple(lines)


def _key(line: RatedLine) -> str:
    """By volume there is one line, whichever tier prices it."""
    return "0" if line.price.model == "volume" and line.kind == "price" else line.key


def _units(old: RatedLine | None, new: RatedLine | None) -> tuple[Number, Number]:
    """The units that one line has more; where they do not make the difference alone, the difference itself, once."""
    units = subtract(new.quantity if new else NOTHING, old.quantity if old else NOTHING)
    unit_amount = new.unit_amount if new else old.unit_amount if old else NOTHING
    difference = (new.exact if new else Fraction(0)) - (old.exact if old else Fraction(0))
    if Fraction(units) * Fraction(unit_amount) == difference:
        return units, unit_amount
    return _signed(plain(difference))


def _signed(difference: Number) -> tuple[Number, Number]:
    """A negative quantity of a positive price."""
    return (-ONE, -difference) if difference < 0 else (ONE, difference)
