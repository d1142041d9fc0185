"""CloudEvents as they arrive. Every event of a batch is read by itself, so that a bad one spoils no other.

Almost all take the fast way: one typed decode, a few cheap checks, one canonical encode. Whatever is unusual
about an event sends it the careful way, which accepts the same events and finds all that is wrong with others.
Source: CloudEvents 1.0.2: JSON format, JSON batch format, HTTP protocol binding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any, ClassVar, NoReturn
from urllib.parse import unquote

import msgspec

from libs.common.web.problem import BadRequest
from services.metering.domain.json_pointer import to_pointer
from services.metering.domain.measurement import DIGITS_MAX
from services.metering.domain.usage_event import (
    ID_BYTES_MAX,
    SOURCE_BYTES_MAX,
    SUBJECT_BYTES_MAX,
    TYPE_BYTES_MAX,
    MalformedEvent,
    Reason,
    UsageEvent,
)

EVENT_BYTES_MAX = 262_144
DEPTH_MAX = 32
REASONS_MAX = 20

_BYTES_MAX = {
    "id": ID_BYTES_MAX,
    "source": SOURCE_BYTES_MAX,
    "type": TYPE_BYTES_MAX,
    "subject": SUBJECT_BYTES_MAX,
}
_SURELY_SHORT = 64  # characters of at most four bytes each: no need to count those
_INTEGER_BOUND = 10**DIGITS_MAX
_WIDE = Context(prec=DIGITS_MAX)
_CONTROL = re.compile(r"[\x00-\x1f]")
_JSON_MEDIA = re.compile(r"application/(?:[a-z0-9.-]+\+)?json(?:\s*;.*)?", re.IGNORECASE)


class UnreadableEvents(BadRequest):
    """Not JSON, or neither an event nor a list of events."""

    code: ClassVar[str] = "unreadable_events"
    title: ClassVar[str] = "The body holds no events"


class _Unusual(Exception):
    """The fast way gives up: the careful one is to say what it is."""


class _Event(msgspec.Struct):
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


def _exact(text: str) -> int | Decimal:
    """A JSON number with a point or an exponent, exactly, in its one spelling: 1.50 is 1.5, and 1e2 is 100."""
    number = Decimal(text)
    if len(text) > DIGITS_MAX or "e" in text or "E" in text:
        _, digits, exponent = number.as_tuple()
        assert isinstance(exponent, int), "JSON has neither NaN nor infinity"
        if len(digits) > DIGITS_MAX or exponent < -DIGITS_MAX or number.adjusted() >= DIGITS_MAX:
            raise _Unusual
    whole = int(number)
    return whole if whole == number else number.normalize(_WIDE)


_READ = msgspec.json.Decoder(_Event, float_hook=_exact)
_READ_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_WRITE = msgspec.json.Encoder(order="sorted", decimal_format="number")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the events of one request. `specversion_needed` says whether its media type promises CloudEvents."""

    tenant: str
    arrived_at: datetime
    specversion_needed: bool

    def read(self, raw: bytes) -> UsageEvent | MalformedEvent:
        """One event from its JSON text, which is UTF-8."""
        try:
            return self._read_fast(raw)
        except (_Unusual, msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
            return self._read_carefully(raw)

    def _read_fast(self, raw: bytes) -> UsageEvent:
        event = _READ.decode(raw)
        version = event.specversion
        if (
            (version != "1.0" and (version is not None or self.specversion_needed))
            or event.data_base64 is not msgspec.UNSET
            or (event.datacontenttype is not None and event.datacontenttype != "application/json")
            or not (0 < len(event.id) <= _SURELY_SHORT and 0 < len(event.type) <= _SURELY_SHORT)
            or not (0 < len(event.source) <= _SURELY_SHORT and 0 < len(event.subject) <= _SURELY_SHORT)
            or len(raw) > EVENT_BYTES_MAX
            or (b"\\" in raw and (b"\\u" in raw or _has_control(event)))
            or not _fits(event.data, 1)
        ):
            raise _Unusual
        time = event.time
        if time is not None and time.tzinfo is not UTC:
            if time.tzinfo is None:
                raise _Unusual
            time = time.astimezone(UTC)
        return self._made(event.source, event.id, event.type, event.subject, time, event.data)

    def _read_carefully(self, raw: bytes) -> UsageEvent | MalformedEvent:
        text = raw.decode("utf-8", "replace")
        if len(raw) > EVENT_BYTES_MAX:
            return _malformed([Reason("event_too_long", "", f"has more than {EVENT_BYTES_MAX} bytes")], text)
        try:
            given = json.loads(
                text, parse_int=_integer, parse_float=_decimal, parse_constant=_refuse_constant
            )
        except RecursionError:
            return _malformed([_too_deep("")], text)
        except ValueError:
            return _malformed([Reason("not_json", "", "is not valid JSON")], text)
        if not isinstance(given, dict):
            return _malformed([Reason("not_an_object", "", "an event is a JSON object")], text)
        return self.read_attributes(given, text)

    def read_attributes(self, given: Mapping[str, Any], text: str) -> UsageEvent | MalformedEvent:
        """The same from attributes and data, decoded; `text` is what to show of it if it is malformed."""
        reasons: list[Reason] = []
        named = {name: _attribute(given, name, reasons) for name in _BYTES_MAX}
        _check_version(given, self.specversion_needed, reasons)
        time = _time(given, reasons)
        data = given.get("data")
        flaws = _flaws(data, ("data",), 1) or _unsuitable(given)
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


def split_array(body: bytes) -> Sequence[bytes]:
    """The events of a JSON array, unread. Raises: UnreadableEvents."""
    try:
        return [bytes(raw) for raw in _READ_LIST.decode(body)]
    except RecursionError:
        raise UnreadableEvents("the body is nested too deeply") from None
    except msgspec.MsgspecError as error:
        raise UnreadableEvents(f"the body is not a JSON array: {_told(error)}") from None


def split_object(body: bytes) -> Sequence[bytes]:
    """The one event of a body that is a JSON object. Raises: UnreadableEvents."""
    try:
        msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except RecursionError:
        raise UnreadableEvents("the body is nested too deeply") from None
    except msgspec.MsgspecError as error:
        raise UnreadableEvents(f"the body is not a JSON object: {_told(error)}") from None
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
            given["data"] = json.loads(
                body, parse_int=_integer, parse_float=_decimal, parse_constant=_refuse_constant
            )
        except (ValueError, RecursionError):
            raise UnreadableEvents("in binary mode the body is the event's data, as JSON") from None
    return given


def _has_control(event: _Event) -> bool:
    return any(_CONTROL.search(text) for text in (event.id, event.source, event.type, event.subject))


class _TooLong:
    """Stands where a number with too many digits stood, until its place is told."""


_TOO_LONG = _TooLong()


def _integer(text: str) -> int | _TooLong:
    return int(text) if len(text.lstrip("-")) <= DIGITS_MAX else _TOO_LONG


def _decimal(text: str) -> int | Decimal | _TooLong:
    try:
        return _exact(text)
    except _Unusual:
        return _TOO_LONG


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _fits(data: Any, depth: int) -> bool:
    """Whether nothing in the data needs the careful way. Strings were looked at as bytes."""
    kind = type(data)
    if kind is dict:
        data = data.values()
    elif kind is not list:
        return kind is not int or -_INTEGER_BOUND < data < _INTEGER_BOUND
    for value in data:
        kind = type(value)
        if kind is dict or kind is list:
            if depth >= DEPTH_MAX or not _fits(value, depth + 1):
                return False
        elif kind is int and not -_INTEGER_BOUND < value < _INTEGER_BOUND:
            return False
    return True


def _attribute(given: Mapping[str, Any], name: str, reasons: list[Reason]) -> str | None:
    """An attribute that must be there; None when it is not, or cannot be one. Null counts as not there."""
    value, pointer = given.get(name), f"/{name}"
    bytes_max = _BYTES_MAX[name]
    if value is None:
        reasons.append(Reason(f"{name}_missing", pointer, f"every event has a {name}"))
    elif not isinstance(value, str):
        reasons.append(Reason(f"{name}_not_text", pointer, "must be a string"))
    elif not value:
        reasons.append(Reason(f"{name}_empty", pointer, "must not be empty"))
    elif _CONTROL.search(value) or not _is_unicode(value):
        reasons.append(Reason(f"{name}_not_printable", pointer, "must not hold control characters"))
    elif len(value) > _SURELY_SHORT and len(value.encode()) > bytes_max:
        reasons.append(Reason(f"{name}_too_long", pointer, f"has more than {bytes_max} bytes"))
    else:
        return value
    return None


def _check_version(given: Mapping[str, Any], needed: bool, reasons: list[Reason]) -> None:
    version = given.get("specversion")
    if version is None and needed:
        reasons.append(Reason("specversion_missing", "/specversion", 'must be "1.0"'))
    elif version is not None and version != "1.0":
        reasons.append(Reason("specversion_unknown", "/specversion", 'must be "1.0"'))


def _time(given: Mapping[str, Any], reasons: list[Reason]) -> datetime | None:
    """RFC 3339, in UTC from here on. Absent or null: the event happens when it arrives."""
    value = given.get("time")
    if value is None:
        return None
    try:
        time = msgspec.convert(value, datetime)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        pass
    told = 'must be an instant with its offset, such as "2025-06-01T12:00:00Z" (RFC 3339)'
    reasons.append(Reason("time_malformed", "/time", told))
    return None


def _unsuitable(given: Mapping[str, Any]) -> list[Reason]:
    """Data that is not JSON cannot be measured."""
    media = given.get("datacontenttype")
    if given.get("data_base64") is not None:
        return [Reason("data_not_json", "/data_base64", "data must be JSON")]
    if media is not None and not (isinstance(media, str) and _JSON_MEDIA.fullmatch(media)):
        return [Reason("data_not_json", "/datacontenttype", "must be application/json")]
    return []


def _flaws(data: Any, path: tuple[str, ...], depth: int) -> list[Reason]:
    """What of the data cannot be stored exactly, and where."""
    if data is _TOO_LONG:
        told = f"has more than {DIGITS_MAX} digits when it is written out"
        return [Reason("number_too_long", to_pointer(path), told)]
    if isinstance(data, str):
        return [] if _is_storable(data) else [_not_storable(path)]
    if not isinstance(data, dict | list):
        return []
    if depth > DEPTH_MAX:
        return [_too_deep(to_pointer(path[:DEPTH_MAX]))]
    found: list[Reason] = []
    for name, value in data.items() if isinstance(data, dict) else enumerate(data):
        if isinstance(name, str) and not _is_storable(name):
            found.append(_not_storable(path))
        elif not isinstance(value, int | Decimal | None):
            found += _flaws(value, (*path, str(name)), depth + 1)
        if len(found) >= REASONS_MAX:
            break
    return found


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_storable(text: str) -> bool:
    return "\0" not in text and (text.isascii() or _is_unicode(text))


def _not_storable(path: tuple[str, ...]) -> Reason:
    return Reason("text_not_storable", to_pointer(path), "text must not hold NUL nor half a surrogate pair")


def _too_deep(pointer: str) -> Reason:
    return Reason("too_deep", pointer, f"is nested more than {DEPTH_MAX} levels deep")


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
