"""Usage events on their way through the usage topic: requests cut into records, and records read again.

A record holds those events of one request that go to one partition, in a media type of our own: each event with
its identity, its time in microseconds, and its data in the one canonical spelling, which is what is stored in the
end. Tenant and trace travel in the headers. Who may write to the topic is trusted with all of it, as on any topic
of ours. Single CloudEvents in binary mode (CloudEvents 1.0, Kafka protocol binding) are read too, from whoever
brings them onto the topic with `ce_tenant`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec

from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.ids import NAMESPACE
from libs.common.messaging.bus import Delivery, Record
from libs.common.messaging.handlers import UnreadableMessage
from services.metering.application.ingest_usage_events import UsageBatch
from services.metering.application.settle_usage_parts import UsagePart
from services.metering.domain.usage_event import EPOCH, MICROSECOND, MalformedEvent, Reason, UsageEvent
from services.metering.entrypoints.cloud_events import Reader
from services.metering.entrypoints.event_flaws import CONTROL, is_json_media, load_json
from services.metering.entrypoints.exact_numbers import NumberTooLong, exact

MEDIA_TYPE = "application/vnd.perennial.usage-batch+json"
RECORD_TYPE = "perennial.metering.usage.batch"
SOURCE = "/perennial/metering"
RECORD_BYTES_MAX = 1_000_000  # of a record with several events; one event may be longer

_NOT_OF_THE_EVENT = ("tenant", "traceparent", "partitionkey", "aggregateversion", "testclock")
_NULL = msgspec.Raw(b"null")

Event = UsageEvent | MalformedEvent


class _Sound(msgspec.Struct, array_like=True):
    """`time_us`: microseconds since 1970; None when the event has no time and happened as it arrived."""

    place: int
    source: str
    event_id: str
    type: str
    subject: str
    time_us: int | None
    data: msgspec.Raw


class _Refused(msgspec.Struct, array_like=True):
    place: int
    reasons: list[tuple[str, str, str]]
    payload: str
    payload_digest: str | None
    event_id: str | None
    source: str | None
    type: str | None
    subject: str | None
    data_readable: bool
    data: msgspec.Raw


class _Batch(msgspec.Struct):
    batch_id: UUID
    part: int
    batch_event_count: int
    actor: str
    arrived_us: int
    events: list[_Sound]
    refused: list[_Refused]


_WRITE = msgspec.json.Encoder(order="sorted", decimal_format="number")
_READ = msgspec.json.Decoder(_Batch)
_READ_DATA = msgspec.json.Decoder(float_hook=exact)


@dataclass(slots=True)
class _Pile:
    """What goes into one record, and how many bytes that will be at most."""

    partition: int
    events: list[_Sound]
    refused: list[_Refused]
    byte_count: int


def partition_of(tenant: str, subject: str, partitions: int) -> int:
    """Where the events of a subject go. The same in every process, so that they keep their order."""
    return zlib.crc32(f"{tenant}/{subject}".encode()) % partitions


def records_of(tenant: str, batch: UsageBatch, *, partitions: int, traceparent: str | None) -> list[Record]:
    """The request as records: one for each partition that it reaches, several where one would be too long."""
    open_piles: dict[int, _Pile] = {}
    piles: list[_Pile] = []
    anywhere = partition_of(tenant, batch.id, partitions)
    for place, event in enumerate(batch.events):
        if isinstance(event, UsageEvent):
            partition = partition_of(tenant, event.subject, partitions)
            written: _Sound | _Refused = _sound(place, event)
            byte_count = _bytes_of(event)
        else:
            partition = anywhere
            written = _refused(place, event)
            byte_count = len(_WRITE.encode(written))
        pile = open_piles.get(partition)
        if pile is None or pile.byte_count + byte_count > RECORD_BYTES_MAX:
            pile = open_piles[partition] = _Pile(partition, [], [], 0)
            piles.append(pile)
        pile.byte_count += byte_count
        if isinstance(written, _Sound):
            pile.events.append(written)
        else:
            pile.refused.append(written)
    return [_record(tenant, batch, number, pile, traceparent) for number, pile in enumerate(piles)]


def _record(tenant: str, batch: UsageBatch, number: int, pile: _Pile, traceparent: str | None) -> Record:
    told = _Batch(
        batch_id=UUID(batch.id),
        part=number,
        batch_event_count=len(batch.events),
        actor=batch.actor,
        arrived_us=(batch.arrived_at - EPOCH) // MICROSECOND,
        events=pile.events,
        refused=pile.refused,
    )
    headers = {
        "content-type": MEDIA_TYPE,
        "ce_id": f"{batch.id}/{number}",
        "ce_type": RECORD_TYPE,
        "ce_source": SOURCE,
        "ce_tenant": tenant,
    }
    if traceparent is not None:
        headers["traceparent"] = traceparent
    return Record(USAGE_TOPIC, f"{tenant}/{batch.id}", headers, _WRITE.encode(told), partition=pile.partition)


def _sound(place: int, event: UsageEvent) -> _Sound:
    time_us = None if event.time is None else event.occurred_us
    data = _NULL if event.data_json is None else msgspec.Raw(event.data_json)
    return _Sound(place, event.source, event.event_id, event.type, event.subject, time_us, data)


def _refused(place: int, event: MalformedEvent) -> _Refused:
    return _Refused(
        place,
        [(reason.code, reason.pointer, reason.detail) for reason in event.reasons],
        event.payload,
        event.payload_digest,
        event.event_id,
        event.source,
        event.type,
        event.subject,
        event.data_readable,
        msgspec.Raw(_WRITE.encode(event.data)) if event.data_readable else _NULL,
    )


def _bytes_of(event: UsageEvent) -> int:
    """At most: a character takes four bytes, or two where it is escaped."""
    characters = len(event.source) + len(event.event_id) + len(event.type) + len(event.subject)
    return 64 + 4 * characters + len(event.data_json or b"null")


def read_part(delivery: Delivery, *, now: datetime) -> tuple[str, UsagePart]:
    """The tenant of a record, and its events; what has no time of arrival arrives `now`. Raises: UnreadableMessage."""
    tenant = _tenant(delivery.headers)
    media_type = delivery.headers.get("content-type", "")
    if media_type == MEDIA_TYPE:
        return tenant, _read_batch(tenant, delivery.value)
    if "ce_specversion" in delivery.headers and is_json_media(media_type or "application/json"):
        return tenant, _read_single(tenant, delivery, now)
    raise UnreadableMessage("neither a batch of usage events nor a CloudEvent", content_type=media_type[:100])


def _tenant(headers: Mapping[str, str]) -> str:
    try:
        return str(UUID(headers["ce_tenant"]))
    except (KeyError, ValueError):
        raise UnreadableMessage("the header ce_tenant is missing or is no UUID") from None


def _read_batch(tenant: str, value: bytes) -> UsagePart:
    try:
        told = _READ.decode(value)
        arrived_at = EPOCH + timedelta(microseconds=told.arrived_us)
        events: list[Event] = [_read_sound(tenant, sound, arrived_at) for sound in told.events]
        events += [_read_refused(refused) for refused in told.refused]
        if b"\\" in value:
            _refuse_control_characters(told.events)
    except (msgspec.MsgspecError, NumberTooLong, OverflowError, RecursionError, ValueError) as error:
        raise UnreadableMessage("the batch of usage events is malformed", found=str(error)[:200]) from error
    places = [sound.place for sound in told.events] + [refused.place for refused in told.refused]
    batch = UsageBatch(str(told.batch_id), told.actor, arrived_at, events)
    return UsagePart(batch, told.part, told.batch_event_count, places)


def _read_sound(tenant: str, sound: _Sound, arrived_at: datetime) -> UsageEvent:
    data_json = bytes(sound.data)
    has_data = data_json != b"null"
    return UsageEvent(
        tenant=tenant,
        source=sound.source,
        event_id=sound.event_id,
        type=sound.type,
        subject=sound.subject,
        time=None if sound.time_us is None else EPOCH + timedelta(microseconds=sound.time_us),
        arrived_at=arrived_at,
        data=_READ_DATA.decode(data_json) if has_data else None,
        data_json=data_json if has_data else None,
    )


def _read_refused(refused: _Refused) -> MalformedEvent:
    return MalformedEvent(
        reasons=tuple(Reason(*reason) for reason in refused.reasons),
        payload=refused.payload,
        event_id=refused.event_id,
        source=refused.source,
        type=refused.type,
        subject=refused.subject,
        data=_READ_DATA.decode(refused.data),
        data_readable=refused.data_readable,
        payload_digest=refused.payload_digest,
    )


def _refuse_control_characters(events: Iterable[_Sound]) -> None:
    """No event of ours has any, and columns of events are cut at one."""
    for sound in events:
        for told in (sound.source, sound.event_id, sound.type, sound.subject):
            if CONTROL.search(told):
                raise ValueError("an event holds control characters")


def _read_single(tenant: str, delivery: Delivery, now: datetime) -> UsagePart:
    """A CloudEvent whose attributes are malformed is an event that is refused, as it is over HTTP."""
    given: dict[str, Any] = {
        name.removeprefix("ce_"): value
        for name, value in delivery.headers.items()
        if name.startswith("ce_") and name.removeprefix("ce_") not in (*_NOT_OF_THE_EVENT, "data")
    }
    if delivery.value.strip():
        try:
            given["data"] = load_json(delivery.value.decode())
        except (ValueError, RecursionError) as error:
            raise UnreadableMessage("the data of the CloudEvent is not JSON") from error
    event = Reader(tenant, now, specversion_needed=True).read_attributes(given, "")
    place = f"{delivery.topic}/{delivery.partition}/{delivery.offset}"
    batch = UsageBatch(str(uuid5(NAMESPACE, place)), f"topic:{delivery.topic}", now, [event])
    return UsagePart(batch, 0, 1, [0])


def traceparents_of(deliveries: Sequence[Delivery]) -> list[str | None]:
    return [delivery.headers.get("traceparent") for delivery in deliveries]
