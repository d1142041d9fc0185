"""What was used between readings, by rule: difference, wrap, exchange, reset, estimate, and what puts estimates right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, NamedTuple

from services.metering.domain.counter import CounterRules
from services.metering.domain.exactly import EXACT
from services.metering.domain.reading import HeldKind, Kind, Reading
from services.metering.domain.true_up import TrueUp
from services.metering.domain.usage_event import MICROSECOND

Rule = Literal["difference", "wrap", "exchange", "reset", "estimate"]

NOTHING = Decimal(0)
HOUR_US = timedelta(hours=1) // MICROSECOND


@dataclass(frozen=True, slots=True)
class Consumption:
    """What was used from the reading before, at `start`, until the reading `reading_id`, at `end`.

    `behind` are the readings that it was made of: those two, and of a true-up the last one that was no estimate, with
    the estimates since. Of a true-up, `quantity` is what is left to tell, and may be negative.
    """

    reading_id: str
    start: datetime
    end: datetime
    quantity: Decimal
    rule: Rule
    is_estimated: bool
    true_up: TrueUp | None
    behind: tuple[str, ...]

    @property
    def counts_at(self) -> datetime:
        """It belongs to the time before its later reading: a month is told by a reading at the month's end."""
        return self.end - MICROSECOND


class Implausible(NamedTuple):
    """Why a reading is kept aside, for people."""

    kind: HeldKind
    told: str


@dataclass(frozen=True, slots=True)
class Position:
    """Where a counter stands after a reading: what it showed when it was read, and what has been estimated since.

    `shown` is what it shows if the estimates are true. `register_digits` None: those of the meter.
    """

    last_id: str
    last_at: datetime
    shown: Decimal
    read_id: str
    read_at: datetime
    read_shown: Decimal
    device: str | None
    register_digits: int | None
    estimates: tuple[str, ...] = ()
    estimated_quantity: Decimal = NOTHING


class Step(NamedTuple):
    """Where the counter stands now; None until it has been read once. The first reading tells of no consumption."""

    position: Position | None
    consumption: Consumption | None


class _Advance(NamedTuple):
    """How far a counter went since it was read. `is_whole`: nothing in between was lost."""

    quantity: Decimal
    rule: Rule
    is_whole: bool = True


def opening(reading: Reading, *, device: str | None = None, register_digits: int | None = None) -> Position:
    """Where a counter stands after its first reading, or one before which everything is settled."""
    return Position(
        last_id=reading.id,
        last_at=reading.read_at,
        shown=reading.value,
        read_id=reading.id,
        read_at=reading.read_at,
        read_shown=reading.value,
        device=reading.device or device,
        register_digits=reading.register_digits or register_digits,
    )


def step(position: Position | None, reading: Reading, rules: CounterRules) -> Step | Implausible:
    """Where the counter stands after the next reading, and what was used until then; or why that cannot be.

    A reading is measured against the last one that was no estimate, and tells what the estimates since have not. An
    estimate of a counter that was never read tells nothing.
    """
    if position is None:
        return Step(None if reading.is_estimate else opening(reading), None)
    if reading.is_estimate:
        return _estimated(position, reading, rules)
    if not reading.is_certain and (stranger := _is_of_another_device(position, reading)):
        return stranger
    found = _advance(position, reading, rules)
    if isinstance(found, Implausible):
        return found
    if not reading.is_certain and (rushed := _is_too_fast(position, reading, found.quantity, rules)):
        return rushed
    estimated = position.estimated_quantity if found.is_whole else NOTHING
    true_up = None
    if position.estimates and found.is_whole and not reading.is_estimated:
        true_up = TrueUp(reading.subject, position.read_at, reading.read_at, found.quantity, estimated)
    behind = (
        (position.read_id, *position.estimates, reading.id) if true_up else (position.last_id, reading.id)
    )
    consumption = Consumption(
        reading_id=reading.id,
        start=position.last_at,
        end=reading.read_at,
        quantity=EXACT.subtract(found.quantity, estimated),
        rule=found.rule,
        is_estimated=reading.is_estimated,
        true_up=true_up,
        behind=behind,
    )
    digits = None if reading.kind == "exchange" else position.register_digits
    return Step(opening(reading, device=position.device, register_digits=digits), consumption)


def walk(start: Position | None, readings: Iterable[Reading], rules: CounterRules) -> list[Consumption]:
    """What was used between readings that are all plausible, in their order."""
    consumptions: list[Consumption] = []
    position = start
    for reading in readings:
        found = step(position, reading, rules)
        assert isinstance(found, Step), "what is not plausible was kept aside"
        position = found.position
        if found.consumption is not None:
            consumptions.append(found.consumption)
    return consumptions


