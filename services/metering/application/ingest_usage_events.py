"""Store usage events, each once for ever, with the running sums that they change."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from services.metering.application.ports import Arrival, MeterBook, UnitOfWork
from services.metering.application.reads import Reject, UsageConflict
from services.metering.domain.aggregation import BucketSums
from services.metering.domain.measurement import Measurement, measure, objections
from services.metering.domain.meter import Meter
from services.metering.domain.usage_event import (
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

SLICE_LENGTH = 500  # events looked at before others get a turn: a few milliseconds


@dataclass(frozen=True, slots=True)
class EventResult:
    status: Status
    reasons: tuple[Reason, ...] = ()


STORED, DUPLICATE, CONFLICT = EventResult("stored"), EventResult("duplicate"), EventResult("conflict")


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """The events of one request, in order, and who sent them."""

    id: str
    actor: str
    arrived_at: datetime
    events: Sequence[UsageEvent | MalformedEvent]


@dataclass(frozen=True, slots=True)
class IngestUsageEvents:
    """Several requests of one tenant; of two that bring the same event, the first stores it."""

    batches: Sequence[UsageBatch]


def one_batch_a_caller(batches: Sequence[UsageBatch]) -> list[UsageBatch]:
    """The same events, those of one caller under one batch id: what is stored together is one change of his."""
    ids: dict[str, str] = {}
    found: list[UsageBatch] = []
    for batch in batches:
        id = ids.setdefault(batch.actor, batch.id)
        same = id == batch.id
        found.append(batch if same else UsageBatch(id, batch.actor, batch.arrived_at, batch.events))
    return found


def months_needed(batches: Iterable[UsageBatch], accept: AcceptWindow) -> set[date]:
    """The months of the events that may be stored; what lies too far ahead needs none."""
    found: set[date] = set()
    for batch in batches:
        _, last = accept.bounds(batch.arrived_at)
        found.update(
            [
                month_of(event.occurred_at)
                for event in batch.events
                if isinstance(event, UsageEvent) and event.occurred_at <= last
            ]
        )
    return found


@dataclass(slots=True)
class _Admitted:
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
    results: list[list[EventResult]] = [[DUPLICATE] * len(batch.events) for batch in command.batches]
    firsts: dict[bytes, _Admitted] = {}
    repeats: list[tuple[int, int, Arrival]] = []
    rejects: dict[str, Reject] = {}
    looked_at = 0
    for number, batch in enumerate(command.batches):
        for place, event in enumerate(batch.events):
            looked_at += 1
            if not looked_at % SLICE_LENGTH:
                await asyncio.sleep(0)
            measured: list[tuple[Meter, Measurement]] = []
            reasons = _look_at(event, book, accept, batch.arrived_at, measured)
            if reasons or isinstance(event, MalformedEvent):
                results[number][place] = EventResult("rejected", tuple(reasons))
                reject = _reject(event, uow.tenant, tuple(reasons), batch.arrived_at)
                rejects[reject.id] = reject
                continue
            arrival = Arrival(event, batch.id, batch.arrived_at)
            if event.key in firsts:
                repeats.append((number, place, arrival))
            else:
                firsts[event.key] = _Admitted(number, place, arrival, measured)
    conflicts = await _store(uow, book, firsts, repeats, results)
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


def _look_at(
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
    for meter in book.by_type.get(event.type or "", ()) if readable else ():
        found = measure(meter, event.data)
        if found is None or meter.dimensions:
            reasons += [told for told in objections(meter, event.data) if told not in reasons]
        if found is not None:
            measured.append((meter, found))
    return reasons


async def _store(
    uow: UnitOfWork,
    book: MeterBook,
    firsts: dict[bytes, _Admitted],
    repeats: Sequence[tuple[int, int, Arrival]],
    results: list[list[EventResult]],
) -> list[UsageConflict]:
    """Fill in the results of all admitted events; returns those whose identity is another payload's."""
    if not firsts:
        return []
    stored = await uow.usage.store([firsts[key].arrival for key in sorted(firsts)])
    conflicts: list[UsageConflict] = []
    sums = BucketSums()
    earliest: datetime | None = None
    for count, (key, first) in enumerate(firsts.items()):
        if not count % SLICE_LENGTH:
            await asyncio.sleep(0)
        event = first.arrival.event
        if key not in stored.fresh:
            if stored.known[key] != event.digest:
                results[first.batch][first.place] = CONFLICT
                conflicts.append(_conflict(uow.tenant, first.arrival, stored.known[key]))
            continue
        results[first.batch][first.place] = STORED
        for meter, measured in first.measured:
            sums.add(meter, event.subject, event.occurred_us, measured)
            if earliest is None or event.occurred_at < earliest:
                earliest = event.occurred_at
    for number, place, arrival in repeats:
        key = arrival.event.key
        digest = stored.known.get(key) or firsts[key].arrival.event.digest
        if digest != arrival.event.digest:
            results[number][place] = CONFLICT
            conflicts.append(_conflict(uow.tenant, arrival, digest))
    if sums:
        await uow.usage.add_sums(sums)
        uow.balances.note_usage(sums)
    if book.last_closed_end is not None and earliest is not None and earliest < book.last_closed_end:
        uow.late.note_usage(sums.touched())
    return list({conflict.id: conflict for conflict in conflicts}.values())


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
