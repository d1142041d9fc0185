"""Put right what was read wrongly: another reading takes its place, and what was used follows from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from libs.common.clock import Clock
from libs.common.errors import Conflict, NotFound, RuleViolation
from libs.common.ids import new_id
from services.metering.application.ports import UnitOfWork
from services.metering.application.reading_ports import MeterPoint
from services.metering.application.resolve_reading_exception import refuse_flaws
from services.metering.application.settle_readings import PointChange, counter_rules, settle_readings
from services.metering.domain.reading import Kind, Reading, sent_digest


class MeterReadingNotFound(NotFound):
    code: ClassVar[str] = "meter_reading_not_found"
    title: ClassVar[str] = "There is no such reading"


class MeterReadingReplaced(Conflict):
    code: ClassVar[str] = "meter_reading_gone"
    title: ClassVar[str] = "The reading has been replaced or discarded"


class ReadingImplausible(RuleViolation):
    code: ClassVar[str] = "reading_implausible"
    title: ClassVar[str] = "The counter cannot have shown this"


@dataclass(frozen=True, slots=True)
class CorrectMeterReading:
    """What the counter showed in truth. What is None stays; `is_certain`: however implausible it is."""

    reading_id: str
    value: Decimal
    reason: str
    author: str
    read_at: datetime | None = None
    kind: Kind | None = None
    device: str | None = None
    register_digits: int | None = None
    old_end: Decimal | None = None
    new_start: Decimal | None = None
    is_certain: bool = False


async def get_reading_for_update(reading_id: str, *, uow: UnitOfWork) -> Reading:
    """While the tenant's writers wait. Raises: MeterReadingNotFound."""
    await uow.usage.stop_writers()
    found = (await uow.readings.find({reading_id})).get(reading_id)
    if found is None:
        raise MeterReadingNotFound("no reading has this id", meter_reading_id=reading_id)
    return found


async def correct_meter_reading(command: CorrectMeterReading, *, uow: UnitOfWork, clock: Clock) -> Reading:
    """Replace a reading by a corrected one, whatever it was: accepted, kept aside, or an estimate.

    Emits: MeterReadingHeld for what is kept aside because of it.
    Raises: MeterReadingNotFound, MeterReadingReplaced, InvalidReading, ReadingImplausible, UsageNoLongerKept.
    """
    wrong = await get_reading_for_update(command.reading_id, uow=uow)
    if wrong.state not in ("accepted", "held"):
        raise MeterReadingReplaced(
            f"the reading is {wrong.state}, and counts no more",
            meter_reading_id=wrong.id,
            remedy="Correct the one that took its place, or send another reading.",
        )
    rules = await counter_rules(wrong.meter, uow=uow)
    now = clock.system_now()
    right = _corrected(wrong, command, now)
    refuse_flaws(right, rules)
    gone = replace(wrong, state="replaced", version=wrong.version + 1)
    change = PointChange(
        MeterPoint(wrong.meter, wrong.subject),
        rules,
        came=() if command.is_certain else (right,),
        decided=(right,) if command.is_certain else (),
        gone=(gone,),
    )
    settled = await settle_readings([change], author=command.author, uow=uow, now=now)
    if settled.readings[right.id].state == "held":
        raise ReadingImplausible(
            settled.exceptions[right.id].told,
            pointer="/value",
            remedy="Look at the readings before and after it; say is_certain if it is true all the same.",
        )
    return settled.readings[right.id]


def _corrected(wrong: Reading, command: CorrectMeterReading, now: datetime) -> Reading:
    kind = command.kind or wrong.kind
    begins_anew = kind in ("exchange", "reset")
    old_end = (command.old_end if command.old_end is not None else wrong.old_end) if begins_anew else None
    new_start = command.new_start if command.new_start is not None else wrong.new_start
    read_at = command.read_at or wrong.read_at
    device = command.device or wrong.device
    digits = command.register_digits or wrong.register_digits
    told_start = (new_start if new_start is not None else Decimal(0)) if begins_anew else None
    return Reading(
        id=new_id("rdg", now),
        meter=wrong.meter,
        subject=wrong.subject,
        read_at=read_at,
        value=command.value,
        quality="corrected",
        received_at=now,
        author=command.author,
        digest=sent_digest(
            read_at=read_at,
            value=command.value,
            quality="corrected",
            kind=kind,
            device=device,
            register_digits=digits,
            old_end=old_end,
            new_start=told_start,
        ),
        kind=kind,
        device=device,
        register_digits=digits,
        old_end=old_end,
        new_start=told_start,
        reason=command.reason,
        is_certain=command.is_certain,
        replaces=wrong.id,
    )
