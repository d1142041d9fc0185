"""The body of an ingest request: bounded, unpacked, and cut into events, in turns that others can share."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from starlette.requests import Request

from libs.common.errors import TooLarge
from libs.common.web.limits import BodyTooLarge
from libs.common.web.problem import BadRequest, RequestTimedOut, UnsupportedMedia
from services.metering.domain.usage_event import MalformedEvent, UsageEvent
from services.metering.entrypoints.cloud_events import (
    Reader,
    attributes_from_headers,
    split_array,
    split_lines,
    split_object,
)
from services.metering.entrypoints.event_flaws import is_json_media

BODY_TIMEOUT_S = 30.0
PIECE_BYTES = 262_144
TURN_EVENTS = 500

CLOUDEVENT, CLOUDEVENTS_BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
JSON, NDJSON = "application/json", "application/x-ndjson"
BINARY_MODE = "ce-specversion"  # the header by which it is known
MEDIA_TYPES = (CLOUDEVENT, CLOUDEVENTS_BATCH, JSON, NDJSON)

Event = UsageEvent | MalformedEvent


class TooManyEvents(TooLarge):
    code: ClassVar[str] = "too_many_events"
    title: ClassVar[str] = "The request holds too many events"


class BodyMalformed(BadRequest):
    code: ClassVar[str] = "body_malformed"
    title: ClassVar[str] = "The body cannot be unpacked or is not UTF-8"


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """`bytes_max` holds for the body as it is sent, and for what it unpacks to."""

    events_max: int
    bytes_max: int


async def read_events(
    request: Request, *, tenant: str, arrived_at: datetime, limits: RequestLimits
) -> Sequence[Event]:
    """The events of a request, in order, malformed ones among them.

    Raises: UnsupportedMedia, BodyTooLarge, TooManyEvents, BodyMalformed, UnreadableEvents, RequestTimedOut.
    """
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    body = await _unpacked(request, await _body(request), limits.bytes_max)
    if BINARY_MODE not in request.headers or media_type in (CLOUDEVENT, CLOUDEVENTS_BATCH):
        return await read_body(body, media_type, tenant=tenant, arrived_at=arrived_at, limits=limits)
    _check_text(body)
    if media_type and not is_json_media(media_type):
        raise UnsupportedMedia("in binary mode the data is application/json")
    reader = Reader(tenant, arrived_at, specversion_needed=True)
    return [reader.read_attributes(attributes_from_headers(request.headers, body), "")]


async def read_body(
    body: bytes, media_type: str, *, tenant: str, arrived_at: datetime, limits: RequestLimits
) -> Sequence[Event]:
    """The events of a body that is neither packed nor in binary mode.

    Raises: UnsupportedMedia, TooManyEvents, BodyMalformed, UnreadableEvents.
    """
    _check_text(body)
    reader = Reader(tenant, arrived_at, specversion_needed=media_type in (CLOUDEVENT, CLOUDEVENTS_BATCH))
    found = _splitter(media_type, body)(body)
    if len(found) > limits.events_max:
        raise TooManyEvents(
            f"a request holds at most {limits.events_max} events",
            events_max=limits.events_max,
            remedy="Send them in several requests; what is sent twice is counted once.",
        )
    events: list[Event] = []
    for start in range(0, len(found), TURN_EVENTS):
        events += [reader.read(raw) for raw in found[start : start + TURN_EVENTS]]
        if len(found) > TURN_EVENTS:
            await asyncio.sleep(0)
    return events


def _check_text(body: bytes) -> None:
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


async def _body(request: Request) -> bytes:
    """How much may come is bounded before us, how long it may take is not."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.body()
    except TimeoutError:
        raise RequestTimedOut(f"the body did not arrive within {BODY_TIMEOUT_S:g} seconds") from None


async def _unpacked(request: Request, body: bytes, bytes_max: int) -> bytes:
    """Unpacked piece by piece, so that a small body that unpacks to a huge one is refused in time."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise UnsupportedMedia("only gzip can be unpacked here", remedy="Send it with gzip, or as it is.")
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    pieces: list[bytes] = []
    length = 0
    rest = body
    try:
        while rest and not unpacker.eof:
            pieces.append(unpacker.decompress(rest, PIECE_BYTES))
            rest = unpacker.unconsumed_tail
            length += len(pieces[-1])
            if length > bytes_max:
                raise BodyTooLarge(
                    f"the body unpacks to more than {bytes_max} bytes",
                    bytes_max=bytes_max,
                    remedy="Send it in smaller parts.",
                )
            await asyncio.sleep(0)
    except zlib.error:
        raise BodyMalformed("the body is not gzip") from None
    if not unpacker.eof or unpacker.unused_data:
        raise BodyMalformed("the body is not one whole gzip member")
    return b"".join(pieces)
