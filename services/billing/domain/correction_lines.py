"""What usage comes to more, or less, than was charged for it: one line for each line that was charged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from libs.common.exact import Number, divide
from libs.common.money import Money
from services.billing.domain.charge_line import WHOLE, ChargeLine
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import LINE_WORDS, ONE, QUANTITY_DECIMALS, RatedLine

VOLUME_KEY = "0"  # by volume there is one line, whichever tier prices it


class BilledLine(NamedTuple):
    """What the line of this key has come to so far, and the first of its lines that stands on a document."""

    key: str
    amount: Money
    line_id: str | None = None


@dataclass(frozen=True, slots=True)
class OwedLine:
    """What a line comes to, whatever was charged. `formula` says how."""

    key: str
    tier: int
    description: str
    unit_amount: Number
    amount: Money
    formula: str


def line_key(line: RatedLine | ChargeLine, price: Price) -> str:
    """What tells the lines of one price and period apart, however often they are rated."""
    return VOLUME_KEY if price.model == "volume" and line.key.isdigit() else line.key


def owed_line(line: RatedLine) -> OwedLine:
    return OwedLine(
        key=line_key(line, line.price),
        tier=line.tier,
        description=line.description,
        unit_amount=line.unit_amount,
        amount=line.amount,
        formula=line.formula,
    )


def correction_lines(
    price: Price, owed: Sequence[OwedLine], billed: Sequence[BilledLine], *, in_units: bool = False
) -> tuple[ChargeLine, ...]:
    """The lines that bring what was billed to what is owed; none for a line that has not changed.

    What was rounded is subtracted, and nothing is rounded again. Each has a quantity of 1 or -1 at the absolute
    difference, or, `in_units`, as many units as come to it exactly. A line that is new corrects the first one.
    Source: R19; R5.
    """
    before = {line.key: line for line in billed}
    known = {line.key: line for line in owed}
    first_id = next((line.line_id for line in billed if line.line_id is not None), None)
    lines: list[ChargeLine] = []
    for key in [*known, *(key for key in before if key not in known)]:
        now, was = known.get(key), before.get(key)
        amount = (now.amount if now else Money.zero(price.currency)) - (
            was.amount if was else Money.zero(price.currency)
        )
        if not amount.amount_minor:
            continue
        quantity, unit_amount = _units(amount, now) if in_units and now is not None else _once(amount)
        lines.append(
            ChargeLine(
                key=key,
                tier=now.tier if now is not None else _tier(price, key),
                description=now.description if now is not None else _description(price, key),
                quantity=quantity,
                unit_amount=unit_amount,
                fraction=WHOLE,
                amount=amount,
                formula=_told(now, was, amount),
                corrects=was.line_id if was is not None and was.line_id is not None else first_id,
            )
        )
    return tuple(lines)


def _once(amount: Money) -> tuple[Decimal, Decimal]:
    return (ONE if amount.amount_minor > 0 else -ONE), abs(amount.to_decimal())


def _units(amount: Money, owed: OwedLine) -> tuple[Decimal, Decimal]:
    """So many units at their price, where that is the difference to the cent."""
    unit_amount = owed.unit_amount
    if isinstance(unit_amount, Decimal) and unit_amount > 0:
        units = divide(amount.to_decimal(), unit_amount)
        if isinstance(units, Decimal) and -int(units.as_tuple().exponent) <= QUANTITY_DECIMALS:
            return units, unit_amount
    return _once(amount)


def _told(now: OwedLine | None, was: BilledLine | None, amount: Money) -> str:
    difference = f"{amount.to_decimal()} {amount.currency}"
    if was is None:
        assert now is not None, "a line that was not billed is owed"
        return now.formula if now.amount == amount else f"{now.formula}; {difference}"
    owed = Money.zero(amount.currency) if now is None else now.amount
    told = f"{owed.to_decimal()} - {was.amount.to_decimal()} = {difference}"
    return told if now is None else f"{now.formula}; {told}"


def _tier(price: Price, key: str) -> int:
    return int(key) if price.tiers and key.isdigit() else 0


def _description(price: Price, key: str) -> str:
    if key in LINE_WORDS:
        return f"{price.description}: {LINE_WORDS[key]}"
    cell = price.cells[int(key) - 1] if price.cells else None
    return f"{price.description}: {', '.join(cell.values)}" if cell else price.description