def _estimated(position: Position, reading: Reading, rules: CounterRules) -> Step:
    """An estimate is judged by nobody, since the next reading puts it right. One that a reading overtook adds nothing."""
    digits = position.register_digits or rules.register_digits
    found = _forward(position.shown, reading.value, digits, reading.kind)
    quantity = NOTHING if found is None else found.quantity
    consumption = Consumption(
        reading_id=reading.id,
        start=position.last_at,
        end=reading.read_at,
        quantity=quantity,
        rule="estimate",
        is_estimated=True,
        true_up=None,
        behind=(position.last_id, reading.id),
    )
    return Step(
        Position(
            last_id=reading.id,
            last_at=reading.read_at,
            shown=position.shown if found is None else reading.value,
            read_id=position.read_id,
            read_at=position.read_at,
            read_shown=position.read_shown,
            device=position.device,
            register_digits=position.register_digits,
            estimates=(*position.estimates, reading.id),
            estimated_quantity=EXACT.add(position.estimated_quantity, quantity),
        ),
        consumption,
    )


def _advance(position: Position, reading: Reading, rules: CounterRules) -> _Advance | Implausible:
    digits = position.register_digits or rules.register_digits
    if reading.kind in ("regular", "wrap"):
        digits = reading.register_digits or digits  # it is the same register as before
        found = _forward(position.read_shown, reading.value, digits, reading.kind)
        if found is not None:
            return found
        if reading.is_certain:
            return _Advance(EXACT.subtract(reading.value, position.read_shown), "difference")
        if rules.backwards == "reset":
            return _Advance(reading.value, "reset", is_whole=False)
        return _backwards(position.read_shown, reading.value, digits)
    return _beginning_anew(position, reading, rules, digits)


def _beginning_anew(
    position: Position, reading: Reading, rules: CounterRules, digits: int | None
) -> _Advance | Implausible:
    """An exchange or a reset: until the old end, and from the new start on."""
    assert reading.new_start is not None, "whoever begins anew begins somewhere"
    new_digits = digits if reading.kind == "reset" else rules.register_digits
    quantity = NOTHING
    parts = [(reading.new_start, reading.value, reading.register_digits or new_digits)]
    if reading.old_end is not None:
        parts.insert(0, (position.read_shown, reading.old_end, digits))
    for first, last, register in parts:
        found = _forward(first, last, register, "regular")
        if found is None and not reading.is_certain:
            return _backwards(first, last, register)
        advanced = EXACT.subtract(last, first) if found is None else found.quantity
        quantity = EXACT.add(quantity, advanced)
    rule: Rule = "exchange" if reading.kind == "exchange" else "reset"
    return _Advance(quantity, rule, is_whole=reading.old_end is not None)


def _forward(first: Decimal, last: Decimal, digits: int | None, kind: Kind) -> _Advance | None:
    """How far it is from one value to another; a drop of more than half the register is a wrap. None: it is no way."""
    if kind != "wrap" and last >= first:
        return _Advance(EXACT.subtract(last, first), "difference")
    if digits is None:
        return None
    size = Decimal(10**digits)
    if kind == "wrap" or 2 * EXACT.subtract(first, last) > size:
        return _Advance(EXACT.add(EXACT.subtract(size, first), last), "wrap")
    return None


def _backwards(first: Decimal, last: Decimal, digits: int | None) -> Implausible:
    known = "how many digits the register has is not known" if digits is None else f"it has {digits} digits"
    return Implausible("backwards", f"the counter fell from {first:f} to {last:f}, which is no wrap: {known}")


def _is_of_another_device(position: Position, reading: Reading) -> Implausible | None:
    if reading.kind == "exchange" or None in (position.device, reading.device):
        return None
    if position.device == reading.device:
        return None
    told = f"the device in place then was {position.device}, and no exchange for {reading.device} is known"
    return Implausible("before_exchange", told)


def _is_too_fast(
    position: Position, reading: Reading, quantity: Decimal, rules: CounterRules
) -> Implausible | None:
    if rules.rate_max is None or quantity <= 0:
        return None
    elapsed_us = (reading.read_at - position.read_at) // MICROSECOND
    if EXACT.multiply(quantity, Decimal(HOUR_US)) <= EXACT.multiply(rules.rate_max, Decimal(elapsed_us)):
        return None
    told = (
        f"{quantity:f} since {position.read_at.isoformat()} is more than {rules.rate_max:f} an hour, "
        "the most that is plausible"
    )
    return Implausible("beyond_rate", told)


def first_implausible(
    position: Position | None, readings: Sequence[Reading], rules: CounterRules
) -> tuple[Reading, Implausible] | None:
    """The first that cannot follow on what is before it, and why."""
    for reading in readings:
        found = step(position, reading, rules)
        if isinstance(found, Implausible):
            return reading, found
        position = found.position
    return None
