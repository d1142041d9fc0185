"""Store accepted events as they come from the usage topic, and keep what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.metering.application.ingest_usage_events import (
    EventResult,
    IngestUsageEvents,
    UsageBatch,
    ingest_usage_events,
)
from services.metering.application.ports import UnitOfWork
from services.metering.application.reads import NotStored, PartId, SettledPart
from services.metering.domain.usage_event import AcceptWindow


@dataclass(frozen=True, slots=True)
class UsagePart:
    """Those events of one request that travel together. `places` are theirs in the request.

    `batch` has the request's id; `number` tells its parts apart; `batch_event_count` is how many events it had.
    """

    batch: UsageBatch
    number: int
    batch_event_count: int
    places: Sequence[int]

    @property
    def id(self) -> PartId:
        return PartId(self.batch.id, self.number)


@dataclass(frozen=True, slots=True)
class SettleUsageParts:
    """Parts of requests of one tenant; their results can be read for `kept`."""

    parts: Sequence[UsagePart]
    kept: timedelta


async def settle_usage_parts(
    command: SettleUsageParts, *, uow: UnitOfWork, accept: AcceptWindow
) -> Counter[str]:
    """Store what is new, as direct ingest does; returns how many events had which result.

    A part that was settled before is left out whole: told again, it would only find its own events.
    """
    parts = {part.id: part for part in command.parts}
    for id in await uow.results.find_settled(list(parts)):
        del parts[id]
    if not parts:
        return Counter()
    batches = [part.batch for part in parts.values()]
    results = await ingest_usage_events(IngestUsageEvents(batches), uow=uow, accept=accept)
    settled: list[SettledPart] = []
    not_stored: list[NotStored] = []
    counted: Counter[str] = Counter()
    for part, found in zip(parts.values(), results, strict=True):
        counts: Counter[str] = Counter([result.status for result in found])
        counted += counts
        settled.append(SettledPart(part.id, part.batch_event_count, counts, part.batch.arrived_at))
        if counts["stored"] < len(found):
            not_stored += _not_stored(part, found)
    await uow.results.keep(settled, not_stored, kept=command.kept)
    return counted


def _not_stored(part: UsagePart, results: Sequence[EventResult]) -> list[NotStored]:
    return [
        NotStored(part.batch.id, place, result.status, event.event_id, event.source, result.reasons)
        for place, event, result in zip(part.places, part.batch.events, results, strict=True)
        if result.status == "duplicate" or result.status == "conflict" or result.status == "rejected"
    ]
