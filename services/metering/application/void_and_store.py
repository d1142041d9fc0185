"""Take raw events back and store others in one step: whoever corrects usage goes through here.

The tenant's writers wait meanwhile. Buckets of what is taken back and of what is stored are made again from the events
that count, so that it does not matter whether a sum could be taken back at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from services.metering.application.note_touched import note_touched
from services.metering.application.ports import Arrival, Computed, MeterBook, Stored, UnitOfWork
from services.metering.domain.aggregation import BucketSums
from services.metering.domain.late_usage import ChangedUsage, UsageChangeCause
from services.metering.domain.measurement import Measurement, measure
from services.metering.domain.meter import Meter
from services.metering.domain.usage_correction import StandingEvent, UsageCorrection, void
from services.metering.domain.usage_event import Reason, event_key
from services.metering.domain.usage_retention import raw_events_gone

CorrectionStatus = Literal["voided", "amended", "unchanged", "not_found", "rejected"]


class Void(NamedTuple):
    """An event that is to count no more, why, and who says so."""

    source: str
    event_id: str
    reason: str
    author: str


@dataclass(frozen=True, slots=True)
class CorrectionResult:
    """What became of one entry. An `unchanged` one names the correction that made it so before, if any did."""

    status: CorrectionStatus
    correction_id: str | None = None
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class VoidedAndStored:
    """A result for each void, in order, and what was stored of the arrivals."""

    voids: tuple[CorrectionResult, ...]
    stored: Stored


def not_found(pointer: str) -> CorrectionResult:
    told = "no event of this source and id is stored; one that was accepted is, once its batch is complete"
    return CorrectionResult("not_found", reasons=(Reason("event_not_found", pointer, told),))


def dropped(pointer: str) -> CorrectionResult:
    told = "the event is older than events are kept: what it was counted as stays"
    return CorrectionResult("rejected", reasons=(Reason("event_dropped", pointer, told),))


class Measured(Protocol):
    """A stored event, or one that is about to be."""

    @property
    def type(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def occurred_us(self) -> int: ...
    @property
    def data(self) -> object: ...


Touched = tuple[UsageChangeCause, bytes, Measured]


@dataclass(slots=True)
class Changes:
    """What is to be written, gathered entry by entry.

    `touched` has every event that counts no more, or begins to in the place of another, with the key of its identity.
    """

    corrections: list[UsageCorrection] = field(default_factory=list)
    arrivals: dict[bytes, Arrival] = field(default_factory=dict)
    touched: list[Touched] = field(default_factory=list)


async def void_and_store(
    voids: Sequence[Void], arrivals: Sequence[Arrival], *, uow: UnitOfWork, now: datetime
) -> VoidedAndStored:
    """Void events by source and id, and store others under identities of their own.

    What is stored is measured by all meters of its type, and none objects. Of an arrival whose identity is known, the
    first one stays, as `stored` tells. The months of the arrivals must be there. A repeat changes nothing.
    """
    await uow.usage.stop_writers()
    book = await uow.usage.share()
    changes = Changes(arrivals={arrival.event.key: arrival for arrival in arrivals})
    identities = [event_key(uow.tenant, entry.source, entry.event_id) for entry in voids]
    standing = dict(await uow.corrections.find_standing(sorted(set(identities))))
    results = [
        void_one(entry, identity, standing, changes, now)
        for entry, identity in zip(voids, identities, strict=True)
    ]
    stored = await carry_out(changes, book, uow=uow)
    return VoidedAndStored(tuple(results), stored)


def void_one(
    entry: Void, identity: bytes, standing: dict[bytes, StandingEvent], changes: Changes, now: datetime
) -> CorrectionResult:
    """Decide one void, as all entries before it have left the event."""
    found = standing.get(identity)
    if found is None:
        return not_found("/id")
    if not found.is_counted:
        return CorrectionResult("unchanged", found.correction_id)
    if found.raw is None:
        return dropped("/id")
    correction = void(
        found,
        source=entry.source,
        event_id=entry.event_id,
        reason=entry.reason,
        author=entry.author,
        now=now,
    )
    changes.corrections.append(correction)
    changes.touched.append(("voided", identity, found.raw))
    standing[identity] = found.voided()
    return CorrectionResult("voided", correction.id)


def _placed(changes: Changes) -> Iterator[Measured]:
    yield from (arrival.event for arrival in changes.arrivals.values())
    yield from (event for _, _, event in changes.touched)


async def carry_out(changes: Changes, book: MeterBook, *, uow: UnitOfWork) -> Stored:
    """Write it all. The tenant's writers have been stopped, and `book` was read after that.

    Raises: RawEventsGone, where a bucket would have to be made again of events that are no longer kept.
    """
    kept_from = book.kept_from
    if kept_from is not None and any(event.occurred_at < kept_from for event in _placed(changes)):
        raise raw_events_gone(kept_from)
    arrivals = [changes.arrivals[key] for key in sorted(changes.arrivals)]
    stored = await uow.usage.store(arrivals) if arrivals else Stored(frozenset(), {})
    await uow.corrections.keep(changes.corrections)
    amended = {found.replacement.key for found in changes.corrections if found.replacement is not None}
    assert amended <= stored.fresh, "nobody else has the key of a revision"
    for arrival in arrivals:
        if arrival.event.key in stored.fresh - amended:
            changes.touched.append(("late", arrival.event.key, arrival.event))
    await uow.usage.keep_measurements(
        [
            Computed(meter.id, arrival.event.key, arrival.event.occurred_at, measured)
            for arrival in arrivals
            if arrival.event.key in stored.fresh
            for meter, measured in _measured(arrival.event, book)
            if meter.is_computed
        ]
    )
    sums = BucketSums()
    for cause, identity, event in changes.touched:
        taken = _measured(event, book)
        for meter, measured in taken:
            sums.add(meter, event.subject, event.occurred_us, measured)
        changed = [ChangedUsage(meter.code, event.subject, event.occurred_at, identity) for meter, _ in taken]
        uow.late.note_events(cause, changed)
    if sums:
        await uow.usage.rebuild(sums.touched())
        await note_touched(sums.subjects(), uow=uow)
    for correction in changes.corrections:
        uow.record("usage.voided" if correction.kind == "void" else "usage.amended", correction.id)
    return stored


def _measured(event: Measured, book: MeterBook) -> list[tuple[Meter, Measurement]]:
    """What each meter that reads what happened then takes of the event."""
    return [
        (meter, measured)
        for meter in book.by_type.get(event.type, ())
        if meter.holds_at(event.occurred_at) and (measured := measure(meter, event.data)) is not None
    ]
