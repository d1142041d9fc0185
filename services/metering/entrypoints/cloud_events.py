"""CloudEvents as they arrive. Every event of a batch is read by itself, so that a bad one spoils no other.

Almost all take the fast way: one typed decode, a few cheap checks, one canonical encode. Whatever is unusual
about an event sends it the careful way, which accepts the same events and finds all that is wrong with others.
Source: CloudEvents 1.0.2: JSON format, JSON batch format, HTTP protocol binding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple
from urllib.parse import unquote

import msgspec

from libs.common.web.problem import BadRequest
from services.metering.domain.counter import READING_EVENT_TYPE
from services.metering.domain.usage_event import OWN_SOURCES, MalformedEvent, Reason, UsageEvent
from services.metering.entrypoints.event_flaws import (
    BYTES_MAX,
    CONTROL,
    DEPTH_MAX,
    REASONS_MAX,
    SURELY_SHORT,
    check_version,
    data_flaws,
    load_json,
    media_flaws,
    read_attribute,
    read_time,
    too_deep,
)
from services.metering.entrypoints.exact_numbers import INTEGER_BOUND, NumberTooLong, exact

EVENT_BYTES_MAX = 262_144
_REMEDY = "Send one event as a JSON object, an array of them, or one a line as application/x-ndjson."


class UnreadableEvents(BadRequest):
    """Not JSON, or neither an event nor a list of events."""

    code: ClassVar[str] = "unreadable_events"
    title: ClassVar[str] = "The body holds no events"


class _Event(msgspec.Struct, gc=False):
    """What the fast way reads. Extension attributes are allowed, and not kept."""

    id: str
    source: str
    type: str
    subject: str
    specversion: str | None = None
    time: datetime | None = None
    datacontenttype: str | None = None
    data_base64: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data: Any = None


_READ = msgspec.json.Decoder(_Event, float_hook=exact)
_READ_MANY = msgspec.json.Decoder(list[_Event], float_hook=exact)
_READ_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_UNUSUAL = (NumberTooLong, msgspec.MsgspecError, ValueError, RecursionError, OverflowError)
_WRITE = msgspec.json.Encoder(order="sorted", decimal_format="number")


class Reader(NamedTuple):
    """Reads the events of one request. `specversion_needed` says whether its media type promises CloudEvents."""

    tenant: str
    arrived_at: datetime
    specversion_needed: bool

    def read(self, raw: bytes) -> UsageEvent | MalformedEvent:
        """One event from its JSON text, which is UTF-8."""
        return self.read_usual(raw) or self._read_carefully(raw)

    def read_usual(self, raw: bytes) -> UsageEvent | None:
        """None when it needs a careful look: at its text, or at whether it is an event at all."""
        try:
            event = _READ.decode(raw)
            if (
                self._is_usual(event, escapes=b"\\" in raw)
                and len(raw) <= EVENT_BYTES_MAX
                and b"\\u" not in raw
            ):
                return self._made_of(event, None if event.data is None else _WRITE.encode(event.data))
        except _UNUSUAL:
            pass
        return None

    def read_array(self, array: bytes) -> list[UsageEvent | MalformedEvent]:
        """The events of a JSON array, which is UTF-8 and no longer than one event may be. Raises: UnreadableEvents."""
        try:
            events = _READ_MANY.decode(array)
            written = _WRITE.encode_lines([event.data for event in events]).split(b"\n")
        except _UNUSUAL:
            return [self.read(raw) for raw in split_array(array)]
        escapes = b"\\" in array
        if escapes and b"\\u" in array:
            return [self.read(raw) for raw in split_array(array)]
        raws: Sequence[bytes] = ()
        found: list[UsageEvent | MalformedEvent] = []
        for place, event in enumerate(events):
            try:
                if self._is_usual(event, escapes=escapes):
                    found.append(self._made_of(event, None if event.data is None else written[place]))
                    continue
            except OverflowError:  # an instant that has no place in UTC
                pass
            raws = raws or split_array(array)
            found.append(self._read_carefully(raws[place]))
        return found

    def _is_usual(self, event: _Event, *, escapes: bool) -> bool:
        """Whether nothing in it needs the careful way. `escapes`: whether its text holds a backslash."""
        version, time = event.specversion, event.time
        return (
            (version == "1.0" or (version is None and not self.specversion_needed))
            and event.data_base64 is msgspec.UNSET
            and (event.datacontenttype is None or event.datacontenttype == "application/json")
            and 0 < len(event.id) <= SURELY_SHORT
            and 0 < len(event.type) <= SURELY_SHORT
            and 0 < len(event.source) <= SURELY_SHORT
            and 0 < len(event.subject) <= SURELY_SHORT
            and (time is None or time.tzinfo is not None)
            and not (escapes and _has_control(event))
            and not event.source.startswith(OWN_SOURCES)
            and not event.type.startswith(READING_EVENT_TYPE)
            and _fits(event.data, 1)
        )

    def _made_of(self, event: _Event, data_json: bytes | None) -> UsageEvent:
        time = event.time
        if time is not None and time.tzinfo is not UTC:
            time = time.astimezone(UTC)
        return UsageEvent(
            self.tenant,
            event.source,
            event.id,
            event.type,
            event.subject,
            time,
            self.arrived_at,
            event.data,
            data_json,
        )

    def _read_carefully(self, raw: bytes) -> UsageEvent | MalformedEvent:
        text = raw.decode("utf-8", "replace")
        if len(raw) > EVENT_BYTES_MAX:
            return _malformed([Reason("event_too_long", "", f"has more than {EVENT_BYTES_MAX} bytes")], text)
        try:
            given = load_json(text)
        except RecursionError:
            return _malformed([too_deep("")], text)
        except ValueError:
            return _malformed([Reason("not_json", "", "is not valid JSON")], text)
        if not isinstance(given, dict):
            return _malformed([Reason("not_an_object", "", "an event is a JSON object")], text)
        return self.read_attributes(given, text)

    def read_attributes(self, given: Mapping[str, Any], text: str) -> UsageEvent | MalformedEvent:
        """The same from attributes and data, decoded; `text` is what to show of it if it is malformed."""
        reasons: list[Reason] = []
        named = {name: read_attribute(given, name, reasons) for name in BYTES_MAX}
        check_version(given, self.specversion_needed, reasons)
        time = read_time(given, reasons)
        data = given.get("data")
        flaws = data_flaws(data, ("data",), 1) or media_flaws(given)
        reasons += flaws
        if not reasons:
            source, event_id = str(named["source"]), str(named["id"])
            return self._made(source, event_id, str(named["type"]), str(named["subject"]), time, data)
        return MalformedEvent(
            reasons=tuple(reasons[:REASONS_MAX]),
            payload=_canonical(given, text),
            event_id=named["id"],
            source=named["source"],
            type=named["type"],
            subject=named["subject"],
            data=data,
            data_readable=not flaws,
        )

    def _made(
        self, source: str, event_id: str, type: str, subject: str, time: datetime | None, data: Any
    ) -> UsageEvent:
        return UsageEvent(
            tenant=self.tenant,
            source=source,
            event_id=event_id,
            type=type,
            subject=subject,
            time=time,
            arrived_at=self.arrived_at,
            data=data,
            data_json=None if data is None else _WRITE.encode(data),
        )


class UnreadArray(Sequence[UsageEvent | MalformedEvent]):
    """The events of a JSON array, decoded when somebody first goes over them: what he then does finds them at hand.

    Raises: UnreadableEvents, when it is made.
    """

    __slots__ = ("_array", "_events", "_length", "_reader")

    def __init__(self, reader: Reader, array: bytes) -> None:
        self._reader, self._array = reader, array
        self._length = len(_split(array))
        self._events: Sequence[UsageEvent | MalformedEvent] | None = None

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[UsageEvent | MalformedEvent]:
        return iter(self._read())

    def __getitem__(self, place: Any) -> Any:
        return self._read()[place]

    def _read(self) -> Sequence[UsageEvent | MalformedEvent]:
        if self._events is None:
            self._events, self._array = self._reader.read_array(self._array), b""
        return self._events


def split_array(body: bytes) -> Sequence[bytes]:
    """The events of a JSON array, unread. Raises: UnreadableEvents."""
    return [bytes(raw) for raw in _split(body)]


def _split(body: bytes) -> Sequence[msgspec.Raw]:
    try:
        return _READ_LIST.decode(body)
    except RecursionError:
        raise UnreadableEvents("the body is nested too deeply") from None
    except msgspec.MsgspecError as error:
        raise UnreadableEvents(f"the body is not a JSON array: {_told(error)}", remedy=_REMEDY) from None


def split_object(body: bytes) -> Sequence[bytes]:
    """The one event of a body that is a JSON object. Raises: UnreadableEvents."""
    try:
        msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except RecursionError:
        raise UnreadableEvents("the body is nested too deeply") from None
    except msgspec.MsgspecError as error:
        raise UnreadableEvents(f"the body is not a JSON object: {_told(error)}", remedy=_REMEDY) from None
    return [body]


def split_lines(body: bytes) -> Sequence[bytes]:
    """One event a line; empty lines are none. A line that is no JSON is a bad event, not a bad body."""
    return [line for line in body.split(b"\n") if line.strip()]


def attributes_from_headers(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """An event in binary mode: attributes in `ce-` headers, percent-encoded, the data in the body.

    Raises: UnreadableEvents when the body is not JSON.
    """
    given: dict[str, Any] = {
        name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")
    }
    given.pop("data", None)
    if body.strip():
        try:
            given["data"] = load_json(body)
        except (ValueError, RecursionError):
            raise UnreadableEvents("in binary mode the body is the event's data, as JSON") from None
    return given


def _has_control(event: _Event) -> bool:
    return any(CONTROL.search(text) for text in (event.id, event.source, event.type, event.subject))


def _fits(data: Any, depth: int) -> bool:
    """Whether nothing in the data needs the careful way. Strings were looked at as bytes."""
    kind = type(data)
    if kind is dict:
        data = data.values()
    elif kind is not list:
        return kind is not int or -INTEGER_BOUND < data < INTEGER_BOUND
    for value in data:
        kind = type(value)
        if kind is dict or kind is list:
            if depth >= DEPTH_MAX or not _fits(value, depth + 1):
                return False
        elif kind is int and not -INTEGER_BOUND < value < INTEGER_BOUND:
            return False
    return True


def _canonical(given: Mapping[str, Any], text: str) -> str:
    """One spelling for a malformed event too, so that it is kept once; its own when it has none."""
    try:
        return _WRITE.encode(given).decode()
    except (TypeError, ValueError, RecursionError):
        return text


def _malformed(reasons: Sequence[Reason], text: str) -> MalformedEvent:
    return MalformedEvent(reasons=tuple(reasons), payload=text)


def _told(error: Exception) -> str:
    return (
        str(error)
        .removeprefix("JSON is malformed: ")
        .replace("Input data was truncated", "it ends too early")
    )
