"""Look at events before they are sent on: whoever is wrong in himself is told so at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.metering.application.ingest_usage_events import EventResult, UsageBatch
from services.metering.domain.usage_event import AcceptWindow, MalformedEvent, UsageEvent

ACCEPTED = EventResult("accepted")


@dataclass(frozen=True, slots=True)
class AcceptedBatch:
    """A request as it is sent on, and what its sender is told of each event, in order."""

    batch: UsageBatch
    results: Sequence[EventResult]


def accept_usage_events(batch: UsageBatch, *, accept: AcceptWindow) -> AcceptedBatch:
    """Everything that can be said without the database: what is malformed, or too far from now, is rejected.

    Rejected events are sent on too, with their reasons: whoever stores the others keeps them in the list, and
    adds what meters say of them. What he does not reject then is not undone: told once, a reject stays one.
    """
    events: list[UsageEvent | MalformedEvent] = []
    results: list[EventResult] = []
    for event in batch.events:
        if isinstance(event, UsageEvent):
            reasons = accept.refusals(event.occurred_at, batch.arrived_at)
            if not reasons:
                events.append(event)
                results.append(ACCEPTED)
                continue
            event = MalformedEvent(
                reasons=tuple(reasons),
                payload=event.payload(),
                event_id=event.event_id,
                source=event.source,
                type=event.type,
                subject=event.subject,
                data=event.data,
                data_readable=True,
            )
        events.append(event.cut())
        results.append(EventResult("rejected", event.reasons))
    return AcceptedBatch(replace(batch, events=events), results)
