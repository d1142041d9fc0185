"""Routes of usage events: the ingest path, and what can be seen of what it stored and refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from libs.common.ids import new_uuid7
from libs.common.paging import Slice
from libs.common.web.bodies import Instant
from libs.common.web.pagination import Page, PageDep
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.ingest_usage_events import EventResult, UsageBatch
from services.metering.application.queries import list_usage_events as find_usage_events
from services.metering.application.reads import EventFilter
from services.metering.entrypoints.dependencies import ReadCall, WriteCall, ingest_of
from services.metering.entrypoints.exact_json import event_json, exact_page
from services.metering.entrypoints.usage_event_bodies import (
    EventId,
    EventType,
    IngestResultBody,
    Source,
    Subject,
    UsageConflictBody,
    UsageEventBody,
    UsageRejectBody,
)
from services.metering.entrypoints.usage_request import MEDIA_TYPES, Event, read_events

PATH = "/v1/usage-events"

router = APIRouter(tags=["usage"])

_EXAMPLE = {
    "specversion": "1.0",
    "id": "UA-1545-EWR-2013-01-01T10:00:00Z",
    "source": "https://ops.example/nyc",
    "type": "flight.landed",
    "subject": "N14228",
    "time": "2013-01-01T10:00:00Z",
    "data": {"carrier": "UA", "destination": "IAH", "air_time": 227, "distance": 1400},
}
_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "A CloudEvent 1.0. Its identity is (source, id), for ever.",
    "required": ["id", "source", "type", "subject"],
    "properties": {
        "specversion": {"type": "string", "const": "1.0"},
        "id": {"type": "string"},
        "source": {"type": "string"},
        "type": {"type": "string"},
        "subject": {"type": "string", "description": "The metered thing."},
        "time": {"type": "string", "format": "date-time", "description": "When it happened; default: now."},
        "data": {"description": "What meters read. Any JSON."},
    },
    "additionalProperties": True,
}
_BATCH: Mapping[str, Any] = {"type": "array", "items": _SCHEMA, "maxItems": 10_000}
_CONTENT: Mapping[str, Any] = {
    "application/cloudevents-batch+json": {"schema": _BATCH, "example": [_EXAMPLE]},
    "application/cloudevents+json": {"schema": _SCHEMA, "example": _EXAMPLE},
    "application/json": {"schema": {"oneOf": [_SCHEMA, _BATCH]}, "example": [_EXAMPLE]},
    "application/x-ndjson": {"schema": {"type": "string", "description": "A CloudEvent on each line."}},
}
assert tuple(sorted(_CONTENT)) == tuple(sorted(MEDIA_TYPES))


@router.post(
    PATH,
    response_model=IngestResultBody,
    summary="Send usage events",
    openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
)
async def post_usage_events(call: WriteCall) -> Response:
    """Up to 10,000 CloudEvents: one, an array, or one on each line; gzip allowed; also in HTTP binary mode.

    Each event has its own result, in order. When the answer comes, what is `stored` is durable and counted.
    Whatever happened, the same request may be sent again: an event counts once.
    """
    ingest = ingest_of(call.request)  # not a dependency: on this path even those few microseconds count
    arrived_at = ingest.clock.system_now()
    events = await read_events(call.request, tenant=call.tenant, arrived_at=arrived_at, limits=ingest.limits)
    batch = UsageBatch(str(new_uuid7()), call.caller.actor, arrived_at, events)
    results = await ingest.queue.submit(call.tenant, batch) if events else []
    return Response(_answer(events, results), media_type="application/json")


def _answer(events: Sequence[Event], results: Sequence[EventResult]) -> bytes:
    counts: Counter[str] = Counter(result.status for result in results)
    told = [
        {"id": event.event_id, "source": event.source, "status": result.status, "reasons": result.reasons}
        if result.reasons
        else {"id": event.event_id, "source": event.source, "status": result.status}
        for event, result in zip(events, results, strict=True)
    ]
    statuses = ("stored", "duplicate", "conflict", "rejected")
    return msgspec.json.encode({"results": told, **{status: counts[status] for status in statuses}})


@router.get(PATH, response_model=Page[UsageEventBody], summary="List usage events")
async def list_usage_events(
    call: ReadCall,
    page: PageDep,
    type: Annotated[EventType | None, Query()] = None,
    subject: Annotated[Subject | None, Query()] = None,
    source: Annotated[Source | None, Query()] = None,
    id: Annotated[EventId | None, Query(description="Together with `source`.")] = None,
    from_: Annotated[Instant | None, Query(alias="from", description="Happened then or later.")] = None,
    to: Annotated[Instant | None, Query(description="Happened before then.")] = None,
) -> Response:
    """In the order in which they happened. `created_from` and `created_to` are about when they arrived."""
    wanted = EventFilter(type=type, subject=subject, source=source, event_id=id, start=from_, end=to)

    async def work(uow: MeteringUnitOfWork) -> Slice[Mapping[str, Any]]:
        return (await find_usage_events(wanted, page, uow=uow)).map(event_json)

    return exact_page(call.request, await call.run(work))


@router.get("/v1/usage-rejects", response_model=Page[UsageRejectBody], summary="List rejected events")
async def list_usage_rejects(
    call: ReadCall, page: PageDep, source: Annotated[Source | None, Query()] = None
) -> Response:
    """Events that were refused, with all that was wrong with them."""

    async def work(uow: MeteringUnitOfWork) -> Slice[UsageRejectBody]:
        return (await uow.reads.list_rejects(page, source=source)).map(UsageRejectBody.from_view)

    return await call.page(work)


@router.get("/v1/usage-conflicts", response_model=Page[UsageConflictBody], summary="List conflicting events")
async def list_usage_conflicts(
    call: ReadCall, page: PageDep, source: Annotated[Source | None, Query()] = None
) -> Response:
    """Events that came under the id of another one, and were not stored."""

    async def work(uow: MeteringUnitOfWork) -> Slice[UsageConflictBody]:
        return (await uow.reads.list_conflicts(page, source=source)).map(UsageConflictBody.from_view)

    return await call.page(work)
