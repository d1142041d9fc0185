"""Marks on the usage of a billing period: somebody is told, once, when it has come so far."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from libs.common.errors import RuleViolation
from libs.common.ids import derived_id
from services.metering.domain.exactly import EXACT, stripped
from services.metering.domain.meter import Aggregation

MARKS_MAX = 20


class InvalidUsageAlert(RuleViolation):
    code: ClassVar[str] = "invalid_usage_alert"
    title: ClassVar[str] = "The usage alert cannot be made like this"


@dataclass(frozen=True, slots=True)
class Mark:
    """Usage that comes to `threshold` has reached it; `percent` is told where the mark is relative to the limit."""

    threshold: Decimal
    percent: Decimal | None = None


@dataclass(frozen=True, slots=True)
class UsageAlert:
    """What is watched: one item, or all items of a subscription that are measured by the meter. Never changed.

    `marks` ascend, and no two are the same; a mark is known by its place among them.
    """

    id: str
    subscription_id: str
    customer_id: str
    item_id: str | None
    meter: str
    limit: Decimal | None
    marks: tuple[Mark, ...]
    name: str | None
    created_at: datetime
    version: int = 1


@dataclass(frozen=True, slots=True)
class Firing:
    """A mark of an alert that was reached in the period of a window; there is at most one for the three."""

    id: str
    alert_id: str
    window_id: str
    place: int
    item_id: str
    period_index: int
    mark: Mark
    quantity: Decimal
    fired_at: datetime


def marks_of(
    quantities: Sequence[Decimal | None], percents: Sequence[Decimal | None], limit: Decimal | None
) -> tuple[Mark, ...]:
    """The marks that were asked for, ascending. Each has a quantity or a percentage of the limit, the other is None.

    Rounding: none. A hundredth of a decimal is one.
    Raises: InvalidUsageAlert.
    """
    if not 1 <= len(quantities) <= MARKS_MAX:
        raise InvalidUsageAlert(f"an alert has 1 to {MARKS_MAX} marks", pointer="/marks")
    if limit is not None and limit <= 0:
        raise InvalidUsageAlert("a limit is more than nothing", pointer="/limit")
    marks: list[Mark] = []
    for place, (quantity, percent) in enumerate(zip(quantities, percents, strict=True)):
        pointer = f"/marks/{place}"
        if (quantity is None) == (percent is None):
            raise InvalidUsageAlert("a mark is a quantity or a percentage, one of the two", pointer=pointer)
        if percent is not None and limit is None:
            raise InvalidUsageAlert(
                "a percentage needs a limit to be of", pointer=pointer, remedy="Say the limit, or a quantity."
            )
        mark = Mark(_threshold(quantity, percent, limit), percent)
        if mark.threshold <= 0:
            raise InvalidUsageAlert("a mark is more than nothing", pointer=pointer)
        if any(known.threshold == mark.threshold for known in marks):
            raise InvalidUsageAlert("two marks come to the same quantity", pointer=pointer)
        marks.append(mark)
    return tuple(sorted(marks, key=lambda mark: mark.threshold))


def _threshold(quantity: Decimal | None, percent: Decimal | None, limit: Decimal | None) -> Decimal:
    if quantity is not None:
        return quantity
    assert percent is not None, "one of the two is there"
    assert limit is not None, "a percentage has its limit"
    return stripped(EXACT.multiply(limit, percent).scaleb(-2, EXACT))


def together(aggregation: Aggregation, quantities: Sequence[Decimal]) -> Decimal:
    """What several items of a subscription come to: counts and sums are added up, of all else the greatest counts."""
    if aggregation not in ("count", "sum"):
        return max(quantities)
    total = Decimal(0)
    for quantity in quantities:
        total = EXACT.add(total, quantity)
    return total


def reached(alert: UsageAlert, quantity: Decimal, fired: Collection[int]) -> list[int]:
    """The places of the marks that usage has reached and that have not fired in this period, in ascending order."""
    return [
        place for place, mark in enumerate(alert.marks) if mark.threshold <= quantity and place not in fired
    ]


def firing_id(alert_id: str, window_id: str, place: int) -> str:
    """The same for whoever finds that the mark is reached."""
    return derived_id("ufir", alert_id, window_id, str(place))
