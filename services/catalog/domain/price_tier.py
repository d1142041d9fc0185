"""Tiers of a price. Each begins where the one before it ends: no gap or overlap can be written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from libs.common.errors import InputError
from services.catalog.domain.amount import amount_faults, percent_faults

TIERS_MAX = 50


@dataclass(frozen=True, slots=True)
class PriceTier:
    """The units after the tier before, up to the running total `up_to`, itself included; None on the last.

    Units: `unit_amount` in major units of the price's currency, or `rate_percent` in tiers of percentages;
    `flat_amount` once, when the tier is reached; `cap_amount` is the most that the tier comes to, both included.
    """

    up_to: Decimal | None
    unit_amount: Decimal | None = None
    flat_amount: Decimal | None = None
    rate_percent: Decimal | None = None
    cap_amount: Decimal | None = None


def tier_faults(tiers: Sequence[PriceTier], at: str, *, in_percent: bool = False) -> Iterator[InputError]:
    """Everything wrong with the tiers, each with its place below the pointer `at` and what to do."""
    if not tiers:
        yield {"pointer": at, "detail": "the amounts stand in tiers: give at least one, open-ended"}
        return
    if len(tiers) > TIERS_MAX:
        yield {"pointer": at, "detail": f"there are more than {TIERS_MAX} tiers: join some"}
    reached = Decimal(0)
    for position, tier in enumerate(tiers):
        here = f"{at}/{position}"
        yield from _amount_faults(tier, here, in_percent=in_percent)
        is_last = position == len(tiers) - 1
        yield from _end_faults(tier.up_to, reached, is_last=is_last, at=f"{here}/up_to")
        if tier.up_to is not None and tier.up_to.is_finite():
            reached = max(reached, tier.up_to)


def _amount_faults(tier: PriceTier, at: str, *, in_percent: bool) -> Iterator[InputError]:
    needed, other = ("rate_percent", "unit_amount") if in_percent else ("unit_amount", "rate_percent")
    if getattr(tier, needed) is None:
        yield {"pointer": f"{at}/{needed}", "detail": f'is missing: give {needed}, "0" if there is none'}
    if getattr(tier, other) is not None:
        detail = f"this tier is charged by {needed}: leave {other} out"
        yield {"pointer": f"{at}/{other}", "detail": detail}
    elif in_percent and tier.rate_percent is not None:
        yield from percent_faults(tier.rate_percent, f"{at}/rate_percent")
    for name in ("unit_amount", "flat_amount", "cap_amount"):
        amount: Decimal | None = getattr(tier, name)
        if amount is not None:
            yield from amount_faults(amount, f"{at}/{name}")
    if tier.cap_amount is not None and tier.flat_amount is not None and tier.cap_amount < tier.flat_amount:
        detail = "the flat amount alone comes to more than the cap: raise the cap, or lower the flat amount"
        yield {"pointer": f"{at}/cap_amount", "detail": detail}


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
