"""Capacity: what is paid for is how many there were, at the most or on average over time."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from operator import attrgetter
from typing import NamedTuple

from libs.common.exact import EXACT, Number
from libs.common.periods import MICROSECOND, Period
from services.billing.domain.rating.graduated import graduated
from services.billing.domain.rating.per_unit import per_unit
from services.billing.domain.rating.price import Price
from services.billing.domain.rating.rated_line import NOTHING, Part
from services.billing.domain.rating.usage import (
    LevelChange,
    NegativeQuantity,
    Usage,
    UsageInconsistent,
    missing,
)

_add, _multiply = EXACT.add, EXACT.multiply
_new = tuple.__new__  # what a named tuple calls, without the call around it


class Stay(NamedTuple):
    """A level, and how long it lasted inside the period, in microseconds."""

    level: Decimal
    length_us: int


def capacity(price: Price, billable: Number) -> Sequence[Part]:
    return graduated(price, billable) if price.tiers else per_unit(price, billable)


def measured_capacity(price: Price, usage: Usage, period: Period | None) -> Number:
    """The peak, or the mean over time, of the levels in the period; the total itself where no levels are told.

    Units: exact; a mean that is no decimal is a fraction.
    Raises: UsageIncomplete, UsageInconsistent, NegativeQuantity.
    """
    if usage.levels is None:
        return usage.quantity
    if period is None:
        raise missing("period", "a capacity with dated levels")
    stays = stays_in(usage.levels, period)
    if price.capacity_basis == "peak":
        return max((stay.level for stay in stays), default=NOTHING)
    if not period.length_us:
        return NOTHING
    weighed = NOTHING
    for level, length_us in stays:
        weighed = _add(weighed, _multiply(level, length_us))
    numerator, denominator = weighed.as_integer_ratio()
    return Fraction(numerator, denominator * period.length_us)


_at = attrgetter("at")


def stays_in(levels: Sequence[LevelChange], period: Period) -> list[Stay]:
    """The levels that lasted for some of the period, in the order of time.

    The last change that is not later than the start gives the level at the start; before the first there was
    nothing. The order of `levels` means nothing, hence two levels at one instant are refused.
    """
    stays: list[Stay] = []
    level, since = NOTHING, period.start
    end = period.end
    before: LevelChange | None = None
    for change in sorted(levels, key=_at):
        at = change.at
        if change.level < NOTHING:
            raise NegativeQuantity("a level is not negative", at=at, level=change.level)
        if before is not None and before.at == at and before.level != change.level:
            raise UsageInconsistent(
                f"there are two levels at {at.isoformat()}",
                pointer="/levels",
                remedy="Give the last level of each instant.",
            )
        before = change
        if since < at < end:
            stays.append(_new(Stay, (level, (at - since) // MICROSECOND)))
            since = at
        if at < end:
            level = change.level
    if since < end:
        stays.append(Stay(level, (end - since) // MICROSECOND))
    return stays
