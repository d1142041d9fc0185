"""Tiers of a graduated price. Each begins where the one before it ends: no gap or overlap can be written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from libs.common.errors import InputError
from services.catalog.domain.amount import amount_faults

TIERS_MAX = 50


@dataclass(frozen=True, slots=True)
class PriceTier:
    """The units after the tier before, up to the running total `up_to`, itself included; None on the last.

    Units: `unit_amount` in major units of the plan's currency; `flat_amount` once, when the tier is reached.
    """

    up_to: Decimal | None
    unit_amount: Decimal
    flat_amount: Decimal | None = None


def tier_faults(tiers: Sequence[PriceTier], at: str) -> Iterator[InputError]:
    """Everything wrong with the tiers, each with its place below the pointer `at` and what to do."""
    if not tiers:
        yield {"pointer": at, "detail": "a graduated price needs tiers: give at least one, open-ended"}
        return
    if len(tiers) > TIERS_MAX:
        yield {"pointer": at, "detail": f"there are more than {TIERS_MAX} tiers: join some"}
    reached = Decimal(0)
    for position, tier in enumerate(tiers):
        here = f"{at}/{position}"
        yield from amount_faults(tier.unit_amount, f"{here}/unit_amount")
        if tier.flat_amount is not None:
            yield from amount_faults(tier.flat_amount, f"{here}/flat_amount")
        is_last = position == len(tiers) - 1
        yield from _end_faults(tier.up_to, reached, is_last=is_last, at=f"{here}/up_to")
        if tier.up_to is not None and tier.up_to.is_finite():
            reached = max(reached, tier.up_to)


def _end_faults(up_to: Decimal | None, reached: Decimal, *, is_last: bool, at: str) -> Iterator[InputError]:
    """What is wrong with where a tier ends that begins above `reached`."""
    if up_to is None:
        if not is_last:
            yield {"pointer": at, "detail": "only the last tier may be open-ended: say where this one ends"}
        return
    if is_last:
        yield {
            "pointer": at,
            "detail": "the last tier must be open-ended, or some usage has no price: omit it",
        }
    faults = list(amount_faults(up_to, at))
    yield from faults
    if not faults and up_to <= reached:
        detail = f"a tier must end above {reached:f}, where it begins: put the tiers in rising order"
        yield {"pointer": at, "detail": detail}
