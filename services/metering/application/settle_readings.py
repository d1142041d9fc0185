"""What becomes of readings once something about them changes: taken or kept aside, and the usage that is made of them.

All ways lead through here: readings that arrive, what a person decides, corrections and estimates.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from libs.common.errors import Conflict
from libs.common.ids import new_id, new_uuid7
from services.metering.application import events
from services.metering.application.ports import Arrival, UnitOfWork
from services.metering.application.reading_ports import KnownReadings, MadeConsumption, MeterPoint, Stretch
from services.metering.application.void_and_store import Void, void_and_store
from services.metering.domain.consumption import Consumption, Implausible
from services.metering.domain.counter import READING_SOURCE, CounterRules, reading_event_type
from services.metering.domain.exactly import stripped
from services.metering.domain.plausibility import Settled, settle
from services.metering.domain.reading import Reading, State
from services.metering.domain.reading_exception import ReadingException, Resolution, resolved
from services.metering.domain.usage_event import UsageEvent

VOIDED_BECAUSE = "another reading says otherwise"


class UsageNoLongerKept(Conflict):
    code: ClassVar[str] = "usage_no_longer_kept"
    title: ClassVar[str] = "The usage of that time is no longer kept"


@dataclass(frozen=True, slots=True)
class PointChange:
    """What changes of one point. `came` are new and may be kept aside; `decided` are taken, whatever they show.

    `gone` were discarded, or replaced by what was decided.
    """

    point: MeterPoint
    rules: CounterRules
    came: tuple[Reading, ...] = ()
    decided: tuple[Reading, ...] = ()
    gone: tuple[Reading, ...] = ()

    @property
    def stretch(self) -> Stretch:
        instants = [reading.read_at for reading in (*self.came, *self.decided, *self.gone)]
        return Stretch(self.point, min(instants), max(instants))


@dataclass(frozen=True, slots=True)
class SettledReadings:
    """The changed readings by id, as they are now, and the open exceptions by reading."""

    readings: Mapping[str, Reading]
    exceptions: Mapping[str, ReadingException]


async def counter_rules(code: str, *, uow: UnitOfWork) -> CounterRules:
    """Those of a meter of which readings have been taken, as they are now."""
    meter = await uow.meters.find_by_code(code)
    assert meter is not None, "a meter is never taken away"
    assert meter.counter is not None, "readings are taken on counters only"
    return meter.counter


async def settle_readings(
    changes: Sequence[PointChange], *, author: str, uow: UnitOfWork, now: datetime
) -> SettledReadings:
    """Keep the readings, and make the usage events of what was used between them; those that no longer hold are voided.

    One change for each point. Writers have been stopped. What is kept aside is looked at again, and may turn out to be
    plausible; what was taken before is kept aside only if a decision contradicts it.
    Emits: MeterReadingHeld for each reading that is kept aside from now on. Raises: UsageNoLongerKept.
    """
    known = await uow.readings.load([change.stretch for change in changes])
    books = [_settle_point(change, known[change.point], now) for change in changes]
    new_ids = {reading.id for change in changes for reading in change.came}
    touched = {reading.id: reading for book in books for reading in book.touched}
    await uow.readings.insert([touched[id] for id in sorted(touched) if touched[id].version == 1])
    await uow.readings.update([touched[id] for id in sorted(touched) if touched[id].version > 1])
    exceptions = await _tell_exceptions(books, touched, author=author, uow=uow, now=now)
    await _make_usage(books, author=author, uow=uow, now=now)
    for id in sorted(touched):
        uow.record(f"meter_reading.{'taken' if id in new_ids else 'changed'}", id, touched[id].version)
    return SettledReadings(touched, exceptions)


@dataclass(frozen=True, slots=True)
class _Book:
    """One point: the readings that are written, why some are kept aside, and whose usage is to be made again."""

    point: MeterPoint
    touched: tuple[Reading, ...]
    held: Mapping[str, Implausible]
    held_before: Collection[str]
    consumptions: tuple[Consumption, ...]
    looked_at: frozenset[str]


def _settle_point(change: PointChange, known: KnownReadings, now: datetime) -> _Book:
    changed = {reading.id for reading in (*change.came, *change.decided, *change.gone)}
    taken = [reading for reading in known.taken if reading.id not in changed]
    held = [reading for reading in known.held if reading.id not in changed]
    settled = settle(known.start, [*taken, *change.decided], [*held, *change.came], change.rules)
    return _Book(
        point=change.point,
        touched=tuple(_touched(change, settled, taken=taken, held=held)),
        held=settled.held,
        held_before={reading.id for reading in known.held},
        consumptions=settled.consumptions,
        looked_at=frozenset(changed | {reading.id for reading in (*known.taken, *known.held)}),
    )


def _touched(
    change: PointChange, settled: Settled, *, taken: Sequence[Reading], held: Sequence[Reading]
) -> list[Reading]:
    """Everything whose row is new or differs from what it was."""

    def now(reading: Reading) -> State:
        if reading.id in settled.held:
            return "held"
        return "replaced" if reading.id in settled.superseded else "accepted"

    found = [*change.gone, *change.decided]
    found += [replace(reading, state=now(reading)) for reading in change.came]
    found += [
        replace(reading, state=now(reading), version=reading.version + 1)
        for reading in (*taken, *held)
        if now(reading) != reading.state
    ]
    return found


async def _tell_exceptions(
    books: Sequence[_Book],
    touched: Mapping[str, Reading],
    *,
    author: str,
    uow: UnitOfWork,
    now: datetime,
) -> Mapping[str, ReadingException]:
    """Open one for each reading that is kept aside from now on, and resolve what is settled by itself."""
    opened = {
        id: ReadingException(
            id=new_id("rex", now),
            kind=why.kind,
            meter=book.point.meter,
            subject=book.point.subject,
            reading_id=id,
            needed_at=None,
            told=why.told,
            opened_at=now,
        )
        for book in books
        for id, why in book.held.items()
        if id not in book.held_before
    }
    settled = {id for id, reading in touched.items() if reading.state != "held"}
    read: dict[MeterPoint, datetime] = {}
    for reading in touched.values():
        if reading.state == "accepted" and not reading.is_estimate:
            point = MeterPoint(reading.meter, reading.subject)
            read[point] = max(reading.read_at, read.get(point, reading.read_at))
    closing = await uow.readings.open_exceptions(reading_ids=settled, read=read)
    await uow.readings.save_exceptions(
        [
            resolved(exception, _by_itself(exception, touched), reason=None, author=author, now=now)
            for exception in closing
        ]
    )
    await add_exceptions(list(opened.values()), uow=uow)
    return opened


def _by_itself(exception: ReadingException, touched: Mapping[str, Reading]) -> Resolution:
    if exception.reading_id is None:
        return "read"
    return "replaced" if touched[exception.reading_id].state == "replaced" else "plausible"


async def add_exceptions(exceptions: Sequence[ReadingException], *, uow: UnitOfWork) -> None:
    """Keep them and say so, each once. Emits: MeterReadingHeld."""
    if not exceptions:
        return
    added = await uow.readings.add_exceptions(exceptions)
    for exception in exceptions:
        if exception.id in added:
            uow.outbox.append(events.for_exception(exception, tenant=uow.tenant), key=exception.id)
            uow.record("reading_exception.opened", exception.id)


async def _make_usage(books: Sequence[_Book], *, author: str, uow: UnitOfWork, now: datetime) -> None:
    """Void the events of what is no longer so, and store those of what is so now, under ids that were never used."""
    looked_at = {id for book in books for id in book.looked_at}
    made = await uow.readings.made_of(looked_at)
    times_made = Counter(one.consumption.reading_id for one in made)
    counted = {one.consumption.reading_id: one for one in made if one.is_counted}
    new: list[MadeConsumption] = []
    for book in books:
        for consumption in book.consumptions:
            before = counted.get(consumption.reading_id)
            if before is not None and before.consumption == consumption:
                del counted[consumption.reading_id]
                continue
            event_id = f"{consumption.reading_id}/{times_made[consumption.reading_id] + 1}"
            new.append(MadeConsumption(event_id, *book.point, consumption, now))
    obsolete = sorted(one.event_id for one in counted.values())
    if not (new or obsolete):
        return
    await uow.readings.ensure_months(one.consumption.counts_at for one in new)
    batch_id = str(new_uuid7(now))
    told = await void_and_store(
        [Void(READING_SOURCE, event_id, VOIDED_BECAUSE, author) for event_id in obsolete],
        [Arrival(_event(one, tenant=uow.tenant, now=now), batch_id, now) for one in new],
        uow=uow,
        now=now,
    )
    if any(result.status == "rejected" for result in told.voids):
        raise UsageNoLongerKept(
            "what was used then cannot be put right any more, since its events are no longer kept",
            remedy="Correct a later reading, or bill the difference by hand.",
        )
    await uow.readings.void_made(obsolete, now=now)
    await uow.readings.keep_made(new)


def _event(made: MadeConsumption, *, tenant: str, now: datetime) -> UsageEvent:
    """As the meter reads it: the quantity as text, which keeps all its digits."""
    consumption = made.consumption
    data: dict[str, object] = {
        "quantity": _plain(consumption.quantity),
        "from": _instant(consumption.start),
        "to": _instant(consumption.end),
        "rule": consumption.rule,
        "estimated": consumption.is_estimated,
        "reading_id": consumption.reading_id,
    }
    if consumption.true_up is not None:
        true_up = consumption.true_up
        data["true_up"] = {
            "from": _instant(true_up.start),
            "to": _instant(true_up.end),
            "actual_quantity": _plain(true_up.actual_quantity),
            "estimated_quantity": _plain(true_up.estimated_quantity),
        }
    return UsageEvent(
        tenant=tenant,
        source=READING_SOURCE,
        event_id=made.event_id,
        type=reading_event_type(made.meter),
        subject=made.subject,
        time=consumption.counts_at,
        arrived_at=now,
        data=data,
        data_json=json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(),
    )


def _plain(quantity: Decimal) -> str:
    return format(stripped(quantity), "f")


def _instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
