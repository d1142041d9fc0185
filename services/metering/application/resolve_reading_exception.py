"""A person says what an implausible reading means, or that it means nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import ClassVar

from libs.common.clock import Clock
from libs.common.errors import Conflict, InputError, NotFound
from services.metering.application.estimate_readings import cut_at_ends
from services.metering.application.ports import UnitOfWork
from services.metering.application.reading_ports import MeterPoint
from services.metering.application.settle_readings import PointChange, counter_rules, settle_readings
from services.metering.domain.counter import CounterRules
from services.metering.domain.reading import InvalidReading, Kind, Reading, as_decided, flaws
from services.metering.domain.reading_exception import Decision, ReadingException, resolved

KIND_OF: dict[Decision, Kind | None] = {
    "accept": None,
    "wrap": "wrap",
    "exchange": "exchange",
    "reset": "reset",
}


class ReadingExceptionNotFound(NotFound):
    code: ClassVar[str] = "reading_exception_not_found"
    title: ClassVar[str] = "There is no such exception of readings"


class ReadingExceptionResolved(Conflict):
    code: ClassVar[str] = "reading_exception_resolved"
    title: ClassVar[str] = "The exception has been resolved"


class NothingToDecide(Conflict):
    code: ClassVar[str] = "reading_still_needed"
    title: ClassVar[str] = "A reading is needed, and there is none to decide on"


@dataclass(frozen=True, slots=True)
class ResolveReadingException:
    """`old_end`, `new_start`, `device` and `register_digits` explain a wrap, an exchange or a reset."""

    exception_id: str
    decision: Decision
    reason: str
    author: str
    old_end: Decimal | None = None
    new_start: Decimal | None = None
    device: str | None = None
    register_digits: int | None = None


async def find_exception_for_update(exception_id: str, *, uow: UnitOfWork) -> ReadingException:
    """While the tenant's writers wait. Raises: ReadingExceptionNotFound."""
    await uow.usage.stop_writers()
    found = (await uow.readings.find_exceptions_for_update({exception_id})).get(exception_id)
    if found is None:
        raise ReadingExceptionNotFound("no exception has this id", reading_exception_id=exception_id)
    return found


async def resolve_reading_exception(
    command: ResolveReadingException, *, uow: UnitOfWork, clock: Clock
) -> ReadingException:
    """Take the reading as it was explained, or discard it; what contradicts a decision is kept aside in its turn.

    Of an exception that misses a reading, nothing but to discard it is left: it goes by itself once one is taken.
    Emits: MeterReadingHeld for what is kept aside from now on.
    Raises: ReadingExceptionNotFound, ReadingExceptionResolved, NothingToDecide, InvalidReading, UsageNoLongerKept.
    """
    exception = await find_exception_for_update(command.exception_id, uow=uow)
    if exception.state != "open":
        raise ReadingExceptionResolved(
            "somebody has decided, or another reading has",
            reading_exception_id=exception.id,
            remedy="Look at the reading: what is wrong with it now is put right by a correction.",
        )
    if exception.reading_id is None and command.decision != "discard":
        raise NothingToDecide(
            "nobody has read this counter", remedy="Send a reading, or discard the exception."
        )
    now = clock.system_now()
    closed = resolved(exception, command.decision, reason=command.reason, author=command.author, now=now)
    await uow.readings.save_exceptions([closed])
    uow.record("reading_exception.resolved", closed.id, closed.version)
    if exception.reading_id is None:
        return closed
    reading = (await uow.readings.find({exception.reading_id}))[exception.reading_id]
    rules = await counter_rules(reading.meter, uow=uow)
    await settle_readings([_change(command, reading, rules)], author=command.author, uow=uow, now=now)
    if command.decision != "discard":
        point = MeterPoint(reading.meter, reading.subject)
        await cut_at_ends({(point, reading.read_at)}, uow=uow, now=now)
    return closed


def _change(command: ResolveReadingException, reading: Reading, rules: CounterRules) -> PointChange:
    point = MeterPoint(reading.meter, reading.subject)
    if command.decision == "discard":
        gone = replace(reading, state="discarded", reason=command.reason, version=reading.version + 1)
        return PointChange(point, rules, gone=(gone,))
    decided = as_decided(
        reading,
        kind=KIND_OF[command.decision],
        reason=command.reason,
        old_end=command.old_end,
        new_start=command.new_start,
        device=command.device,
        register_digits=command.register_digits,
    )
    refuse_flaws(decided, rules)
    return PointChange(point, rules, decided=(replace(decided, version=reading.version + 1),))


def refuse_flaws(reading: Reading, rules: CounterRules) -> None:
    """Raises: InvalidReading, with all that is wrong."""
    found = flaws(reading, rules)
    if found:
        raise InvalidReading(
            found[0].detail,
            pointer=found[0].pointer,
            errors=[InputError(pointer=reason.pointer, detail=reason.detail) for reason in found],
        )
