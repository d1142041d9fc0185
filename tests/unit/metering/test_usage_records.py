"""Events on their way through the usage topic arrive as they were sent: exact, whole, and each in one record."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.ids import new_uuid7
from libs.common.messaging.bus import Delivery, Record
from libs.common.messaging.handlers import UnreadableMessage
from services.metering.application.accept_usage_events import accept_usage_events
from services.metering.application.ingest_usage_events import UsageBatch
from services.metering.application.settle_usage_parts import UsagePart
from services.metering.domain.usage_event import (
    PAYLOAD_LENGTH_MAX,
    AcceptWindow,
    MalformedEvent,
    UsageEvent,
    digest_of_payload,
)
from services.metering.entrypoints.cloud_events import Reader
from services.metering.entrypoints.usage_records import (
    RECORD_BYTES_MAX,
    partition_of,
    read_part,
    records_of,
)

TENANT = str(uuid4())
NOW = datetime(2025, 6, 1, 12, 0, 0, 123_456, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SLOTS = [slot for slot in UsageEvent.__slots__ if slot != "arrived_at"]

_NUMBERS = st.one_of(
    st.integers(-(10**38) + 1, 10**38 - 1).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=-(10**20), max_value=10**20).map(
        str
    ),
    st.sampled_from(["1e-30", "1E+5", "-0.0", "0.00000000000000000000000000000000000001", "1.50"]),
)
_TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)
_NAMES = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=20)
_LEAVES = st.one_of(
    _NUMBERS, _TEXTS.map(lambda text: msgspec.json.encode(text).decode()), st.sampled_from(["true", "null"])
)
_DATA = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.dictionaries(_TEXTS, inner, max_size=3).map(
            lambda items: (
                "{" + ",".join(f"{msgspec.json.encode(k).decode()}:{v}" for k, v in items.items()) + "}"
            )
        ),
    ),
    max_leaves=6,
)


def raw_event(data: str | None, **attributes: Any) -> bytes:
    told = msgspec.json.encode(attributes).decode()
    return (told if data is None else f'{told[:-1]},"data":{data}}}').encode()


def an_event(n: int = 0, data: str | None = '{"minutes":1}', **changes: Any) -> bytes:
    given = {
        "id": f"e{n}",
        "source": "s",
        "type": "flight.landed",
        "subject": f"N{n}",
        "time": "2025-06-01T11:00:00Z",
    }
    return raw_event(data, **{**given, **changes})


def a_batch(*raws: bytes) -> UsageBatch:
    reader = Reader(TENANT, NOW, specversion_needed=False)
    return UsageBatch(str(new_uuid7()), "token:1", NOW, [reader.read(raw) for raw in raws])


def delivered(record: Record, **headers: str) -> Delivery:
    assert record.partition is not None
    return Delivery(
        record.topic, record.partition, 7, record.key, {**record.headers, **headers}, record.value
    )


def parts_of(batch: UsageBatch, partitions: int = 4) -> list[UsagePart]:
    found = [
        read_part(delivered(record), now=NOW)
        for record in records_of(TENANT, batch, partitions=partitions, traceparent=TRACE)
    ]
    assert {tenant for tenant, _ in found} <= {TENANT}
    return [part for _, part in found]


def by_place(parts: list[UsagePart]) -> dict[int, UsageEvent | MalformedEvent]:
    pairs = [pair for part in parts for pair in zip(part.places, part.batch.events, strict=True)]
    found = dict(pairs)
    assert len(found) == len(pairs), "each event travels once"
    return found


@given(
    st.lists(
        st.tuples(
            _NAMES,
            _NAMES,
            _NAMES,
            _NAMES,
            st.none() | _DATA,
            st.none() | st.datetimes(timezones=st.just(UTC)),
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 13),
)
def test_whatever_was_sent_arrives_as_it_was(events: list[tuple[Any, ...]], partitions: int) -> None:
    raws = []
    for id, source, kind, subject, data, time in events:
        attributes = {"id": id, "source": source, "type": kind, "subject": subject}
        raws.append(raw_event(data, **attributes, **({} if time is None else {"time": time})))
    batch = a_batch(*raws)
    arrived = by_place(parts_of(batch, partitions))
    assert sorted(arrived) == list(range(len(raws)))
    for place, sent in enumerate(batch.events):
        got = arrived[place]
        if isinstance(sent, MalformedEvent):
            assert got == sent
            continue
        assert isinstance(got, UsageEvent)
        for slot in SLOTS:
            assert getattr(got, slot) == getattr(sent, slot), slot
            assert type(getattr(got, slot)) is type(getattr(sent, slot))


def test_a_batch_makes_no_more_records_than_partitions_and_a_subject_stays_in_one() -> None:
    batch = a_batch(*(an_event(n, subject=f"N{n % 100}") for n in range(1_000)))
    records = records_of(TENANT, batch, partitions=12, traceparent=None)
    assert len(records) == 12
    assert len({record.headers["ce_id"] for record in records}) == 12
    for record in records:
        _, part = read_part(delivered(record), now=NOW)
        assert {partition_of(TENANT, str(event.subject), 12) for event in part.batch.events} == {
            record.partition
        }
        assert list(part.places) == sorted(part.places)
        assert (part.batch.id, part.batch.actor, part.batch.arrived_at) == (batch.id, "token:1", NOW)
        assert part.batch_event_count == 1_000


def test_subjects_are_spread_over_the_partitions() -> None:
    counted = Counter(partition_of(TENANT, f"N{n}", 12) for n in range(6_000))
    assert len(counted) == 12
    assert max(counted.values()) < 2 * min(counted.values())


def test_a_long_batch_is_cut_below_what_the_topic_takes() -> None:
    long = '"' + "x" * 200_000 + '"'
    batch = a_batch(
        *(an_event(n, long, subject="N1") for n in range(20)), *(b"{" * 250_000 for _ in range(3))
    )
    records = records_of(TENANT, batch, partitions=4, traceparent=None)
    assert max(len(record.value) for record in records) <= RECORD_BYTES_MAX + 1_000
    assert sorted(by_place(parts_of(batch))) == list(range(23))


def test_a_long_number_may_take_more_room_than_it_came_with_and_still_travels() -> None:
    numbers = "[" + ",".join(["1e37"] * 50_000) + "]"
    [part] = parts_of(a_batch(an_event(0, numbers)))
    assert part.batch.events[0].data == [10**37] * 50_000


def test_a_refused_event_keeps_its_reasons_and_what_meters_may_look_at() -> None:
    batch = a_batch(raw_event('{"minutes":1.5}', id="e", source="s", type="flight.landed"), b"no json")
    sent = accept_usage_events(batch, accept=AcceptWindow())
    assert [result.status for result in sent.results] == ["rejected", "rejected"]
    assert by_place(parts_of(sent.batch)) == dict(enumerate(batch.events))


def test_a_long_refused_payload_is_cut_and_still_the_same_reject() -> None:
    batch = a_batch(b'{"id": "' + b"\xc3\xa4" * 200_000)
    sent = accept_usage_events(batch, accept=AcceptWindow())
    [event] = by_place(parts_of(sent.batch)).values()
    whole = batch.events[0]
    assert isinstance(event, MalformedEvent)
    assert isinstance(whole, MalformedEvent)
    assert (len(event.payload), event.reasons) == (PAYLOAD_LENGTH_MAX, whole.reasons)
    assert event.payload_digest == digest_of_payload(whole.payload)


def test_what_lies_too_far_ahead_is_told_at_once_and_travels_as_refused() -> None:
    batch = a_batch(an_event(1, time="2025-06-02T11:00:00Z"), an_event(2))
    sent = accept_usage_events(batch, accept=AcceptWindow())
    assert [result.status for result in sent.results] == ["rejected", "accepted"]
    far, near = sent.batch.events
    assert isinstance(far, MalformedEvent)
    assert ([reason.code for reason in far.reasons], far.data, far.data_readable) == (
        ["time_in_future"],
        {"minutes": 1},
        True,
    )
    assert near is batch.events[1]


def test_the_trace_of_the_request_travels_along() -> None:
    [record] = records_of(TENANT, a_batch(an_event()), partitions=1, traceparent=TRACE)
    assert record.headers["traceparent"] == TRACE
    [record] = records_of(TENANT, a_batch(an_event()), partitions=1, traceparent=None)
    assert "traceparent" not in record.headers


def spoiled(**changes: Any) -> Delivery:
    [record] = records_of(TENANT, a_batch(an_event()), partitions=1, traceparent=None)
    told = msgspec.json.decode(record.value)
    value = msgspec.json.encode({**told, **changes})
    return Delivery(record.topic, 0, 0, record.key, record.headers, value)


@pytest.mark.parametrize(
    "changes",
    [
        {"events": None},
        {"events": [[0, "s", "e"]]},
        {"events": [[0, "s", "e\x1fe", "t", "n", None, {}]]},
        {"events": [[0, "s", "e", "t", "n", 10**18, {}]]},
        {"events": [[0, "s", "e", "t", "n", "soon", {}]]},
        {"batch_id": "no uuid"},
        {"arrived_us": 10**30},
        {"actor": 7},
    ],
)
def test_a_record_that_is_not_ours_is_unreadable(changes: dict[str, Any]) -> None:
    assert read_part(spoiled(), now=NOW)[0] == TENANT
    with pytest.raises(UnreadableMessage):
        read_part(spoiled(**changes), now=NOW)


@pytest.mark.parametrize(
    "headers", [{"ce_tenant": "nobody"}, {"content-type": "text/plain"}, {"content-type": "application/json"}]
)
def test_a_record_without_tenant_or_media_type_is_unreadable(headers: dict[str, str]) -> None:
    [record] = records_of(TENANT, a_batch(an_event()), partitions=1, traceparent=None)
    with pytest.raises(UnreadableMessage):
        read_part(delivered(record, **headers), now=NOW)


def test_a_single_cloud_event_is_read_as_over_http_and_its_batch_id_is_its_place() -> None:
    headers = {
        "ce_specversion": "1.0",
        "ce_id": "e0",
        "ce_source": "s",
        "ce_type": "flight.landed",
        "ce_subject": "N0",
        "ce_time": "2025-06-01T13:00:00+02:00",
        "ce_tenant": TENANT,
        "ce_partitionkey": "k",
        "content-type": "application/json; charset=utf-8",
    }
    delivery = Delivery("t", 1, 5, "k", headers, b'{"minutes": 1.0}')
    tenant, part = read_part(delivery, now=NOW)
    [event] = part.batch.events
    [same] = a_batch(an_event()).events
    assert tenant == TENANT
    assert isinstance(event, UsageEvent)
    assert isinstance(same, UsageEvent)
    assert (event.key, event.digest, event.occurred_at) == (same.key, same.digest, same.occurred_at)
    assert read_part(delivery, now=NOW)[1].id == part.id
    with pytest.raises(UnreadableMessage):
        read_part(Delivery("t", 1, 5, "k", headers, b"no json"), now=NOW)
