"""Reading CloudEvents: the fast way and the careful way accept the same events and make the same of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metering.domain.usage_event import MalformedEvent, UsageEvent
from services.metering.entrypoints.cloud_events import (
    Reader,
    UnreadableEvents,
    UnreadArray,
    split_array,
    split_lines,
    split_object,
)

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
READER = Reader("tenant", NOW, specversion_needed=True)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
names = st.one_of(st.text(max_size=70), st.sampled_from(["a", "", "a\n", "é" * 40]), st.none(), st.integers())
times = st.one_of(
    st.none(),
    st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
    st.sampled_from(["2025-01-01T00:00:00", "2025-01-01", "x", 5, "2025-01-01T00:00:00.123456789Z"]),
)


@given(
    id=names,
    source=names,
    subject=names,
    type=names,
    time=times,
    specversion=st.sampled_from(["1.0", "1.0", "1.0", "0.3", None, 1]),
    data=json_values,
    ascii=st.booleans(),
)
def test_the_fast_way_and_the_careful_way_agree(ascii: bool, **attributes: Any) -> None:
    raw = json.dumps(attributes, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    careful = told(READER._read_carefully(raw))
    assert told(READER.read(raw)) == careful
    assert [told(event) for event in UnreadArray(READER, b"[%b, %b]" % (raw, raw))] == [careful, careful]


def told(event: UsageEvent | MalformedEvent) -> Any:
    if isinstance(event, MalformedEvent):
        return event.reasons
    return (event.key, event.digest, event.occurred_at, event.type, event.subject, event.data_json)


@given(data=json_values, indent=st.sampled_from([None, 0, 3]), keys=st.randoms())
def test_the_spelling_of_a_payload_does_not_count(data: Any, indent: int | None, keys: Any) -> None:
    given = {"specversion": "1.0", "id": "a", "source": "s", "type": "t", "subject": "u", "data": data}
    order = list(given)
    keys.shuffle(order)
    respelled = json.dumps({name: given[name] for name in order}, indent=indent, ensure_ascii=False)
    one, other = (
        READER.read(json.dumps(given).encode()),
        READER.read(respelled.encode("utf-8", "surrogatepass")),
    )
    assert told(one) == told(other)


@pytest.mark.parametrize(
    ("spelled", "value"),
    [
        (b"1.50", Decimal("1.5")),
        (b"1e2", 100),
        (b"100.0", 100),
        (b"-0.0", 0),
        (b"1E-7", Decimal("1E-7")),
        (b"0." + b"0" * 37 + b"1", Decimal(10) ** -38),
        (b"99999999999999999999999999999999999999", 10**38 - 1),
        (b"9.9e37", 99 * 10**36),
    ],
)
def test_numbers_have_one_spelling(spelled: bytes, value: Any) -> None:
    event = READER.read(
        b'{"specversion":"1.0","id":"a","source":"s","type":"t","subject":"u","data":' + spelled + b"}"
    )
    assert isinstance(event, UsageEvent)
    assert (event.data, type(event.data)) == (value, type(value))
    again = READER._read_carefully(
        b'{"specversion":"1.0","id":"a","source":"s","type":"t","subject":"u","data":' + spelled + b"}"
    )
    assert told(again) == told(event)


@pytest.mark.parametrize(
    "spelled", [b"1e38", b"1e-39", b"1" * 39, b"1." + b"1" * 38, b"1e400", b"1e-999999999"]
)
def test_numbers_that_are_too_long_are_told_by_place(spelled: bytes) -> None:
    event = READER.read(
        b'{"specversion":"1.0","id":"a","source":"s","type":"t","subject":"u","data":{"x":['
        + spelled
        + b"]}}"
    )
    assert isinstance(event, MalformedEvent)
    assert [(r.code, r.pointer) for r in event.reasons] == [("number_too_long", "/data/x/0")]


def test_times_are_utc_to_the_microsecond() -> None:
    def read(time: str) -> datetime:
        event = READER.read(
            json.dumps(
                {"specversion": "1.0", "id": "a", "source": "s", "type": "t", "subject": "u", "time": time}
            ).encode()
        )
        assert isinstance(event, UsageEvent)
        return event.occurred_at

    at = datetime(2025, 1, 1, 22, 30, tzinfo=UTC)
    for spelled in ("2025-01-01T22:30:00Z", "2025-01-02T00:30:00+02:00", "2025-01-01t22:30:00.000z"):
        assert (read(spelled), read(spelled).tzinfo) == (at, UTC)
    assert read("2025-01-01T22:30:00.123456Z").microsecond == 123456


def test_bodies_are_cut_into_events() -> None:
    assert split_array(b' [ {"a":1} , 5 ] ') == [b'{"a":1}', b"5"]
    assert split_array(b"[]") == []
    assert split_object(b' {"a":1} ') == [b' {"a":1} ']
    assert split_lines(b'{"a":1}\r\n\n  \n{"b":2}') == [b'{"a":1}\r', b'{"b":2}']
    for split, body in (
        (split_array, b"{}"),
        (split_array, b"[1,]"),
        (split_object, b"[]"),
        (split_object, b""),
        (lambda body: UnreadArray(READER, body), b"{}"),
        (lambda body: UnreadArray(READER, body), b"[" * 100_000),
    ):
        with pytest.raises(UnreadableEvents):
            split(body)


def test_how_many_events_an_array_holds_is_known_before_it_is_read() -> None:
    good = b'{"specversion":"1.0","id":"a","source":"s","type":"t","subject":"u"}'
    array = UnreadArray(READER, b"[%b, 5, {}]" % good)
    assert len(array) == 3
    assert [isinstance(event, UsageEvent) for event in array] == [True, False, False]
    assert array[0] is next(iter(array)), "it is read once"


def test_a_control_character_never_reaches_the_store() -> None:
    """The store joins columns by the unit separator."""
    for text in ("\x1f", "\0", "a\nb"):
        for name in ("id", "source", "type", "subject"):
            given = {"specversion": "1.0", "id": "a", "source": "s", "type": "t", "subject": "u", name: text}
            assert isinstance(READER.read(json.dumps(given).encode()), MalformedEvent)
            assert isinstance(READER.read(msgspec.json.encode(given)), MalformedEvent)
    data = {"specversion": "1.0", "id": "a", "source": "s", "type": "t", "subject": "u", "data": "\x1f"}
    event = READER.read(json.dumps(data).encode())
    assert isinstance(event, UsageEvent)
    assert event.data_json == b'"\\u001f"'
