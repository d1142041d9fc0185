"""The body of an ingest request: bounded, unpacked, and cut into events, in turns that others can share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Self

from starlette.requests import Request

from libs.common.errors import TooLarge
from libs.common.web.limits import BodyBudget
from libs.common.web.problem import RequestTimedOut, UnsupportedMedia
from services.metering.domain.usage_event import MalformedEvent, UsageEvent
from services.metering.entrypoints.cloud_events import (
    EVENT_BYTES_MAX,
    Reader,
    UnreadArray,
    attributes_from_headers,
    split_array,
    split_lines,
    split_object,
)
from services.metering.entrypoints.event_flaws import is_json_media
from services.metering.entrypoints.ingest_queue import IngestBusy
from services.metering.entrypoints.reading_turns import ReadingTurns
from services.metering.entrypoints.unpacking import ENCODINGS, BodyMalformed, unpack

BODY_TIMEOUT_S = 30.0
TURN_EVENTS = 500
TURN_BYTES = 500_000  # of long events, fewer in a turn
AT_ONCE_BYTES_MAX = 262_144  # some milliseconds of work, and never more than one event may have

CLOUDEVENT, CLOUDEVENTS_BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
JSON, NDJSON = "application/json", "application/x-ndjson"
BINARY_MODE = "ce-specversion"  # the header by which it is known
MEDIA_TYPES = (CLOUDEVENT, CLOUDEVENTS_BATCH, JSON, NDJSON)

Event = UsageEvent | MalformedEvent


class TooManyEvents(TooLarge):
    code: ClassVar[str] = "too_many_events"
    title: ClassVar[str] = "The request holds too many events"


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """`bytes_max` holds for the body as it is sent, and for what it unpacks to."""

    events_max: int
    bytes_max: int


class BodyHold:
    """What one request has in hand of its body, packed and unpacked, for as long as it is looked at and stored."""

    def __init__(self, bodies: BodyBudget, turns: ReadingTurns) -> None:
        self._bodies, self._turns = bodies, turns
        self._held_bytes = self._turn_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bodies.give(self._held_bytes)
        if self._turn_bytes:
            self._turns.end(self._turn_bytes)

    def take(self, byte_count: int) -> None:
        """Raises: IngestBusy."""
        if not self._bodies.take(byte_count):
            raise IngestBusy(
                "the bodies of too many requests are waiting to be stored",
                retry_after_s=1,
                remedy="Send it again after a moment; what is sent twice is counted once.",
            )
        self._held_bytes += byte_count

    async def await_turn(self, byte_count: int) -> None:
        """Before a body of this length is read. It has its turn until it was stored."""
        self._turn_bytes = await self._turns.begin(byte_count)


async def read_events(
    request: Request, *, tenant: str, arrived_at: datetime, limits: RequestLimits, hold: BodyHold
) -> Sequence[Event]:
    """The events of a request, in order, malformed ones among them.

    Raises: UnsupportedMedia, BodyTooLarge, TooManyEvents, BodyMalformed, UnreadableEvents, RequestTimedOut, IngestBusy.
    """
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    packed = await _body(request, hold, length_max=None)
    body = await _unpacked(request, packed, limits.bytes_max, hold)
    await hold.await_turn(len(body))
    if BINARY_MODE not in request.headers or media_type in (CLOUDEVENT, CLOUDEVENTS_BATCH):
        return await read_body(body, media_type, tenant=tenant, arrived_at=arrived_at, limits=limits)
    _check_text(body)
    if media_type and not is_json_media(media_type):
        raise UnsupportedMedia("in binary mode the data is application/json")
    reader = Reader(tenant, arrived_at, specversion_needed=True)
    return [reader.read_attributes(attributes_from_headers(request.headers, body), "")]


async def read_text(request: Request, limits: RequestLimits, hold: BodyHold) -> bytes:
    """The body of a request that corrects usage: JSON, whose numbers are to stay exact. It may be read once more.

    Raises: UnsupportedMedia, BodyTooLarge, BodyMalformed, RequestTimedOut, IngestBusy.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != JSON:
        raise UnsupportedMedia(
            "this route reads application/json only", remedy="Send the header Content-Type: application/json."
        )
    packed = await _body(request, hold, length_max=limits.bytes_max)
    body = await _unpacked(request, packed, limits.bytes_max, hold)
    await hold.await_turn(len(body))
    _check_text(body)
    return body


