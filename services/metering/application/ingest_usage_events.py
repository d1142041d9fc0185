"""Store usage events, each once for ever, with the running sums that they change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple

from services.metering.application.ports import Arrival, Computed, MeterBook, UnitOfWork
from services.metering.application.reads import Reject, UsageConflict
from services.metering.domain.aggregation import BucketSums
from services.metering.domain.late_usage import ChangedUsage
from services.metering.domain.measurement import Measurement, has_too_many_digits, measure, objections
from services.metering.domain.meter import Meter
from services.metering.domain.usage_event import (
    EPOCH,
    MICROSECOND,
    AcceptWindow,
    MalformedEvent,
    Reason,
    UsageEvent,
    conflict_id,
    digest_of_payload,
    month_of,
    reject_id,
)

# `accepted`: it will be one of the others, and whoever sent it can read which.
Status = Literal["accepted", "stored", "duplicate", "conflict", "rejected"]

RAW_EVENTS_GONE = "raw_events_gone"
DAY_US = 86_400_000_000
SLICE_LENGTH = 500  # events looked at before others get a turn: a few milliseconds


@dataclass(frozen=True, slots=True)
class EventResult:
    status: Status
    reasons: tuple[Reason, ...] = ()


STORED, DUPLICATE, CONFLICT = EventResult("stored"), EventResult("duplicate"), EventResult("conflict")


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """The events of one request, in order, and who sent them. It may be left to whoever stores it to give it an id."""

    id: str
    actor: str
    arrived_at: datetime
    events: Sequence[UsageEvent | MalformedEvent]


@dataclass(frozen=True, slots=True)
class IngestUsageEvents:
    """Several requests of one tenant; of two that bring the same event, the first stores it."""

    batches: Sequence[UsageBatch]


def one_batch_a_caller(batches: Sequence[UsageBatch], new_id: Callable[[], str]) -> list[UsageBatch]:
    """The same events, those of one caller under one batch id: what is stored together is one change of his."""
    ids: dict[str, str] = {}
    found: list[UsageBatch] = []
    for batch in batches:
        id = ids.get(batch.actor) or ids.setdefault(batch.actor, batch.id or new_id())
        same = id == batch.id
        found.append(batch if same else UsageBatch(id, batch.actor, batch.arrived_at, batch.events))
    return found


def months_needed(batches: Iterable[UsageBatch], accept: AcceptWindow) -> set[date]:
    """The months of the events that may be stored; what lies too far ahead needs none."""
    days: set[int] = set()
    for batch in batches:
        _, last = accept.bounds(batch.arrived_at)
        last_us = (last - EPOCH) // MICROSECOND
        days.update(
            [
                event.occurred_us // DAY_US
                for event in batch.events
                if isinstance(event, UsageEvent) and event.occurred_us <= last_us
            ]
        )
    return {month_of(EPOCH + timedelta(days=day)) for day in days}


class _Admitted(NamedTuple):
    """The first bearer of an identity: where its result goes, and what the meters made of it."""

    batch: int
    place: int
    arrival: Arrival
    measured: list[tuple[Meter, Measurement]]


async def ingest_usage_events(
    command: IngestUsageEvents, *, uow: UnitOfWork, accept: AcceptWindow
) -> list[list[EventResult]]:
    """Store what is new; a result for each event of each batch, in order.

    A refused event leaves its identity free. Whoever repeats the whole finds duplicates and changes nothing.
    Usage of a window that is no longer open is noted for a recount, in the same transaction.
    """
    book = await uow.usage.share()
    results: list[list[EventResult]] = [[STORED] * len(batch.events) for batch in command.batches]
    sums = BucketSums()
    firsts: dict[bytes, _Admitted] = {}
    repeats: list[tuple[int, int, Arrival]] = []
    rejects: dict[str, Reject] = {}
    looked_at = 0
    for number, batch in enumerate(command.batches):
        id, arrived_at = batch.id, batch.arrived_at
        earliest, latest = accept.bounds(arrived_at)
        for place, event in enumerate(batch.events):
            looked_at += 1
            if not looked_at % SLICE_LENGTH:
                await asyncio.sleep(0)
            measured: list[tuple[Meter, Measurement]] | None = None
            if isinstance(event, UsageEvent):
                occurred_at = event.occurred_at
                if occurred_at <= latest and (earliest is None or occurred_at >= earliest):
                    measured = _measured(event, book)
            if measured is None:
                measured = []
                reasons = look_at(event, book, accept, arrived_at, measured)
                if reasons or isinstance(event, MalformedEvent):
                    results[number][place] = EventResult("rejected", tuple(reasons))
                    reject = _reject(event, uow.tenant, tuple(reasons), arrived_at)
                    rejects[reject.id] = reject
                    continue
            key = event.identify()  # type: ignore[union-attr]  # a malformed one has its reasons
            arrival = Arrival(event, id, arrived_at)  # type: ignore[arg-type]
            if key in firsts:
                results[number][place] = DUPLICATE
                repeats.append((number, place, arrival))
            else:
                firsts[key] = _Admitted(number, place, arrival, measured)
                for meter, taken in measured:
                    sums.add(meter, arrival.event.subject, arrival.event.occurred_us, taken, key)
    conflicts = await _store(uow, book, firsts, sums, repeats, results, rejects)
    await uow.usage.keep_rejects(sorted(rejects.values(), key=lambda reject: reject.id))
    await uow.usage.keep_conflicts(sorted(conflicts, key=lambda conflict: conflict.id))
    changed: dict[str, str] = {}
    for number, batch in enumerate(command.batches):
        if any(result is not DUPLICATE for result in results[number]):
            changed[batch.id] = batch.actor
    for id, actor in changed.items():
        uow.actor = actor
        uow.record("usage.ingested", id)
    return results


def _measured(event: UsageEvent, book: MeterBook) -> list[tuple[Meter, Measurement]] | None:
    """What the meters make of an event of a time that is accepted; None where one of them may object."""
    found: list[tuple[Meter, Measurement]] = []
    for meter in book.by_type.get(event.type, ()):
        if meter.is_plain or _reads(meter, event.occurred_at):
            measured = measure(meter, event.data)
            if measured is None or meter.dimensions or has_too_many_digits(measured.value):
                return None
            found.append((meter, measured))
    return found


def look_at(
    event: UsageEvent | MalformedEvent,
    book: MeterBook,
    accept: AcceptWindow,
    now: datetime,
    measured: list[tuple[Meter, Measurement]],
) -> Sequence[Reason]:
    """All that is wrong with the event; when nothing is, `measured` holds what the meters make of it."""
    reasons: list[Reason] = []
    readable = True
    if isinstance(event, MalformedEvent):
        reasons += event.reasons
        readable = event.data_readable
    else:
        reasons += accept.refusals(event.occurred_at, now)
    occurred_at = None if isinstance(event, MalformedEvent) else event.occurred_at
    for meter in book.by_type.get(event.type or "", ()) if readable else ():
        if not _reads(meter, occurred_at):
            continue
        found = measure(meter, event.data)
        if found is None or meter.dimensions or has_too_many_digits(found.value):
            reasons += [told for told in objections(meter, event.data) if told not in reasons]
        if found is not None:
            measured.append((meter, found))
    return reasons


def _reads(meter: Meter, occurred_at: datetime | None) -> bool:
    """Whether this version is the one for what happened then; the newest is for what has no time that could be read."""
    return meter.valid_until is None if occurred_at is None else meter.holds_at(occurred_at)


async def _store(
    uow: UnitOfWork,
    book: MeterBook,
    firsts: dict[bytes, _Admitted],
    sums: BucketSums,
    repeats: list[tuple[int, int, Arrival]],
    results: list[list[EventResult]],
    rejects: dict[str, Reject],
) -> list[UsageConflict]:
    """Fill in the results of all admitted events that are not new; returns those whose identity is another payload's.

    `sums` is what the first bearers come to: mostly all of them are new, and nothing has to be gone over again.
    """
    if await _refuse_what_is_gone(uow, book, firsts, repeats, results, rejects):
        sums = _sums_of(firsts)
    if not firsts:
        return []
    stored = await uow.usage.store([first.arrival for first in firsts.values()])
    conflicts: list[UsageConflict] = []
    for key, digest in stored.known.items():
        batch, place, arrival, _ = firsts.pop(key)
        results[batch][place] = DUPLICATE
        if digest != arrival.event.digest:
            results[batch][place] = CONFLICT
            conflicts.append(_conflict(uow.tenant, arrival, digest))
    if stored.known:
        sums = _sums_of(firsts)
    for number, place, arrival in repeats:
        key = arrival.event.key
        digest = stored.known.get(key) or firsts[key].arrival.event.digest
        if digest != arrival.event.digest:
            results[number][place] = CONFLICT
            conflicts.append(_conflict(uow.tenant, arrival, digest))
    if any(meter.is_computed for meter in sums.meters()):
        await uow.usage.keep_measurements(
            [
                Computed(meter.id, key, first.arrival.event.occurred_at, measured)
                for key, first in firsts.items()
                for meter, measured in first.measured
                if meter.is_computed
            ]
        )
    if sums:
        await uow.usage.add_sums(sums)
        uow.balances.note_usage(sums)
    settled_until = book.settled_until
    if settled_until is not None:
        uow.late.note_events("late", _late(firsts.values(), before=settled_until))
    return list({conflict.id: conflict for conflict in conflicts}.values())


def _sums_of(firsts: Mapping[bytes, _Admitted]) -> BucketSums:
    sums = BucketSums()
    for key, first in firsts.items():
        event = first.arrival.event
        for meter, measured in first.measured:
            sums.add(meter, event.subject, event.occurred_us, measured, key)
    return sums


def kept_refusals(occurred_at: datetime, book: MeterBook) -> Sequence[Reason]:
    """Why nothing new of that time is taken in; nothing when it is."""
    return [_gone(book.kept_from)] if book.kept_from is not None and occurred_at < book.kept_from else []


def _gone(kept_from: datetime) -> Reason:
    told = f"lies before {kept_from.isoformat()}, from when on raw events are kept"
    return Reason(RAW_EVENTS_GONE, "/time", told)


async def _refuse_what_is_gone(
    uow: UnitOfWork,
    book: MeterBook,
    firsts: dict[bytes, _Admitted],
    repeats: list[tuple[int, int, Arrival]],
    results: list[list[EventResult]],
    rejects: dict[str, Reject],
) -> bool:
    """Where raw events are no longer kept, sums cannot be put right any more: nothing new is taken in.

    What is known is not new: it goes on, to be told a duplicate, or a conflict. Whether anything was refused.
    """
    kept_from = book.kept_from
    if kept_from is None:
        return False
    older = {key: first for key, first in firsts.items() if first.arrival.event.occurred_at < kept_from}
    if not older:
        return False
    gone = older.keys() - set(await uow.usage.find_known(sorted(older)))
    refused = EventResult("rejected", (_gone(kept_from),))
    bearers = [(first.batch, first.place, first.arrival) for key, first in older.items() if key in gone]
    bearers += [repeat for repeat in repeats if repeat[2].event.key in gone]
    for number, place, arrival in bearers:
        results[number][place] = refused
        reject = _reject(arrival.event, uow.tenant, refused.reasons, arrival.arrived_at)
        rejects[reject.id] = reject
    repeats[:] = [repeat for repeat in repeats if repeat[2].event.key not in gone]
    for key in gone:
        del firsts[key]
    return bool(gone)


def _late(stored: Iterable[_Admitted], *, before: datetime) -> list[ChangedUsage]:
    """What was stored and may count in a window that is no longer open."""
    return [
        ChangedUsage(meter.code, event.subject, event.occurred_at, event.key)
        for _, _, (event, _, _), measured in stored
        if event.occurred_at < before
        for meter, _ in measured
    ]


def _reject(
    event: UsageEvent | MalformedEvent, tenant: str, reasons: tuple[Reason, ...], seen_at: datetime
) -> Reject:
    digest: str | None = None
    if isinstance(event, MalformedEvent):
        payload, digest = event.payload, event.payload_digest
    else:
        payload = event.payload()
    return Reject(
        id=reject_id(tenant, digest or digest_of_payload(payload)),
        event_id=event.event_id,
        source=event.source,
        type=event.type,
        subject=event.subject,
        payload=payload,
        reasons=reasons,
        seen_at=seen_at,
    )


def _conflict(tenant: str, arrival: Arrival, first_digest: bytes) -> UsageConflict:
    event = arrival.event
    return UsageConflict(
        id=conflict_id(tenant, event.key, event.digest),
        key=event.key,
        first_digest=first_digest,
        other_digest=event.digest,
        event_id=event.event_id,
        source=event.source,
        payload=event.payload(),
        seen_at=arrival.arrived_at,
    )
