"""What one meter takes from one event: the number that counts, and the group that it counts for.

The SQL functions `usage_value`, `usage_dimension`, `usage_group` and `usage_matches` (first migration) say the
same in the database, for sums that are made again from raw events. A test holds the two together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from services.metering.domain.json_pointer import find
from services.metering.domain.meter import Meter
from services.metering.domain.usage_event import Reason

DIGITS_MAX = 38
VALUE_TEXT_LENGTH_MAX = 40
GROUP_BYTES_MAX = 256
UNGROUPED = "[]"

_VALUE_TEXT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")

Value = int | Decimal


class Measurement(NamedTuple):
    """`value` is None for meters that count. `group` is a canonical JSON array, one entry for each dimension."""

    value: Value | None
    group: str


_COUNTED = Measurement(None, UNGROUPED)


def counts_for(meter: Meter, data: Any) -> bool:
    """Whether the meter's filters let the event in."""
    return all(_text(find(data, f.path)) in f.values for f in meter.filters)


def measure(meter: Meter, data: Any) -> Measurement | None:
    """What the meter makes of an event that it could be shown; None when it does not count.

    This is how stored events are read, those too that were stored before the meter was there: a value that is
    no number does not count, and a dimension that cannot be one is null.
    """
    if meter.filters and not counts_for(meter, data):
        return None
    value = None
    if meter.value_path is not None:
        value = _number(find(data, meter.value_path))
        if value is None:
            return None
    if not meter.dimensions:
        return _COUNTED if value is None else Measurement(value, UNGROUPED)
    return Measurement(value, _group(tuple([_dimension(find(data, d.path)) for d in meter.dimensions])))


def objections(meter: Meter, data: Any) -> Sequence[Reason]:
    """Why a meter that is there already cannot read a new event; nothing when it can, or does not want to."""
    if meter.filters and not counts_for(meter, data):
        return ()
    found: list[Reason] = []
    if meter.value_path is not None:
        value = find(data, meter.value_path)
        if value is None:
            told = f"the meter {meter.code} needs a value here"
            found.append(Reason("value_missing", f"/data{meter.value_pointer}", told))
        elif _number(value) is None:
            told = f"the meter {meter.code} needs a decimal number here"
            found.append(Reason("value_not_a_number", f"/data{meter.value_pointer}", told))
    for dimension in meter.dimensions:
        there = find(data, dimension.path)
        if there is not None and _dimension(there) is None:
            told = f"the meter {meter.code} needs text of at most {GROUP_BYTES_MAX} bytes, or a number, here"
            found.append(Reason("dimension_unreadable", f"/data{dimension.pointer}", told))
    return found


def _number(value: Any) -> Value | None:
    """A JSON number, or a string that holds a plain decimal, since exact quantities travel as strings."""
    kind = type(value)
    if kind is int or kind is Decimal:
        number: Value = value
        return number
    if kind is str and len(value) <= VALUE_TEXT_LENGTH_MAX and _VALUE_TEXT.fullmatch(value):
        return Decimal(value)
    return None


def _text(value: Any) -> str | None:
    """Scalars as they are written in JSON, strings without quotes; None for anything else."""
    kind = type(value)
    if kind is str:
        text: str = value
        return text
    if kind is bool:
        return "true" if value else "false"
    if kind is int or kind is Decimal:
        return format(value, "f") if kind is Decimal else str(value)
    return None


def _dimension(value: Any) -> str | None:
    text = _text(value)
    if text is not None and (len(text) * 4 > GROUP_BYTES_MAX and len(text.encode()) > GROUP_BYTES_MAX):
        return None
    return text


@lru_cache(maxsize=65_536)
def _group(parts: tuple[str | None, ...]) -> str:
    """Spelled as PostgreSQL spells a jsonb array."""
    return json.dumps(parts, ensure_ascii=False)