async def read_body(
    body: bytes, media_type: str, *, tenant: str, arrived_at: datetime, limits: RequestLimits
) -> Sequence[Event]:
    """The events of a body that is neither packed nor in binary mode.

    Raises: UnsupportedMedia, TooManyEvents, BodyMalformed, UnreadableEvents.
    """
    if len(body) <= AT_ONCE_BYTES_MAX:
        return read_at_once(body, media_type, tenant=tenant, arrived_at=arrived_at, limits=limits)
    _check_text(body)
    reader = _reader(media_type, tenant, arrived_at)
    split = _splitter(media_type, body)
    found = split(body)
    _check_count(len(found), limits)
    events: list[Event] = []
    count = max(1, min(TURN_EVENTS, TURN_BYTES // max(map(len, found), default=1)))
    for start in range(0, len(found), count):
        some = found[start : start + count]
        if split is split_array and max(map(len, some)) <= EVENT_BYTES_MAX:
            events += reader.read_array(b"[%b]" % b",".join(some))
        else:
            events += [reader.read(raw) for raw in some]
        await asyncio.sleep(0)
    return events


def read_at_once(
    body: bytes, media_type: str, *, tenant: str, arrived_at: datetime, limits: RequestLimits
) -> Sequence[Event]:
    """The same for at most AT_ONCE_BYTES_MAX bytes, which nobody has to wait for. An array is decoded later."""
    _check_text(body)
    reader = _reader(media_type, tenant, arrived_at)
    split = _splitter(media_type, body)
    events: Sequence[Event]
    if split is split_array:
        events = UnreadArray(reader, body)
    elif split is split_object and (event := reader.read_usual(body)) is not None:
        events = [event]
    else:
        events = [reader.read(raw) for raw in split(body)]
    _check_count(len(events), limits)
    return events


def _reader(media_type: str, tenant: str, arrived_at: datetime) -> Reader:
    return Reader(tenant, arrived_at, media_type in (CLOUDEVENT, CLOUDEVENTS_BATCH))


def _check_count(count: int, limits: RequestLimits) -> None:
    if count > limits.events_max:
        raise TooManyEvents(
            f"a request holds at most {limits.events_max} events",
            events_max=limits.events_max,
            remedy="Send them in several requests; what is sent twice is counted once.",
        )


def _check_text(body: bytes) -> None:
    if body.isascii():
        return
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise BodyMalformed(f"the body is not UTF-8 (byte {error.start})") from None


def _splitter(media_type: str, body: bytes) -> Callable[[bytes], Sequence[bytes]]:
    match media_type:
        case "application/cloudevents+json":
            return split_object
        case "application/cloudevents-batch+json":
            return split_array
        case "application/json":
            return split_array if body.lstrip()[:1] == b"[" else split_object
        case "application/x-ndjson":
            return split_lines
    raise UnsupportedMedia(
        "usage events are sent as CloudEvents: one, an array, or one a line",
        remedy=f"Send one of {', '.join(MEDIA_TYPES)}.",
    )


async def _body(request: Request, hold: BodyHold, *, length_max: int | None) -> bytes:
    """How much may come is bounded before us; how long it may take, and how much all bring together, is not.

    Where nothing says how long it is, it is counted as it comes, or, with `length_max`, as if it were as long as that.
    """
    declared = request.headers.get("content-length")
    length = length_max if declared is None else int(declared)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            if length is not None:
                hold.take(length)
                return await request.body()
            parts: list[bytes] = []
            async for part in request.stream():
                hold.take(len(part))
                parts.append(part)
            return b"".join(parts)
    except TimeoutError:
        raise RequestTimedOut(f"the body did not arrive within {BODY_TIMEOUT_S:g} seconds") from None


async def _unpacked(request: Request, body: bytes, bytes_max: int, hold: BodyHold) -> bytes:
    encodings = ",".join(request.headers.getlist("content-encoding")).strip().lower() or "identity"
    if encodings == "identity":
        return body
    if encodings not in ENCODINGS:
        raise UnsupportedMedia(
            f"{'several encodings' if ',' in encodings else 'this encoding'} cannot be unpacked here",
            remedy=f"Pack it once, with {' or '.join(ENCODINGS)}, or send it as it is.",
        )
    return await unpack(body, encodings, bytes_max=bytes_max, take=hold.take)
