"""Lines in the words of the cases: what was rated, what has been added since, and how sources write it down."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from libs.common.money import Money, total
from services.billing.domain.rating.rate import RatedLine

ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class Line:
    """A line in the words of the cases; `gross` less `discount` is its total. Amounts are money, or exact.

    `amount` is what the engine made of the whole line, where it is one of the engine's.
    """

    tier: int
    quantity: Fraction = ZERO
    unit_amount: Fraction = ZERO
    flat: Fraction = ZERO
    gross: Fraction = ZERO
    discount: Fraction = ZERO
    amount: Money | None = None

    @property
    def total(self) -> Fraction:
        return self.gross - self.discount

    def told(self) -> Mapping[str, Any]:
        return {
            "tier": self.tier,
            "quantity": self.quantity,
            "unit_amount": self.unit_amount,
            "unit_total": self.gross - self.flat,
            "flat": self.flat,
            "gross": self.gross,
            "discount": self.discount,
            "total": self.total,
        }


def difference(after: Sequence[RatedLine], before: Sequence[RatedLine]) -> list[Line]:
    """What has been added since: each line after, less that of the same tier before; one that is gone is given back."""
    old, new = ({line.key: _line(line) for line in lines} for lines in (before, after))
    gone = [_less_than(Line(old[key].tier), old[key]) for key in old if key not in new]
    return [_less_than(line, old[key]) if key in old else line for key, line in new.items()] + gone


def _line(line: RatedLine) -> Line:
    return Line(
        tier=line.tier,
        quantity=Fraction(line.quantity),
        unit_amount=Fraction(line.unit_amount),
        flat=Fraction(line.flat_amount),
        gross=line.exact,
        amount=line.amount,
    )


def _less_than(line: Line, earlier: Line) -> Line:
    return replace(
        line,
        quantity=line.quantity - earlier.quantity,
        unit_amount=line.unit_amount or earlier.unit_amount,
        flat=line.flat - earlier.flat,
        gross=line.gross - earlier.gross,
        amount=None,
    )


def views(lines: Sequence[Line]) -> Sequence[Sequence[Line]]:
    """Sources differ in what is a line: one that comes to nothing, and the flat amount of a tier beside its units."""
    used = [line for line in lines if line.gross]
    apart = [part for line in used for part in _apart(line)]
    flat_first = [part for line in used for part in reversed(_apart(line))]
    return lines, used, apart, flat_first


def _apart(line: Line) -> Sequence[Line]:
    if not line.flat or line.gross == line.flat:
        return (line,)
    units = replace(line, flat=ZERO, gross=line.gross - line.flat, amount=None)
    return units, Line(line.tier, Fraction(1), line.flat, line.flat, line.flat)


def rounded(line: Line, currency: str) -> Line:
    """As the engine rounded it, or where it is a difference, as the engine would."""
    amount = Money.from_decimal(line.gross, currency) if line.amount is None else line.amount
    return replace(line, gross=Fraction(amount.to_decimal()))


def discounted(line: Line, discount: Money) -> Line:
    return replace(line, discount=line.discount + Fraction(discount.to_decimal()))


def without_last(lines: Sequence[Line], excess: Money) -> list[Line]:
    """The excess taken off the last lines: those before it fill the maximum in their order."""
    left = Fraction(excess.to_decimal())
    found: list[Line] = []
    for line in reversed(lines):
        taken = min(left, line.total)
        left -= taken
        found.append(replace(line, discount=line.discount + taken))
    return found[::-1]


def sum_of(before: Money, lines: Iterable[Line]) -> Money:
    return total(
        [before, *(Money.from_decimal(line.total, before.currency) for line in lines)], before.currency
    )
