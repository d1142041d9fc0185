"""Put right what was sent wrongly: another payload counts in the place of an event's, wherever and whenever that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.metering.application.ingest_usage_events import kept_refusals, look_at
from services.metering.application.ports import Arrival, MeterBook, UnitOfWork
from services.metering.application.void_and_store import (
    Changes,
    CorrectionResult,
    carry_out,
    dropped,
    not_found,
)
from services.metering.domain.usage_correction import StandingEvent, amend, revised, says_the_same
from services.metering.domain.usage_event import AcceptWindow, MalformedEvent, Reason, UsageEvent

ID = "/event/id"


@dataclass(frozen=True, slots=True)
class Amendment:
    """The payload that is to count for its source and id, and why. What a malformed one is refused for points into the
    entry, where the event stands at /event.
    """

    event: UsageEvent | MalformedEvent
    reason: str


@dataclass(frozen=True, slots=True)
class AmendUsageEvents:
    """Amendments in order. `batch_id` is that of the raw events that they become."""

    batch_id: str
    author: str
    amendments: Sequence[Amendment]


async def amend_usage_events(
    command: AmendUsageEvents, *, uow: UnitOfWork, accept: AcceptWindow, now: datetime
) -> Sequence[CorrectionResult]:
    """Replace what counts; a result for each, in order. The good part is done, whatever is wrong with the others.

    A payload is looked at as at ingest. One that came without a time keeps that of the event it replaces. It may
    move in time and to another subject; what was voided counts again. A repeat finds it just so, and changes nothing.
    """
    await uow.usage.stop_writers()
    book = await uow.usage.share()
    keys = {entry.event.key for entry in command.amendments if isinstance(entry.event, UsageEvent)}
    standing = dict(await uow.corrections.find_standing(sorted(keys)))
    changes = Changes()
    results: list[CorrectionResult] = []
    for entry in command.amendments:
        event = entry.event
        if isinstance(event, MalformedEvent):
            objections = _refusals(replace(event, reasons=()), book, accept, now)
            results.append(CorrectionResult("rejected", reasons=(*event.reasons, *objections)))
            continue
        found = standing.get(event.key)
        if found is None:
            results.append(not_found(ID))
            continue
        replacement = revised(event, found, tenant=uow.tenant)
        result = _decide(replacement, found, _refusals(replacement, book, accept, now))
        if result.status == "amended":
            correction = amend(found, replacement, reason=entry.reason, author=command.author, now=now)
            changes.corrections.append(correction)
            changes.arrivals[replacement.key] = Arrival(replacement, command.batch_id, now)
            if found.is_counted and found.raw is not None:
                changes.touched.append(("amended", event.key, found.raw))
            changes.touched.append(("amended", event.key, replacement))
            standing[event.key] = found.amended(replacement)
            result = replace(result, correction_id=correction.id)
        results.append(result)
    await carry_out(changes, book, uow=uow)
    return results


def _decide(
    replacement: UsageEvent, standing: StandingEvent, refusals: tuple[Reason, ...]
) -> CorrectionResult:
    if says_the_same(replacement, standing):
        return CorrectionResult("unchanged", standing.correction_id)
    if refusals:
        return CorrectionResult("rejected", reasons=refusals)
    if standing.is_counted and standing.raw is None:
        return dropped(ID)
    return CorrectionResult("amended")


def _refusals(
    event: UsageEvent | MalformedEvent, book: MeterBook, accept: AcceptWindow, now: datetime
) -> tuple[Reason, ...]:
    kept = kept_refusals(event.occurred_at, book) if isinstance(event, UsageEvent) else ()
    return tuple(
        Reason(found.code, f"/event{found.pointer}", found.detail)
        for found in (*look_at(event, book, accept, now, []), *kept)
    )
