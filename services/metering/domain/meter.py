"""What is measured: which events a meter reads, what it takes from each, and how it sums up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from libs.common.errors import RuleViolation
from services.metering.domain.json_pointer import Path, parse_pointer, to_pointer

Aggregation = Literal["count", "sum", "max"]

DIMENSIONS_MAX = 5
FILTERS_MAX = 10
FILTER_VALUES_MAX = 100
BUCKET_S = 900
DAY_S = 86_400


class InvalidMeter(RuleViolation):
    code: ClassVar[str] = "invalid_meter"
    title: ClassVar[str] = "The meter cannot be defined like this"


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something usage can be grouped by: a name, and where it stands in the data."""

    name: str
    path: Path

    @property
    def pointer(self) -> str:
        return to_pointer(self.path)


@dataclass(frozen=True, slots=True)
class Filter:
    """Only events that have one of `values` there count. Numbers and booleans compare as they are written."""

    path: Path
    values: tuple[str, ...]

    @property
    def pointer(self) -> str:
        return to_pointer(self.path)


@dataclass(frozen=True, slots=True)
class Meter:
    """Immutable once defined, since running sums are made by it. `bucket_s` is how long one running sum is."""

    id: str
    code: str
    event_type: str
    aggregation: Aggregation
    value_path: Path | None
    dimensions: tuple[Dimension, ...]
    filters: tuple[Filter, ...]
    unit: str | None
    description: str | None
    bucket_s: int
    created_at: datetime

    @property
    def value_pointer(self) -> str | None:
        return None if self.value_path is None else to_pointer(self.value_path)


def new_meter(
    *,
    id: str,
    code: str,
    event_type: str,
    aggregation: Aggregation,
    value: str | None,
    group_by: Sequence[str],
    filter: Mapping[str, Sequence[str]],
    unit: str | None,
    description: str | None,
    bucket_s: int,
    created_at: datetime,
) -> Meter:
    """A meter from what its maker says: `value` a pointer, `group_by` names or pointers, `filter` by pointer.

    Raises: InvalidMeter, InvalidPointer.
    """
    if (value is None) != (aggregation == "count"):
        raise InvalidMeter(
            "sum and max read a value, count reads none",
            pointer="/value",
            remedy='Point to the number in the data, such as "/air_time"; leave it out for count.',
        )
    if len(group_by) > DIMENSIONS_MAX:
        raise InvalidMeter(f"a meter has at most {DIMENSIONS_MAX} dimensions", pointer="/group_by")
    if len(filter) > FILTERS_MAX or any(not 0 < len(v) <= FILTER_VALUES_MAX for v in filter.values()):
        raise InvalidMeter(
            f"a meter has at most {FILTERS_MAX} filters, each with 1 to {FILTER_VALUES_MAX} values",
            pointer="/filter",
        )
    if bucket_s < 60 or BUCKET_S % bucket_s:
        raise InvalidMeter("a bucket is at least a minute, and a whole number of them is 15 minutes")
    dimensions = tuple(_dimension(given) for given in group_by)
    if len({dimension.name for dimension in dimensions}) < len(dimensions):
        raise InvalidMeter("two dimensions have the same name", pointer="/group_by")
    return Meter(
        id=id,
        code=code,
        event_type=event_type,
        aggregation=aggregation,
        value_path=None if value is None else parse_pointer(value),
        dimensions=dimensions,
        filters=tuple(Filter(parse_pointer(p), tuple(sorted(set(v)))) for p, v in sorted(filter.items())),
        unit=unit,
        description=description,
        bucket_s=bucket_s,
        created_at=created_at,
    )


def _dimension(given: str) -> Dimension:
    """`carrier` is short for `/carrier`; a pointer's name is the pointer without its first slash."""
    if given.startswith("/"):
        return Dimension(name=given[1:], path=parse_pointer(given))
    return Dimension(name=given, path=parse_pointer(to_pointer((given,))))
