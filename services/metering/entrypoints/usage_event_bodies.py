"""What is said about usage events: as they were stored, what became of them, and those that were refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field

from libs.common.web.bodies import Instant, StrictBody
from services.metering.application.ingest_usage_events import EventResult
from services.metering.application.reads import (
    SETTLED_AS,
    BatchResult,
    ConflictView,
    NotStoredView,
    RejectResolution,
    RejectState,
    RejectView,
)
from services.metering.domain.usage_correction import REASON_LENGTH_MAX, CorrectionKind
from services.metering.domain.usage_event import (
    ID_BYTES_MAX,
    SOURCE_BYTES_MAX,
    SUBJECT_BYTES_MAX,
    TYPE_BYTES_MAX,
    MalformedEvent,
    Reason,
    UsageEvent,
)


def plain(value: str) -> str:
    if any(character < " " for character in value):
        raise ValueError("must not hold control characters")
    return value


EventId = Annotated[str, Field(min_length=1, max_length=ID_BYTES_MAX), AfterValidator(plain)]
Source = Annotated[
    str,
    Field(min_length=1, max_length=SOURCE_BYTES_MAX, examples=["https://ops.example/nyc"]),
    AfterValidator(plain),
]
EventType = Annotated[
    str,
    Field(min_length=1, max_length=TYPE_BYTES_MAX, examples=["flight.landed"]),
    AfterValidator(plain),
]
Subject = Annotated[
    str,
    Field(min_length=1, max_length=SUBJECT_BYTES_MAX, examples=["N14228"]),
    AfterValidator(plain),
]


class ReasonBody(StrictBody):
    """One thing wrong with an event. Programs read `code`; `pointer` leads to the place in the event."""

    code: str = Field(examples=["value_missing"])
    pointer: str = Field(examples=["/data/air_time"])
    detail: str

    @classmethod
    def from_domain(cls, reason: Reason) -> Self:
        return cls(code=reason.code, pointer=reason.pointer, detail=reason.detail)


class EventResultBody(StrictBody):
    """What became of one event. A rejected one leaves its id free; in a conflict, the first event stays.

    An accepted one will be stored unless it turns out to be one of the others: see the batch's results.
    """

    id: str | None
    source: str | None
    status: Literal["accepted", "stored", "duplicate", "conflict", "rejected"]
    reasons: list[ReasonBody] | None = None


class IngestResultBody(StrictBody):
    """One result for each event, in the order in which they were sent, and how many of each kind.

    `batch_id` and `results_url` are there when the events go through the usage topic.
    """

    results: list[EventResultBody]
    stored: int
    duplicate: int
    conflict: int
    rejected: int
    accepted: int = 0
    batch_id: str | None = None
    results_url: str | None = None


class UsageEventBody(StrictBody):
    """An event as it was stored. Numbers in `data` are exact: read them as decimals."""

    id: str
    source: str
    type: str
    subject: str
    time: Instant
    arrived_at: Instant
    data: Any


class CorrectionMarkBody(StrictBody):
    """Why an event counts no more, since when, and who says so."""

    id: str = Field(examples=["ucor_01jz3v6m1qk0c8n4r2d5s7t9wx"])
    kind: CorrectionKind
    reason: str
    author: str
    at: Instant


class MarkedEventBody(UsageEventBody):
    """With `corrected`, it counts no more; `amends` is the id of the amendment that brought it."""

    corrected: CorrectionMarkBody | None
    amends: str | None


class RejectResolutionBody(StrictBody):
    """What was done about a reject: what became of the event sent in its place, or why nobody will send one."""

    outcome: Literal["stored", "duplicate", "dismissed"]
    resolved_at: Instant
    resolved_by: str
    reason: str | None

    @classmethod
    def from_view(cls, resolution: RejectResolution) -> Self:
        return cls(
            outcome=resolution.outcome,
            resolved_at=resolution.resolved_at,
            resolved_by=resolution.resolved_by,
            reason=resolution.note,
        )


class UsageRejectBody(StrictBody):
    """An event that was refused, kept once, however often it was sent."""

    id: str
    state: RejectState
    event_id: str | None
    source: str | None
    type: str | None
    subject: str | None
    reasons: list[ReasonBody]
    payload: str = Field(description="The event as it was sent, cut if it was very long.")
    seen_count: int
    first_seen_at: Instant
    last_seen_at: Instant
    resolution: RejectResolutionBody | None

    @classmethod
    def from_view(cls, view: RejectView) -> Self:
        reject, resolution = view.reject, view.resolution
        return cls(
            id=reject.id,
            state=view.state,
            resolution=None if resolution is None else RejectResolutionBody.from_view(resolution),
            event_id=reject.event_id,
            source=reject.source,
            type=reject.type,
            subject=reject.subject,
            reasons=[ReasonBody.from_domain(reason) for reason in reject.reasons],
            payload=reject.payload,
            seen_count=view.seen_count,
            first_seen_at=view.first_seen_at,
            last_seen_at=view.last_seen_at,
        )


class ResubmissionBody(StrictBody):
    """What became of the event, and the reject after that."""

    result: EventResultBody
    reject: UsageRejectBody

    @classmethod
    def from_result(cls, event: UsageEvent | MalformedEvent, result: EventResult, reject: RejectView) -> Self:
        told = EventResultBody(
            id=event.event_id,
            source=event.source,
            status=result.status,
            reasons=[ReasonBody.from_domain(reason) for reason in result.reasons] or None,
        )
        return cls(result=told, reject=UsageRejectBody.from_view(reject))


class DismissalBody(StrictBody):
    """Why nobody will put the event right."""

    reason: Annotated[
        str,
        Field(min_length=1, max_length=REASON_LENGTH_MAX, examples=["A test of the new engine."]),
        AfterValidator(plain),
    ]


class UsageConflictBody(StrictBody):
    """Another payload under the id of a stored event, which stays as it is."""

    id: str
    event_id: str
    source: str
    stored_time: Instant | None = Field(description="When the event that stays happened.")
    payload: str = Field(description="The event that came later, and was not stored.")
    seen_count: int
    first_seen_at: Instant
    last_seen_at: Instant

    @classmethod
    def from_view(cls, view: ConflictView) -> Self:
        conflict = view.conflict
        return cls(
            id=conflict.id,
            event_id=conflict.event_id,
            source=conflict.source,
            stored_time=view.stored_occurred_at,
            payload=conflict.payload,
            seen_count=view.seen_count,
            first_seen_at=view.first_seen_at,
            last_seen_at=view.last_seen_at,
        )


class UsageBatchBody(StrictBody):
    """What has become of one request so far. `events` and `pending` are null until a part of it was looked at."""

    id: str
    arrived_at: Instant | None
    complete: bool = Field(description="All events have a result.")
    events: int | None
    pending: int | None
    stored: int
    duplicate: int
    conflict: int
    rejected: int

    @classmethod
    def from_result(cls, batch: BatchResult) -> Self:
        return cls(
            id=batch.batch_id,
            arrived_at=batch.arrived_at,
            complete=batch.pending_count == 0,
            events=batch.event_count,
            pending=batch.pending_count,
            **{status: batch.counts.get(status, 0) for status in SETTLED_AS},
        )


class UsageResultBody(StrictBody):
    """An accepted event that was not stored. `place` is its place in the request, from 0."""

    batch_id: str
    place: int
    id: str | None
    source: str | None
    status: Literal["duplicate", "conflict", "rejected"]
    reasons: list[ReasonBody]
    settled_at: Instant

    @classmethod
    def from_view(cls, view: NotStoredView) -> Self:
        found = view.not_stored
        return cls(
            batch_id=found.batch_id,
            place=found.place,
            id=found.event_id,
            source=found.source,
            status=found.status,
            reasons=[ReasonBody.from_domain(reason) for reason in found.reasons],
            settled_at=view.settled_at,
        )


class UsageResultsBody(StrictBody):
    """A page of events that were not stored, and the batch that was asked for, if one was."""

    batch: UsageBatchBody | None
    data: list[UsageResultBody]
    next_cursor: str | None = None
