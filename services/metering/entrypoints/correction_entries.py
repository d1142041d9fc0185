"""The entries of a request that voids or amends usage, each read by itself, so that a bad one spoils no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import msgspec

from libs.common.web.problem import BadRequest
from services.metering.application.amend_usage_events import Amendment
from services.metering.application.void_and_store import Void
from services.metering.domain.usage_correction import REASON_LENGTH_MAX
from services.metering.domain.usage_event import MalformedEvent, Reason, UsageEvent
from services.metering.entrypoints.cloud_events import Reader
from services.metering.entrypoints.event_flaws import (
    CONTROL,
    REASONS_MAX,
    is_storable,
    load_json,
    read_attribute,
    too_deep,
)
from services.metering.entrypoints.usage_request import TooManyEvents

ENTRIES_MAX = 1_000
EVENT = "/event"

_READ = msgspec.json.Decoder(dict[str, msgspec.Raw])
_READ_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class EntriesMalformed(BadRequest):
    code: ClassVar[str] = "entries_malformed"
    title: ClassVar[str] = "The body does not hold what this route reads"


@dataclass(frozen=True, slots=True)
class MalformedVoid:
    """What was sent and is no void, with all that is wrong; pointers lead into the entry."""

    source: str | None
    event_id: str | None
    reasons: tuple[Reason, ...]


def read_voids(body: bytes, *, author: str) -> Sequence[Void | MalformedVoid]:
    """Raises: EntriesMalformed, TooManyEvents."""
    return [_read_void(raw, author) for raw in _split(body, "voids")]


def read_amendments(body: bytes, reader: Reader) -> Sequence[Amendment]:
    """An entry that cannot be carried out holds a malformed event. Raises: EntriesMalformed, TooManyEvents."""
    return [_read_amendment(raw, reader) for raw in _split(body, "amendments")]


def read_resubmission(body: bytes, reader: Reader) -> UsageEvent | MalformedEvent:
    """The event in the place of one that was refused. Raises: EntriesMalformed."""
    flaws: list[Reason] = []
    fields = _fields(body, ("event",), flaws)
    if flaws or fields is None or "event" not in fields:
        raise EntriesMalformed(
            'the body is no JSON object that holds an "event" and nothing else',
            remedy="Send the event as it is to be, or no body to send it as it was.",
        )
    return read_event(bytes(fields["event"]), reader)


def read_event(raw: bytes, reader: Reader) -> UsageEvent | MalformedEvent:
    """An event within an entry: its flaws point into the entry."""
    event = reader.read(raw)
    return event if isinstance(event, UsageEvent) else replace(event, reasons=within_event(event.reasons))


def within_event(reasons: Sequence[Reason]) -> tuple[Reason, ...]:
    return tuple(Reason(found.code, f"{EVENT}{found.pointer}", found.detail) for found in reasons)


def _split(body: bytes, name: str) -> Sequence[bytes]:
    try:
        given = _READ.decode(body)
        found = _READ_LIST.decode(given[name])
        if len(given) > 1:
            raise ValueError
    except (msgspec.MsgspecError, RecursionError, KeyError, ValueError):
        raise EntriesMalformed(
            f'the body is no JSON object that holds a list of "{name}" and nothing else',
            remedy=f'Send {{"{name}": […]}}, up to {ENTRIES_MAX} of them, each with its reason.',
        ) from None
    if not found:
        raise EntriesMalformed(
            f'the list of "{name}" is empty',
            pointer=f"/{name}",
            remedy=f"Send up to {ENTRIES_MAX} of them, each with its reason.",
        )
    if len(found) > ENTRIES_MAX:
        raise TooManyEvents(
            f"a request holds at most {ENTRIES_MAX} {name}",
            events_max=ENTRIES_MAX,
            remedy="Send them in several requests; what is corrected already stays as it is.",
        )
    return [bytes(raw) for raw in found]


def _read_void(raw: bytes, author: str) -> Void | MalformedVoid:
    flaws: list[Reason] = []
    fields = _fields(raw, ("source", "id", "reason"), flaws)
    if fields is None:
        return MalformedVoid(None, None, tuple(flaws))
    given = {name: _value(name, value, flaws) for name, value in fields.items()}
    source, event_id = read_attribute(given, "source", flaws), read_attribute(given, "id", flaws)
    reason = read_reason(given.get("reason"), flaws)
    if flaws or source is None or event_id is None:
        return MalformedVoid(source, event_id, tuple(flaws))
    return Void(source, event_id, reason, author)


def _read_amendment(raw: bytes, reader: Reader) -> Amendment:
    flaws: list[Reason] = []
    fields = _fields(raw, ("event", "reason"), flaws)
    if fields is None:
        return Amendment(MalformedEvent(tuple(flaws), ""), "")
    reason = read_reason(_value("reason", fields.get("reason", msgspec.Raw(b"null")), flaws), flaws)
    if "event" not in fields:
        flaws.append(Reason("event_missing", EVENT, "an amendment has the event as it is to be"))
        return Amendment(MalformedEvent(tuple(flaws), ""), reason)
    event = read_event(bytes(fields["event"]), reader)
    if flaws:
        event = _with_flaws(event, flaws)
    return Amendment(event, reason)


def _with_flaws(event: UsageEvent | MalformedEvent, flaws: Sequence[Reason]) -> MalformedEvent:
    """What meters say of the event is told as well, whatever is wrong beside it."""
    if isinstance(event, MalformedEvent):
        return replace(event, reasons=(*event.reasons, *flaws))
    return MalformedEvent(
        reasons=tuple(flaws),
        payload="",
        event_id=event.event_id,
        source=event.source,
        type=event.type,
        subject=event.subject,
        data=event.data,
        data_readable=True,
    )


def _fields(raw: bytes, known: Sequence[str], flaws: list[Reason]) -> Mapping[str, msgspec.Raw] | None:
    try:
        given = _READ.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        flaws.append(Reason("not_an_object", "", "an entry is a JSON object"))
        return None
    unknown = [name for name in given if name not in known]
    flaws += [
        Reason("field_unknown", "", f'knows no "{name[:50]}"' if is_storable(name) else "knows no such field")
        for name in unknown[:REASONS_MAX]
    ]
    return {name: value for name, value in given.items() if name in known}


def _value(name: str, raw: msgspec.Raw, flaws: list[Reason]) -> Any:
    try:
        return load_json(bytes(raw))
    except RecursionError:
        flaws.append(too_deep(f"/{name}"))
    except ValueError:
        flaws.append(Reason("not_json", f"/{name}", "is not valid JSON"))
    return None


def read_reason(value: Any, flaws: list[Reason]) -> str:
    """Why something is corrected, for those who look at it later: it must be said."""
    if isinstance(value, str) and value.strip() and len(value) <= REASON_LENGTH_MAX:
        if is_storable(value) and not CONTROL.search(value):
            return value
        flaws.append(Reason("reason_not_printable", "/reason", "must not hold control characters"))
    else:
        told = f"must be text of 1 to {REASON_LENGTH_MAX} characters that says why"
        flaws.append(Reason("reason_missing" if value is None else "reason_malformed", "/reason", told))
    return ""
