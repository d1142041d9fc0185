"""What a counter is taken to show when nobody has read it: it went on as it did in the last periods."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import NamedTuple

from services.metering.domain.consumption import Position
from services.metering.domain.counter import CounterRules
from services.metering.domain.exactly import EXACT


class PeriodUsed(NamedTuple):
    """What was used in a period that was read throughout, and which part of a whole period that is, by time."""

    quantity: Decimal
    part: Fraction = Fraction(1)


def mean_of_periods(periods: Sequence[PeriodUsed], *, decimals: int, part: Fraction = Fraction(1)) -> Decimal:
    """The mean of whole periods, or that `part` of it of which there is a period; estimates do not enter.

    A period that was cut counts for its part. Rounding: once, half up, to the decimals of the meter's unit.
    """
    assert periods, "without periods there is no mean"
    total = Decimal(0)
    for period in periods:
        total = EXACT.add(total, EXACT.scaleb(period.quantity, decimals))
    assert total == int(total), "no reading is finer than its meter's unit"
    parts = sum((period.part for period in periods), Fraction(0))
    mean = int(total) * part * Fraction(parts.denominator, parts.numerator)
    return EXACT.scaleb(Decimal(max(0, floor(mean + Fraction(1, 2)))), -decimals)


def estimated_value(position: Position, quantity: Decimal, rules: CounterRules) -> Decimal:
    """What the counter shows after `quantity` more: a register that is full begins again at zero."""
    value = EXACT.add(position.shown, quantity)
    digits = position.register_digits or rules.register_digits
    return value if digits is None else EXACT.remainder(value, Decimal(10**digits))
