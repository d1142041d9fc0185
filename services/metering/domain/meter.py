"""What is measured: which events a meter reads, what it takes from each, and how it sums up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import ClassVar, Literal

from libs.common.errors import RuleViolation
from libs.common.expression import ONE_EVENT, Expression, InvalidExpression, parse
from services.metering.domain.counter import READING_VALUE, CounterRules, reading_event_type
from services.metering.domain.json_pointer import InvalidPointer, Path, parse_pointer, to_pointer

Aggregation = Literal["count", "sum", "min", "max", "average", "latest", "unique", "time_weighted", "peak"]
LevelKind = Literal["absolute", "change"]
LevelPer = Literal["second", "minute", "hour", "day", "window"]
PeakLength = Literal["15m", "30m", "1h"]

DIMENSIONS_MAX = 5
FILTERS_MAX = 10
FILTER_VALUES_MAX = 100
EXCLUSIONS_MAX = 20
BUCKET_S = 900
DAY_S = 86_400
PEAK_LENGTHS: Mapping[PeakLength, int] = {"15m": 900, "30m": 1800, "1h": 3600}
# These are told exactly by sums that are added to, whoever adds first.
ADDED_UP = frozenset({"count", "sum", "min", "max", "average"})
# None of these reads a number where it counts: the first reads nothing, the second a name.
WITHOUT_NUMBER = frozenset({"count", "unique"})


class InvalidMeter(RuleViolation):
    code: ClassVar[str] = "invalid_meter"
    title: ClassVar[str] = "The meter cannot be defined like this"


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something usage can be grouped by: a name, and where it stands in the data, or what is worked out of it."""

    name: str
    path: Path = ()
    expression: str | None = None

    @property
    def pointer(self) -> str:
        return to_pointer(self.path)


@dataclass(frozen=True, slots=True)
class Filter:
    """One of `values` must stand there, None being nothing. Numbers and booleans compare as they are written."""

    path: Path
    values: tuple[str | None, ...]

    @property
    def pointer(self) -> str:
        return to_pointer(self.path)


@dataclass(frozen=True, slots=True)
class MeterOptions:
    """What only some aggregations know.

    `operation` (unique): where "add" or "remove" stands; `keeps`: what was there before a span counts in it.
    `level`, `per`, `by_day` (time-weighted): whether an event sets the level or changes it, by what the level's
    integral is divided, and whether a change weighs from the start of its local day. `peak_of`: whose greatest sum
    is the peak.
    """

    operation: Path | None = None
    keeps: bool = False
    level: LevelKind | None = None
    per: LevelPer | None = None
    by_day: bool = False
    peak_of: PeakLength | None = None


NO_OPTIONS = MeterOptions()


@dataclass(frozen=True, slots=True)
class Meter:
    """One version of a meter: immutable once defined, but for when the next one takes its place.

    It counts from `valid_from` (None: ever) until before `valid_until` (None: for ever). `bucket_s` is how
    long one running sum is. `filled_until` says how far events that were there before it are summed up; `filled_at` is
    when all were. `counter`: it takes readings, and its events are made of them.
    """

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
    value_expression: str | None = None
    exclusions: tuple[tuple[Filter, ...], ...] = ()
    filter_expression: str | None = None
    options: MeterOptions = NO_OPTIONS
    counter: CounterRules | None = None
    version: int = 1
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    filled_until: datetime | None = None
    filled_at: datetime | None = None
    is_computed: bool = field(init=False)
    is_plain: bool = field(init=False)

    def __post_init__(self) -> None:
        texts = (self.value_expression, self.filter_expression, *(d.expression for d in self.dimensions))
        object.__setattr__(self, "is_computed", any(text is not None for text in texts))
        object.__setattr__(self, "is_plain", self._is_plain())

    def _is_plain(self) -> bool:
        """Whether all that it does is to take one number out of the data, of every event of its type."""
        return (
            not (self.is_computed or self.filters or self.exclusions or self.dimensions)
            and self.aggregation != "unique"
            and (self.valid_from, self.valid_until) == (None, None)
            and self.value_path is not None
            and len(self.value_path) == 1
        )

    @property
    def value_pointer(self) -> str | None:
        return None if self.value_path is None else to_pointer(self.value_path)

    @property
    def peak_s(self) -> int | None:
        return None if self.options.peak_of is None else PEAK_LENGTHS[self.options.peak_of]

    @property
    def carries_over(self) -> bool:
        """What was there before a span counts in it: a level, or what has not been taken away."""
        return self.aggregation == "time_weighted" or self.options.keeps

    def holds_at(self, instant: datetime) -> bool:
        """Whether this version reads what happened then; where something carries over, from the beginning."""
        return (self.valid_from is None or self.carries_over or instant >= self.valid_from) and (
            self.valid_until is None or instant < self.valid_until
        )


