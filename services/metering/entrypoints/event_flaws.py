"""What is wrong with an event, all of it, and where: the careful look at one that is not plainly right."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn

import msgspec

from services.metering.domain.counter import READING_EVENT_TYPE
from services.metering.domain.json_pointer import to_pointer
from services.metering.domain.measurement import DIGITS_MAX
from services.metering.domain.usage_event import (
    ID_BYTES_MAX,
    OWN_SOURCES,
    SOURCE_BYTES_MAX,
    SUBJECT_BYTES_MAX,
    TYPE_BYTES_MAX,
    Reason,
)
from services.metering.entrypoints.exact_numbers import TOO_LONG, decimal, integer

DEPTH_MAX = 32
REASONS_MAX = 20
SURELY_SHORT = 64  # characters of at most four bytes each: no need to count those
CONTROL = re.compile(r"[\x00-\x1f]")

BYTES_MAX = {
    "id": ID_BYTES_MAX,
    "source": SOURCE_BYTES_MAX,
    "type": TYPE_BYTES_MAX,
    "subject": SUBJECT_BYTES_MAX,
}
_JSON_MEDIA = re.compile(r"application/(?:[a-z0-9.-]+\+)?json(?:\s*;.*)?", re.IGNORECASE)


def load_json(text: str | bytes) -> Any:
    """JSON with its numbers exact; one that is too long is TOO_LONG. Raises: ValueError, RecursionError."""
    return json.loads(text, parse_int=integer, parse_float=decimal, parse_constant=_refuse_constant)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def is_json_media(media_type: str) -> bool:
    return bool(_JSON_MEDIA.fullmatch(media_type))


def read_attribute(given: Mapping[str, Any], name: str, reasons: list[Reason]) -> str | None:
    """An attribute that must be there; None when it is not, or cannot be one. Null counts as not there."""
    value, pointer = given.get(name), f"/{name}"
    bytes_max = BYTES_MAX[name]
    if value is None:
        reasons.append(Reason(f"{name}_missing", pointer, f"every event has a {name}"))
    elif not isinstance(value, str):
        reasons.append(Reason(f"{name}_not_text", pointer, "must be a string"))
    elif not value:
        reasons.append(Reason(f"{name}_empty", pointer, "must not be empty"))
    elif CONTROL.search(value) or not _is_unicode(value):
        reasons.append(Reason(f"{name}_not_printable", pointer, "must not hold control characters"))
    elif len(value) > SURELY_SHORT and len(value.encode()) > bytes_max:
        reasons.append(Reason(f"{name}_too_long", pointer, f"has more than {bytes_max} bytes"))
    elif name == "source" and value.startswith(OWN_SOURCES):
        told = f'sources that begin with "{OWN_SOURCES}" are said by Perennial of itself'
        reasons.append(Reason("source_reserved", pointer, told))
    elif name == "type" and value.startswith(READING_EVENT_TYPE):
        told = f'types that begin with "{READING_EVENT_TYPE}" are made of readings: send them to /v1/meter-readings'
        reasons.append(Reason("type_reserved", pointer, told))
    else:
        return value
    return None


def check_version(given: Mapping[str, Any], needed: bool, reasons: list[Reason]) -> None:
    version = given.get("specversion")
    if version is None and needed:
        reasons.append(Reason("specversion_missing", "/specversion", 'must be "1.0"'))
    elif version is not None and version != "1.0":
        reasons.append(Reason("specversion_unknown", "/specversion", 'must be "1.0"'))


def read_time(given: Mapping[str, Any], reasons: list[Reason]) -> datetime | None:
    """RFC 3339, in UTC from here on. Absent or null: the event happens when it arrives."""
    value = given.get("time")
    if value is None:
        return None
    try:
        time = msgspec.convert(value, datetime)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError, UnicodeEncodeError):
        pass
    told = 'must be an instant with its offset, such as "2025-06-01T12:00:00Z" (RFC 3339)'
    reasons.append(Reason("time_malformed", "/time", told))
    return None


def media_flaws(given: Mapping[str, Any]) -> list[Reason]:
    """Data that is not JSON cannot be measured."""
    media = given.get("datacontenttype")
    if given.get("data_base64") is not None:
        return [Reason("data_not_json", "/data_base64", "data must be JSON")]
    if media is not None and not (isinstance(media, str) and is_json_media(media)):
        return [Reason("data_not_json", "/datacontenttype", "must be application/json")]
    return []


def data_flaws(data: Any, path: tuple[str, ...], depth: int) -> list[Reason]:
    """What of the data cannot be stored exactly, and where."""
    if data is TOO_LONG:
        told = f"has more than {DIGITS_MAX} digits when it is written out"
        return [Reason("number_too_long", to_pointer(path), told)]
    if isinstance(data, str):
        return [] if is_storable(data) else [_not_storable(path)]
    if not isinstance(data, dict | list):
        return []
    if depth > DEPTH_MAX:
        return [too_deep(to_pointer(path[:DEPTH_MAX]))]
    found: list[Reason] = []
    for name, value in data.items() if isinstance(data, dict) else enumerate(data):
        if isinstance(name, str) and not is_storable(name):
            found.append(_not_storable(path))
        elif not isinstance(value, int | Decimal | None):
            found += data_flaws(value, (*path, str(name)), depth + 1)
        if len(found) >= REASONS_MAX:
            break
    return found


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def is_storable(text: str) -> bool:
    return "\0" not in text and (text.isascii() or _is_unicode(text))


def _not_storable(path: tuple[str, ...]) -> Reason:
    return Reason("text_not_storable", to_pointer(path), "text must not hold NUL nor half a surrogate pair")


def too_deep(pointer: str) -> Reason:
    return Reason("too_deep", pointer, f"is nested more than {DEPTH_MAX} levels deep")
