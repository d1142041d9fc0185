"""What is billed of a window: what it closed with, and of what changed later as much as the plan bills."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from libs.common.exact import EXACT
from services.billing.domain.charge import NOTHING, ItemUsage, UsageCorrection, UsageOfPeriod

TotalKey = tuple[str, str, str | None]  # item, meter, price


def billed_usage(closed: UsageOfPeriod, corrections: Iterable[UsageCorrection]) -> UsageOfPeriod:
    """The window with the totals that are billed: those it closed with, and the differences of what is billable.

    In whatever order corrections come, and whether all have come: what came too late stays left out also where something
    billable came after it. No total falls below zero because of it.
    """
    known = _since_all_are_kept(corrections)
    if not any(correction.is_billable for correction in known):
        return closed
    totals = {_key(total): total for total in closed.totals}
    for correction in known:
        if correction.is_billable:
            before = closed.totals if correction.before is None else correction.before
            _add(totals, before, correction.totals)
    return replace(closed, totals=tuple(_at_least_nothing(total) for total in totals.values()))


def _since_all_are_kept(corrections: Iterable[UsageCorrection]) -> list[UsageCorrection]:
    """In their order, from the one on that stands for all before it."""
    known = sorted(corrections, key=lambda correction: correction.revision)
    first = max((place for place, one in enumerate(known) if one.before is None), default=0)
    return known[first:]


def _add(totals: dict[TotalKey, ItemUsage], before: Sequence[ItemUsage], after: Sequence[ItemUsage]) -> None:
    was, now = ({_key(total): total for total in given} for given in (before, after))
    for key in dict.fromkeys([*was, *now]):
        item_id, meter, price_id = key
        nothing = ItemUsage(item_id, meter, NOTHING, 0, price_id)
        old, new, known = was.get(key, nothing), now.get(key, nothing), totals.get(key, nothing)
        if old != new:
            totals[key] = replace(
                new,
                quantity=_moved(known.quantity, old.quantity, new.quantity),
                event_count=max(known.event_count + new.event_count - old.event_count, 0),
                estimated_quantity=_moved(
                    known.estimated_quantity, old.estimated_quantity, new.estimated_quantity
                ),
            )


def _moved(known: Decimal, old: Decimal, new: Decimal) -> Decimal:
    return EXACT.add(known, EXACT.subtract(new, old))


def _at_least_nothing(total: ItemUsage) -> ItemUsage:
    return total if total.true_ups else replace(total, quantity=max(total.quantity, NOTHING))


def _key(total: ItemUsage) -> TotalKey:
    return total.item_id, total.meter, total.price_id