def new_meter(
    *,
    id: str,
    code: str,
    event_type: str,
    aggregation: Aggregation,
    value: str | None,
    group_by: Sequence[str | tuple[str, str]],
    filter: Mapping[str, Sequence[str | None]],
    unit: str | None,
    description: str | None,
    bucket_s: int,
    created_at: datetime,
    value_expression: str | None = None,
    exclude: Sequence[Mapping[str, Sequence[str | None]]] = (),
    filter_expression: str | None = None,
    options: MeterOptions = NO_OPTIONS,
    counter: CounterRules | None = None,
    version: int = 1,
    valid_from: datetime | None = None,
) -> Meter:
    """A meter from what its maker says: `value` a pointer, `filter` by pointer, `group_by` names, pointers, or a name
    with an expression.

    Raises: InvalidMeter, InvalidPointer.
    """
    _check_value(aggregation, value, value_expression)
    _check_options(aggregation, options)
    if counter is not None and (event_type, aggregation, value) != (
        reading_event_type(code),
        "sum",
        READING_VALUE,
    ):
        raise InvalidMeter(
            f"a meter with a counter sums the {READING_VALUE} of {reading_event_type(code)}, which is made of readings",
            pointer="/counter",
            remedy="Leave event type, aggregation and value out, or say just these.",
        )
    if len(group_by) > DIMENSIONS_MAX:
        raise InvalidMeter(f"a meter has at most {DIMENSIONS_MAX} dimensions", pointer="/group_by")
    if len(exclude) > EXCLUSIONS_MAX:
        raise InvalidMeter(f"a meter has at most {EXCLUSIONS_MAX} exclusions", pointer="/exclude")
    if bucket_s < 60 or BUCKET_S % bucket_s:
        raise InvalidMeter("a bucket is at least a minute, and a whole number of them is 15 minutes")
    dimensions = tuple(_dimension(given) for given in group_by)
    if len({dimension.name for dimension in dimensions}) < len(dimensions):
        raise InvalidMeter("two dimensions have the same name", pointer="/group_by")
    if filter_expression is not None:
        _expression(truth_of(filter_expression), "/filter_expression")
    return Meter(
        id=id,
        code=code,
        event_type=event_type,
        aggregation=aggregation,
        value_path=None if value is None else _path(value, "/value"),
        dimensions=dimensions,
        filters=_filters(filter, "/filter"),
        unit=unit,
        description=description,
        bucket_s=bucket_s,
        created_at=created_at,
        value_expression=value_expression,
        exclusions=tuple(_filters(out, f"/exclude/{place}") for place, out in enumerate(exclude)),
        filter_expression=filter_expression,
        options=_with_defaults(aggregation, options),
        counter=counter,
        version=version,
        valid_from=valid_from,
    )


def expression_of(text: str) -> Expression:
    """The expression about one event; the same text is read once."""
    return parse(text, ONE_EVENT)


def truth_of(condition: str) -> str:
    """A condition as an expression: 1 where it holds, 0 where not."""
    return f"if({condition}, 1, 0)"


def _check_value(aggregation: Aggregation, value: str | None, expression: str | None) -> None:
    if aggregation == "count" and (value, expression) != (None, None):
        raise InvalidMeter(
            "count reads no value", pointer="/value", remedy="Leave value out, or take another aggregation."
        )
    if aggregation == "unique" and value is None:
        raise InvalidMeter(
            "unique counts the different texts at a place in the data",
            pointer="/value",
            remedy='Point to what is counted once, such as "/user".',
        )
    if aggregation != "count" and (value is None) == (expression is None):
        raise InvalidMeter(
            f"{aggregation} reads a value: by a pointer, or by an expression",
            pointer="/value",
            remedy='Point to the number in the data, such as "/air_time", or give value_expression.',
        )
    if expression is not None:
        _expression(expression, "/value_expression")


def _check_options(aggregation: Aggregation, options: MeterOptions) -> None:
    """An option of another aggregation would do nothing, hence is refused."""
    known = {
        "unique": {"operation", "keeps"},
        "time_weighted": {"level", "per", "by_day"},
        "peak": {"peak_of"},
    }.get(aggregation, set())
    for option in fields(options):
        if option.name not in known and getattr(options, option.name) not in (None, False):
            raise InvalidMeter(
                f"{aggregation} knows no {option.name}",
                pointer=f"/{option.name}",
                remedy="Leave it out, or take the aggregation that it belongs to.",
            )
    if options.keeps and options.operation is None:
        raise InvalidMeter(
            "what is kept must be taken away some day",
            pointer="/operation",
            remedy='Point to where "add" or "remove" stands.',
        )
    if options.by_day and (options.level, options.per) != ("change", "window"):
        raise InvalidMeter(
            'by_day weighs changes of a level by the days of the span: it needs level "change" and per "window"',
            pointer="/by_day",
        )


def _with_defaults(aggregation: Aggregation, options: MeterOptions) -> MeterOptions:
    if aggregation == "time_weighted":
        level, per = options.level or "absolute", options.per or "hour"
        return MeterOptions(level=level, per=per, by_day=options.by_day)
    if aggregation == "peak":
        return MeterOptions(peak_of=options.peak_of or "15m")
    return options


def _filters(given: Mapping[str, Sequence[str | None]], pointer: str) -> tuple[Filter, ...]:
    if len(given) > FILTERS_MAX or any(not 0 < len(values) <= FILTER_VALUES_MAX for values in given.values()):
        raise InvalidMeter(
            f"a meter has at most {FILTERS_MAX} filters, each with 1 to {FILTER_VALUES_MAX} values",
            pointer=pointer,
        )
    return tuple(
        Filter(_path(path, pointer), tuple(sorted(set(values), key=lambda value: (value is None, value))))
        for path, values in sorted(given.items())
    )


def _dimension(given: str | tuple[str, str]) -> Dimension:
    """`carrier` is short for `/carrier`; a pointer's name is the pointer without its first slash."""
    if not isinstance(given, str):
        name, expression = given
        _expression(expression, "/group_by")
        return Dimension(name=name, expression=expression)
    if given.startswith("/"):
        return Dimension(name=given[1:], path=_path(given, "/group_by"))
    return Dimension(name=given, path=parse_pointer(to_pointer((given,))))


def _path(pointer: str, at: str) -> Path:
    try:
        return parse_pointer(pointer)
    except InvalidPointer as error:
        error.pointer = at
        raise


def _expression(text: str, at: str) -> None:
    try:
        expression_of(text)
    except InvalidExpression as error:
        raise InvalidMeter(str(error), pointer=at, remedy=error.remedy) from None
