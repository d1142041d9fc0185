"""What a counter is taken to show when nobody has read it: it went on as it did in the last periods."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import floor

from services.metering.domain.consumption import Position
from services.metering.domain.counter import CounterRules
from services.metering.domain.exactly import EXACT


def mean_of_periods(quantities: Sequence[Decimal], *, decimals: int, part: Fraction = Fraction(1)) -> Decimal:
    """The mean of periods that were read throughout, or that `part` of it of which there is a period; estimates do not
    enter.

    Rounding: once, half up, to the decimals of the meter's unit.
    """
    assert quantities, "without periods there is no mean"
    total = Decimal(0)
    for quantity in quantities:
        total = EXACT.add(total, EXACT.scaleb(quantity, decimals))
    assert total == int(total), "no reading is finer than its meter's unit"
    mean = Fraction(int(total), len(quantities)) * part
    return EXACT.scaleb(Decimal(max(0, floor(mean + Fraction(1, 2)))), -decimals)


def estimated_value(position: Position, quantity: Decimal, rules: CounterRules) -> Decimal:
    """What the counter shows after `quantity` more: a register that is full begins again at zero."""
    value = EXACT.add(position.shown, quantity)
    digits = position.register_digits or rules.register_digits
    return value if digits is None else EXACT.remainder(value, Decimal(10**digits))
