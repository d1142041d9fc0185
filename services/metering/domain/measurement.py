"""What one meter takes from one event: what counts of it, and the group that it counts for.

The SQL functions `usage_value`, `usage_dimension`, `usage_group` and `usage_matches` and the view `usage_measured` say
the same in the database, for sums that are made again from raw events. A test holds the two together. What an
expression makes of an event is only worked out here, and kept beside the event.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from libs.common.exact import Number
from libs.common.expression import EventView, ExpressionFailed
from services.metering.domain.exactly import quantity_of
from services.metering.domain.json_pointer import find
from services.metering.domain.meter import Dimension, Filter, Meter, expression_of, truth_of
from services.metering.domain.usage_event import Reason

DIGITS_MAX = 38
VALUE_TEXT_LENGTH_MAX = 40
GROUP_BYTES_MAX = 256
UNGROUPED = "[]"

_VALUE_TEXT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_OPERATIONS = {"add": True, "remove": False, None: True}

Value = int | Decimal


class Measurement(NamedTuple):
    """`value` is None for meters that count. `group` is a canonical JSON array, one entry for each dimension.

    `member` is what a meter of different things counts once; `is_in` says whether it comes or goes.
    """

    value: Value | None
    group: str
    member: str | None = None
    is_in: bool = True


_COUNTED = Measurement(None, UNGROUPED)


def counts_for(meter: Meter, data: Any) -> bool:
    """Whether the meter's filters let the event in, and none of its exclusions keeps it out."""
    if not _matches(meter.filters, data) or any(_matches(out, data) for out in meter.exclusions):
        return False
    if meter.filter_expression is None:
        return True
    return _worked_out(truth_of(meter.filter_expression), data) == 1


def measure(meter: Meter, data: Any) -> Measurement | None:
    """What the meter makes of an event that it could be shown; None when it does not count.

    This is how stored events are read, those too that were stored before the meter was there: a value that is
    no number does not count, and a dimension that cannot be one is null.
    """
    if meter.is_plain and type(data) is dict:  # as most are: all that follows would come to the same
        value = data.get(meter.value_path[0])  # type: ignore[index]
        kind = type(value)
        if kind is Decimal or kind is int:
            return Measurement(value, UNGROUPED)
    if (meter.filters or meter.exclusions or meter.filter_expression) and not counts_for(meter, data):
        return None
    if meter.aggregation == "unique":
        return _measure_member(meter, data)
    value = None
    if meter.value_path is not None:
        value = _number(find(data, meter.value_path))
        if value is None:
            return None
    elif meter.value_expression is not None:
        value = _worked_out(meter.value_expression, data)
        if value is None:
            return None
    if not meter.dimensions:
        return _COUNTED if value is None else Measurement(value, UNGROUPED)
    return Measurement(value, _group_of(meter, data))


def _measure_member(meter: Meter, data: Any) -> Measurement | None:
    assert meter.value_path is not None, "what is counted once stands in the data"
    member = _dimension(find(data, meter.value_path))
    operation = meter.options.operation
    told = None if operation is None else _text(find(data, operation))
    if member is None or told not in _OPERATIONS:
        return None
    group = _group_of(meter, data) if meter.dimensions else UNGROUPED
    return Measurement(None, group, member, _OPERATIONS[told])


def objections(meter: Meter, data: Any) -> Sequence[Reason]:
    """Why a meter that is there already cannot read a new event; nothing when it can, or does not want to."""
    if (meter.filters or meter.exclusions or meter.filter_expression) and not counts_for(meter, data):
        return ()
    found = list(_value_objections(meter, data))
    for dimension in meter.dimensions:
        there = None if dimension.expression else find(data, dimension.path)
        if there is not None and _dimension(there) is None:
            told = f"the meter {meter.code} needs text of at most {GROUP_BYTES_MAX} bytes, or a number, here"
            found.append(Reason("dimension_unreadable", f"/data{dimension.pointer}", told))
    return found


def _value_objections(meter: Meter, data: Any) -> Sequence[Reason]:
    pointer, code = f"/data{meter.value_pointer or ''}", meter.code
    if meter.value_expression is not None:
        if _worked_out(meter.value_expression, data) is None:
            told = f"the meter {code} cannot work out {meter.value_expression[:100]} of it"
            return [Reason("value_not_worked_out", pointer, told)]
        return []
    if meter.value_path is None:
        return []
    value = find(data, meter.value_path)
    if value is None:
        return [Reason("value_missing", pointer, f"the meter {code} needs a value here")]
    if meter.aggregation != "unique":
        if type(value) is str and _VALUE_TEXT.fullmatch(value) and has_too_many_digits(Decimal(value)):
            told = f"has more than {DIGITS_MAX} digits when it is written out"
            return [Reason("number_too_long", pointer, told)]
        if _number(value) is None:
            return [Reason("value_not_a_number", pointer, f"the meter {code} needs a decimal number here")]
        return []
    found: list[Reason] = []
    if _dimension(value) is None:
        told = f"the meter {code} needs text of at most {GROUP_BYTES_MAX} bytes, or a number, here"
        found.append(Reason("value_unreadable", pointer, told))
    operation = meter.options.operation
    if operation is not None and _text(find(data, operation)) not in _OPERATIONS:
        where = "".join(f"/{step}" for step in operation)
        found.append(
            Reason("operation_unknown", f"/data{where}", f'the meter {code} knows "add" and "remove" here')
        )
    return found


def has_too_many_digits(value: Value | None) -> bool:
    """As one that was sent as text may have: numbers of JSON are refused before. What is stored so stays measured."""
    if type(value) is not Decimal or len(str(value)) <= DIGITS_MAX:
        return False
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int), "text that is a number is neither NaN nor infinity"
    return len(digits) > DIGITS_MAX or exponent < -DIGITS_MAX


def _matches(filters: Sequence[Filter], data: Any) -> bool:
    return all(_text(find(data, f.path)) in f.values for f in filters)


def _worked_out(expression: str, data: Any) -> Decimal | None:
    """None where it cannot be: a field is not there, a division by zero, a number too long to be kept."""
    try:
        found: Number = expression_of(expression).work_out_for(EventView({}, data))
        return quantity_of(found)
    except (ExpressionFailed, ArithmeticError):
        return None


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


def _group_of(meter: Meter, data: Any) -> str:
    return _group(tuple([_part(dimension, data) for dimension in meter.dimensions]))


def _part(dimension: Dimension, data: Any) -> str | None:
    if dimension.expression is None:
        return _dimension(find(data, dimension.path))
    worked = _worked_out(dimension.expression, data)
    return None if worked is None else format(worked, "f")


@lru_cache(maxsize=65_536)
def _group(parts: tuple[str | None, ...]) -> str:
    """Spelled as PostgreSQL spells a jsonb array."""
    return json.dumps(parts, ensure_ascii=False)
