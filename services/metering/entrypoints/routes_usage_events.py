"""Routes of usage events: the ingest path, and what can be seen of what it stored and refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, ClassVar
from uuid import UUID

import msgspec
from fastapi import Query
from starlette.responses import Response

from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.errors import InputError
from libs.common.ids import new_uuid7
from libs.common.messaging.bus import Bus
from libs.common.paging import Slice
from libs.common.telemetry import TraceBudget
from libs.common.web.bodies import Instant
from libs.common.web.calls import Call
from libs.common.web.hot_route import HotRoute, PlainRequest, Told
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep, page_body
from libs.common.web.problem import BadRequest
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
from services.metering.domain.usage_event import Reason
from services.metering.entrypoints.dependencies import (
    WRITE_SCOPE,
    BusDep,
    Ingest,
    ReadCall,
    WriteCall,
    ingest_of,
)
from services.metering.entrypoints.exact_json import exact_page, marked_json
from services.metering.entrypoints.ingest_queue import IngestQueue, Outcome
from services.metering.entrypoints.usage_event_bodies import (
    EventId,
    EventType,
    IngestResultBody,
    MarkedEventBody,
    Source,
    Subject,
    UsageBatchBody,
    UsageConflictBody,
    UsageResultBody,
    UsageResultsBody,
)
from services.metering.entrypoints.usage_request import (
    AT_ONCE_BYTES_MAX,
    BINARY_MODE,
    BODY_TIMEOUT_S,
    MEDIA_TYPES,
    BodyHold,
    Event,
    read_at_once,
    read_body,
    read_events,
)

PATH = "/v1/usage-events"
RESULTS_PATH = f"{PATH}/results"
OPENMETER_PATH = "/api/v1/events"

router = LateRouter(tags=["usage"])

EVENT_EXAMPLE = {
    "specversion": "1.0",
    "id": "UA-1545-EWR-2013-01-01T10:00:00Z",
    "source": "https://ops.example/nyc",
    "type": "flight.landed",
    "subject": "N14228",
    "time": "2013-01-01T10:00:00Z",
    "data": {"carrier": "UA", "destination": "IAH", "air_time": 227, "distance": 1400},
}
EVENT_SCHEMA: Mapping[str, Any] = {
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
_BATCH: Mapping[str, Any] = {"type": "array", "items": EVENT_SCHEMA, "maxItems": 10_000}
_CONTENT: Mapping[str, Any] = {
    "application/cloudevents-batch+json": {"schema": _BATCH, "example": [EVENT_EXAMPLE]},
    "application/cloudevents+json": {"schema": EVENT_SCHEMA, "example": EVENT_EXAMPLE},
    "application/json": {"schema": {"oneOf": [EVENT_SCHEMA, _BATCH]}, "example": [EVENT_EXAMPLE]},
    "application/x-ndjson": {"schema": {"type": "string", "description": "A CloudEvent on each line."}},
}
assert tuple(sorted(_CONTENT)) == tuple(sorted(MEDIA_TYPES))


_TOLD = {"id": EVENT_EXAMPLE["id"], "source": EVENT_EXAMPLE["source"]}
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
    """Up to 10,000 CloudEvents: one, an array, or one on each line; gzip and zstd allowed; also in HTTP binary mode.

    Each event has its own result, in order. When the answer comes, what is `stored` is durable and counted.
    What is `accepted` is durable, and will be counted: `results_url` tells which was stored, and which was not.
    Whatever happened, the same request may be sent again: an event counts once.
    """
    ingest = ingest_of(call.request)
    arrived_at = ingest.clock.system_now()
    with ingest.hold() as hold:
        events = await _read(call, ingest, arrived_at, hold)
        answer = await _take_in(ingest, call.tenant, call.caller.actor, arrived_at, events)
    return Response(answer, media_type="application/json")


async def _read(
    call: Call[MeteringUnitOfWork], ingest: Ingest, arrived_at: datetime, hold: BodyHold
) -> Sequence[Event]:
    return await read_events(
        call.request, tenant=call.tenant, arrived_at=arrived_at, limits=ingest.limits, hold=hold
    )


def hot_route(ingest: Ingest, traces: TraceBudget) -> HotRoute:
    """The same for plain requests, past the framework: most of what a single event costs is on the way to it."""

    async def answer(request: PlainRequest) -> bytes:
        arrived_at = ingest.clock.system_now()
        with ingest.hold() as hold:
            await hold.await_turn(len(request.body))
            events = await read_body(
                request.body,
                request.media_type,
                tenant=request.tenant,
                arrived_at=arrived_at,
                limits=ingest.limits,
            )
            return await _take_in(ingest, request.tenant, request.caller.actor, arrived_at, events)

    queue = ingest.queue
    return HotRoute(
        path=PATH,
        token_scope=WRITE_SCOPE,
        media_types=frozenset(MEDIA_TYPES),
        body_bytes_max=ingest.limits.bytes_max,
        body_timeout_s=BODY_TIMEOUT_S,
        traces=traces,
        bodies=ingest.bodies,
        unusual_headers=frozenset({BINARY_MODE.encode()}),
        answer=answer,
        begin=partial(_begin, ingest, queue) if isinstance(queue, IngestQueue) else None,
        begun_bytes_max=AT_ONCE_BYTES_MAX,
    )


def _begin(ingest: Ingest, queue: IngestQueue, request: PlainRequest, done: Callable[[Told], None]) -> None:
    """Short requests are read at once, and answered by whoever commits them."""
    arrived_at = ingest.clock.system_now()
    events = read_at_once(
        request.body,
        request.media_type,
        tenant=request.tenant,
        arrived_at=arrived_at,
        limits=ingest.limits,
    )
    if not events:
        done(_answer(events, [], None))
        return

    def told(outcome: Outcome) -> None:
        try:
            answer = outcome if isinstance(outcome, Exception) else _answer(events, outcome, None)
        except Exception as error:  # a mistake of ours: rather a bad answer than none
            answer = error
        done(answer)

    batch = UsageBatch("", request.caller.actor, arrived_at, events)
    queue.put(request.tenant, batch, told)


async def _take_in(
    ingest: Ingest, tenant: str, actor: str, arrived_at: datetime, events: Sequence[Event]
) -> bytes:
    batch = UsageBatch(str(new_uuid7()), actor, arrived_at, events)
    results = await ingest.queue.submit(tenant, batch) if events else []
    batch_id = batch.id if events and ingest.is_through_topic else None
    return _answer(events, results, batch_id)


class EventsRefused(BadRequest):
    """Some events of the request were refused, or are in conflict with what is stored. The others are kept."""

    code: ClassVar[str] = "events_refused"
    title: ClassVar[str] = "Some events were refused"


@router.post(
    OPENMETER_PATH,
    status_code=204,
    response_model=None,
    summary="Send usage events as to OpenMeter",
    openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
)
async def post_openmeter_events(call: WriteCall) -> Response:
    """The address to which OpenMeter's clients send CloudEvents, in whatever form they may be sent to Perennial.

    204 when all of them are stored, or were before. 400 when any is refused, or has the id of another one: the answer
    names those, and the others are kept.
    """
    ingest = ingest_of(call.request)
    arrived_at = ingest.clock.system_now()
    with ingest.hold() as hold:
        events = await _read(call, ingest, arrived_at, hold)
        batch = UsageBatch(str(new_uuid7()), call.caller.actor, arrived_at, events)
        results = await ingest.queue.submit(call.tenant, batch) if events else []
    _raise_refused(events, results)
    return Response(status_code=204)


def _raise_refused(events: Sequence[Event], results: Sequence[EventResult]) -> None:
    """Raises: EventsRefused, with an error for each, of which an answer shows the first."""
    refused = [
        InputError(pointer=f"/{place}" if len(events) > 1 else "", detail=_why(event, result))
        for place, (event, result) in enumerate(zip(events, results, strict=True))
        if result.status == "rejected" or result.status == "conflict"
    ]
    if refused:
        raise EventsRefused(
            f"{len(refused)} of {len(events)} events were refused, the others are kept",
            errors=refused,
            refused=len(refused),
            remedy="Put right what is named here; all are listed at /v1/usage-rejects and /v1/usage-conflicts.",
        )


def _why(event: Event, result: EventResult) -> str:
    told = "; ".join(f"{found.pointer} {found.detail}".strip() for found in result.reasons)
    return f"event {event.event_id or 'without an id'}: {told or 'another payload is stored under its id'}"


class _Told(msgspec.Struct, gc=False):
    """What became of one event, as the answer tells it."""

    id: str | None
    source: str | None
    status: str


class _ToldWhy(_Told, gc=False):
    reasons: Sequence[Reason]


class _Answer(msgspec.Struct, omit_defaults=True):
    results: list[_Told]
    stored: int
    duplicate: int
    conflict: int
    rejected: int
    accepted: int | None = None
    batch_id: str | None = None
    results_url: str | None = None


def _answer(events: Sequence[Event], results: Sequence[EventResult], batch_id: str | None) -> bytes:
    statuses: list[str] = [result.status for result in results]
    stored, duplicate, conflict, rejected = map(statuses.count, SETTLED_AS)
    told = [
        _ToldWhy(event.event_id, event.source, result.status, result.reasons)
        if result.reasons
        else _Told(event.event_id, event.source, result.status)
        for event, result in zip(events, results, strict=True)
    ]
    answer = _Answer(told, stored, duplicate, conflict, rejected)
    if batch_id is not None:
        answer.accepted = statuses.count("accepted")
        answer.batch_id = batch_id
        answer.results_url = f"{RESULTS_PATH}?batch_id={batch_id}"
    return _WRITE.encode(answer)


_WRITE = msgspec.json.Encoder()


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


@router.get(PATH, response_model=Page[MarkedEventBody], summary="List usage events")
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
    """In the order in which they happened. `created_from` and `created_to` are about when they arrived.

    Events that were voided or amended are listed as well, marked as `corrected`; so are those that count instead.
    """
    wanted = EventFilter(type=type, subject=subject, source=source, event_id=id, start=from_, end=to)

    async def work(uow: MeteringUnitOfWork) -> Slice[Mapping[str, Any]]:
        return (await find_usage_events(wanted, page, uow=uow)).map(marked_json)

    return exact_page(call.request, await call.run(work))


@router.get("/v1/usage-conflicts", response_model=Page[UsageConflictBody], summary="List conflicting events")
async def list_usage_conflicts(
    call: ReadCall, page: PageDep, source: Annotated[Source | None, Query()] = None
) -> Response:
    """Events that came under the id of another one, and were not stored."""

    async def work(uow: MeteringUnitOfWork) -> Slice[UsageConflictBody]:
        return (await uow.reads.list_conflicts(page, source=source)).map(UsageConflictBody.from_view)

    return await call.page(work)
