"""What one candidate comes to beside another, in all and for each price that both have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.money import Money
from services.billing.domain.simulation.settlement import SettledPlan


@dataclass(frozen=True, slots=True)
class ComparedCharge:
    """All charges of one price, commitment, coupon or trial together; None where the candidate has none."""

    code: str
    kind: str
    description: str
    before: Money | None
    after: Money | None
    difference: Money


@dataclass(frozen=True, slots=True)
class Comparison:
    """`candidate` against the first one. In different currencies nothing is compared, and `difference` is None.

    With taxes, the totals are compared, tax included; charges are always compared without regard to it.
    """

    candidate: int
    against: int
    before: Money
    after: Money
    difference: Money | None
    charges: tuple[ComparedCharge, ...]
    says: str


def compare(settled: Sequence[SettledPlan]) -> tuple[Comparison, ...]:
    """Every candidate against the first: what would they have paid instead?"""
    return tuple(
        _compared(settled[0], other, candidate) for candidate, other in enumerate(settled[1:], start=1)
    )


def _compared(first: SettledPlan, other: SettledPlan, candidate: int) -> Comparison:
    before, after = first.compared, other.compared
    if before.currency != after.currency:
        says = f"One is in {before.currency}, the other in {after.currency}: they are not compared."
        return Comparison(candidate, 0, before, after, None, (), says)
    mine, theirs = _by_charge(first), _by_charge(other)
    zero = Money.zero(before.currency)
    charges = []
    for key in [*mine, *(key for key in theirs if key not in mine)]:
        kind, code = key
        told = (theirs.get(key) or mine[key])[0]
        old, new = mine.get(key), theirs.get(key)
        difference = (new[1] if new else zero) - (old[1] if old else zero)
        charges.append(
            ComparedCharge(code, kind, told, old[1] if old else None, new[1] if new else None, difference)
        )
    difference = after - before
    return Comparison(candidate, 0, before, after, difference, tuple(charges), _told(difference))


def _by_charge(settled: SettledPlan) -> dict[tuple[str, str], tuple[str, Money]]:
    """The description and the sum of each code, in the order in which they are first charged."""
    found: dict[tuple[str, str], tuple[str, Money]] = {}

    def add(kind: str, code: str, description: str, amount: Money) -> None:
        before = found.get((kind, code))
        found[kind, code] = (description, amount if before is None else before[1] + amount)

    simulated = settled.simulated
    charges = [] if simulated.trial is None else [simulated.trial]
    charges += [charge for period in simulated.periods for charge in period.charges]
    for charge in charges:
        kind = charge.kind if charge.kind in ("commitment", "trial") else "price"
        add(kind, charge.code, charge.description, charge.amount)
    for period in settled.periods:
        for discount in period.discounts:
            add("discount", discount.code, f"Coupon {discount.code}", -discount.amount)
    return found


def _told(difference: Money) -> str:
    if not difference.amount_minor:
        return "As much as the first."
    more = "more" if difference.amount_minor > 0 else "less"
    size = difference if difference.amount_minor > 0 else -difference
    return f"{size.to_decimal():f} {difference.currency} {more} than the first."
