"""What a counter is taken to show when nobody has read it: as in the last periods, or by time between two readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import NamedTuple

from services.metering.domain.consumption import Position, Step, step
from services.metering.domain.counter import CounterRules
from services.metering.domain.exactly import EXACT
from services.metering.domain.reading import Reading
from services.metering.domain.usage_event import MICROSECOND


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


def used_until(at: datetime, position: Position, following: Reading, rules: CounterRules) -> Decimal | None:
    """How far the counter had gone at `at` since it was read last: the part, by time, of what `following` tells.

    Until an exchange or a reset that is what the counter in place before it showed last. None where that is lost, or
    is less than nothing. Rounding: once, half up, to the decimals of the meter's unit.
    """
    last = following
    if following.kind in ("exchange", "reset"):
        if following.old_end is None:
            return None
        last = replace(
            following,
            kind="regular",
            value=following.old_end,
            old_end=None,
            new_start=None,
            register_digits=None,
            is_certain=True,
        )
        if last.value < position.read_shown and (position.register_digits or rules.register_digits):
            last = replace(last, kind="wrap")
    found = step(position, last, rules)
    if not isinstance(found, Step) or found.consumption is None or found.consumption.rule == "reset":
        return None
    used = EXACT.add(found.consumption.quantity, position.estimated_quantity)
    if used < 0:
        return None
    elapsed_us = (at - position.read_at) // MICROSECOND
    part = Fraction(elapsed_us, (following.read_at - position.read_at) // MICROSECOND)
    scaled = int(EXACT.scaleb(used, decimals := rules.decimals)) * part
    return EXACT.scaleb(Decimal(floor(scaled + Fraction(1, 2))), -decimals)
