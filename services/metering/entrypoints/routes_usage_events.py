"""Routes of usage events: the ingest path, and what can be seen of what it stored and refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.ids import new_uuid7
from libs.common.messaging.bus import Bus
from libs.common.paging import Slice
from libs.common.telemetry import TraceBudget
from libs.common.web.bodies import Instant
from libs.common.web.hot_route import HotRoute, PlainRequest
from libs.common.web.pagination import Page, PageDep, page_body
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.ingest_usage_events import EventResult, UsageBatch
from services.metering.application.queries import find_usage_batch
from services.metering.application.queries import list_usage_events as find_usage_events
from services.metering.application.reads import (
    SETTLED_AS,
    BatchResult,
    EventFilter,
    NotStoredView,
)
from services.metering.entrypoints.dependencies import (
    WRITE_SCOPE,
    BusDep,
    Ingest,
    ReadCall,
    WriteCall,
    ingest_of,
)
from services.metering.entrypoints.exact_json import event_json, exact_page
from services.metering.entrypoints.usage_event_bodies import (
    EventId,
    EventType,
    IngestResultBody,
    Source,
    Subject,
    UsageBatchBody,
    UsageConflictBody,
    UsageEventBody,
    UsageRejectBody,
    UsageResultBody,
    UsageResultsBody,
)
from services.metering.entrypoints.usage_request import (
    BINARY_MODE,
    BODY_TIMEOUT_S,
    MEDIA_TYPES,
    Event,
    read_body,
    read_events,
)

PATH = "/v1/usage-events"
RESULTS_PATH = f"{PATH}/results"

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


_TOLD = {"id": _EXAMPLE["id"], "source": _EXAMPLE["source"]}
_BATCH_ID = "01980f7e-5a4c-7c3b-9d2e-6f0a1b2c3d4e"
_ANSWERS: Mapping[str, Any] = {
    "stored": {
        "summary": "Stored as they arrive (the default)",
        "value": {
            "results": [{**_TOLD, "status": "stored"}],
            "stored": 1,
            "duplicate": 0,
            "conflict": 0,
            "rejected": 0,
        },
    },
    "accepted": {
        "summary": "Through the usage topic",
        "value": {
            "batch_id": _BATCH_ID,
            "results_url": f"{RESULTS_PATH}?batch_id={_BATCH_ID}",
            "results": [{**_TOLD, "status": "accepted"}],
            "accepted": 1,
            "stored": 0,
            "duplicate": 0,
            "conflict": 0,
            "rejected": 0,
        },
    },
}


@router.post(
    PATH,
    response_model=IngestResultBody,
    summary="Send usage events",
    responses={200: {"content": {"application/json": {"examples": _ANSWERS}}}},
    openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
)
async def post_usage_events(call: WriteCall) -> Response:
    """Up to 10,000 CloudEvents: one, an array, or one on each line; gzip allowed; also in HTTP binary mode.

    Each event has its own result, in order. When the answer comes, what is `stored` is durable and counted.
    What is `accepted` is durable, and will be counted: `results_url` tells which was stored, and which was not.
    Whatever happened, the same request may be sent again: an event counts once.
    """
    ingest = ingest_of(call.request)
    arrived_at = ingest.clock.system_now()
    events = await read_events(call.request, tenant=call.tenant, arrived_at=arrived_at, limits=ingest.limits)
    answer = await _take_in(ingest, call.tenant, call.caller.actor, arrived_at, events)
    return Response(answer, media_type="application/json")


def hot_route(ingest: Ingest, traces: TraceBudget) -> HotRoute:
    """The same for plain requests, past the framework: most of what a single event costs is on the way to it."""

    async def answer(request: PlainRequest) -> bytes:
        arrived_at = ingest.clock.system_now()
        events = await read_body(
            request.body,
            request.media_type,
            tenant=request.tenant,
            arrived_at=arrived_at,
            limits=ingest.limits,
        )
        return await _take_in(ingest, request.tenant, request.caller.actor, arrived_at, events)

    return HotRoute(
        path=PATH,
        token_scope=WRITE_SCOPE,
        media_types=frozenset(MEDIA_TYPES),
        body_bytes_max=ingest.limits.bytes_max,
        body_timeout_s=BODY_TIMEOUT_S,
        traces=traces,
        unusual_headers=frozenset({BINARY_MODE.encode()}),
        answer=answer,
    )


async def _take_in(
    ingest: Ingest, tenant: str, actor: str, arrived_at: datetime, events: Sequence[Event]
) -> bytes:
    batch = UsageBatch(str(new_uuid7()), actor, arrived_at, events)
    results = await ingest.queue.submit(tenant, batch) if events else []
    batch_id = batch.id if events and ingest.is_through_topic else None
    return _answer(events, results, batch_id)


def _answer(events: Sequence[Event], results: Sequence[EventResult], batch_id: str | None) -> bytes:
    counts: Counter[str] = Counter(result.status for result in results)
    told = [
        {"id": event.event_id, "source": event.source, "status": result.status, "reasons": result.reasons}
        if result.reasons
        else {"id": event.event_id, "source": event.source, "status": result.status}
        for event, result in zip(events, results, strict=True)
    ]
    answer: dict[str, Any] = {"results": told, **{status: counts[status] for status in SETTLED_AS}}
    if batch_id is not None:
        answer["accepted"] = counts["accepted"]
        answer["batch_id"] = batch_id
        answer["results_url"] = f"{RESULTS_PATH}?batch_id={batch_id}"
    return msgspec.json.encode(answer)


@router.get(RESULTS_PATH, response_model=UsageResultsBody, summary="List results of accepted events")
async def list_usage_results(
    call: ReadCall,
    bus: BusDep,
    page: PageDep,
    batch_id: Annotated[
        UUID | None, Query(description="As the answer to the request named it.", examples=[_BATCH_ID])
    ] = None,
) -> Response:
    """Accepted events that were not stored, and why; with `batch_id`, what has become of that request so far.

    Read a batch until it is `complete`, and then its events. In the order in which they were settled.
    """
    wanted = None if batch_id is None else str(batch_id)

    async def settled(uow: MeteringUnitOfWork) -> BatchResult | None:
        return await find_usage_batch(str(wanted), None, uow=uow)

    batch: BatchResult | None = None
    if wanted is not None:
        batch = await call.run(settled)
        if batch is None:
            batch = await call.run(await _once_published(bus, wanted))

    async def work(uow: MeteringUnitOfWork) -> Slice[NotStoredView]:
        return await uow.reads.list_not_stored(page, batch_id=wanted)

    found = await call.run(work)
    shown, headers = page_body(call.request, found.map(UsageResultBody.from_view))
    body = UsageResultsBody(
        batch=None if batch is None else UsageBatchBody.from_result(batch),
        data=shown.data,
        next_cursor=shown.next_cursor,
    )
    return Response(body.model_dump_json(), headers=headers, media_type="application/json")


async def _once_published(
    bus: Bus, batch_id: str
) -> Callable[[MeteringUnitOfWork], Awaitable[BatchResult | None]]:
    """Nothing of it is settled: whether it may still come, the topic knows."""
    ends = await bus.end_offsets(USAGE_TOPIC)

    async def work(uow: MeteringUnitOfWork) -> BatchResult | None:
        return await find_usage_batch(batch_id, ends, uow=uow)

    return work


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
