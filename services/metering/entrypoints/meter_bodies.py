"""Requests and answers about meters."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from libs.common.expression import LENGTH_MAX as EXPRESSION_LENGTH_MAX
from libs.common.web.bodies import Code, DecimalText, Description, Flag, Instant, StrictBody, identifier
from services.metering.application.define_meter import DefineMeter
from services.metering.application.queries import MeterView
from services.metering.domain.back_fill import BackFill, BackFillState
from services.metering.domain.json_pointer import parse_pointer, to_pointer
from services.metering.domain.meter import (
    DIMENSIONS_MAX,
    EXCLUSIONS_MAX,
    FILTER_VALUES_MAX,
    FILTERS_MAX,
    Aggregation,
    Filter,
    LevelKind,
    LevelPer,
    MeterOptions,
    PeakLength,
)
from services.metering.entrypoints.reading_bodies import CounterBody, as_counter_meter
from services.metering.entrypoints.usage_event_bodies import EventType, plain

MeterId = Annotated[str, identifier("mtr"), Field(examples=["mtr_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
Pointer = Annotated[str, Field(max_length=256, examples=["/air_time"])]
Dimension = Annotated[
    str, StringConstraints(min_length=1, max_length=256), Field(examples=["carrier"]), AfterValidator(plain)
]
FilterValue = Annotated[str, StringConstraints(max_length=256), AfterValidator(plain)]
ExpressionText = Annotated[
    str, StringConstraints(min_length=1, max_length=EXPRESSION_LENGTH_MAX), AfterValidator(plain)
]
Filters = Annotated[
    dict[Pointer, Annotated[list[FilterValue | None], Field(min_length=1, max_length=FILTER_VALUES_MAX)]],
    Field(max_length=FILTERS_MAX, examples=[{"/cancelled": ["false", None]}]),
]
Unit = Annotated[str, Field(min_length=1, max_length=40, examples=["minute"]), AfterValidator(plain)]


class WorkedOutDimension(StrictBody):
    """A dimension whose value is a number worked out of each event."""

    name: Dimension
    expression: ExpressionText = Field(examples=['floor(event("/distance") / 500)'])


class MeterDefinition(StrictBody):
    """What is measured.

    `value` points to the number in the event's data (`unique`: to the text that is counted once), or
    `value_expression` works it out; `count` reads none. Usage can be grouped by at most five dimensions, each a name in
    the data, a pointer into it, or a name with an expression. `filter` lists, by pointer, the values that an event must
    have one of to count, null being none; an event that has one of the values of each pointer of an entry of `exclude`
    does not count, nor one for which `filter_expression` does not hold.

    `unique`: with `operation`, a pointer to "add" or "remove", what was added last is counted, and with `keeps` what was
    added before the time asked for too. `time_weighted`: `level` says whether an event sets the level (`absolute`, the
    default) or changes it (`change`); its integral is told per second, minute, hour (the default) or day, or as the mean
    of the time asked for (`window`); `by_day` lets a change weigh from the start of its local day. `peak`: the greatest
    sum of any 15 minutes (the default), half hour or hour.
    """

    event_type: EventType
    aggregation: Aggregation = Field(examples=["sum"])
    value: Pointer | None = None
    value_expression: ExpressionText | None = Field(default=None, examples=['event("/bytes") / 1000000'])
    group_by: Annotated[list[Dimension | WorkedOutDimension], Field(max_length=DIMENSIONS_MAX)] = Field(
        default_factory=list
    )
    filter: Filters = Field(default_factory=dict)
    exclude: Annotated[list[Filters], Field(max_length=EXCLUSIONS_MAX)] = Field(default_factory=list)
    filter_expression: ExpressionText | None = Field(default=None, examples=['event("/air_time") > 0'])
    operation: Pointer | None = None
    keeps: Flag = False
    level: LevelKind | None = None
    per: LevelPer | None = None
    by_day: Flag = False
    peak_of: PeakLength | None = None
    description: Description | None = None

    def definition(self) -> dict[str, Any]:
        """As `DefineMeter` takes it. Raises: InvalidPointer."""
        return {
            "event_type": self.event_type,
            "aggregation": self.aggregation,
            "value": self.value,
            "value_expression": self.value_expression,
            "group_by": tuple(
                given if isinstance(given, str) else (given.name, given.expression) for given in self.group_by
            ),
            "filter": self.filter,
            "exclude": tuple(self.exclude),
            "filter_expression": self.filter_expression,
            "options": MeterOptions(
                operation=None if self.operation is None else parse_pointer(self.operation),
                keeps=self.keeps,
                level=self.level,
                per=self.per,
                by_day=self.by_day,
                peak_of=self.peak_of,
            ),
            "description": self.description,
        }


class MeterCreateBody(MeterDefinition):
    """A meter, which is told by its code. What came before it was defined counts as well.

    With a `counter` it takes readings instead of events: event type, aggregation and value follow, and are left out.
    """

    code: Code = Field(examples=["flying-minutes"])
    unit: Unit | None = None
    counter: CounterBody | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_what_a_counter_needs(cls, given: Any) -> Any:
        return as_counter_meter(given)

    def to_command(self, *, bucket_s: int) -> DefineMeter:
        """Raises: InvalidPointer, InvalidCounter."""
        counter = None if self.counter is None else self.counter.to_rules()
        return DefineMeter(
            code=self.code, unit=self.unit, bucket_s=bucket_s, counter=counter, **self.definition()
        )


class MeterVersionCreateBody(MeterDefinition):
    """How the meter reads events from `effective_from` on, which may lie in the past. What is left out of the definition
    is as in a new meter; aggregation and its options, the unit, and whether it is a counter stay as they are.
    """

    effective_from: Instant | None = Field(default=None, description="Default: now.")

    def to_definition(self, code: str = "") -> DefineMeter:
        """Code, unit and counter are the meter's. Raises: InvalidPointer."""
        return DefineMeter(code=code, **self.definition())


class BackFillBody(StrictBody):
    """How far the events that were there before the version have been summed up.

    Of about `events_total_estimate` events, of any type, `event_count` have been gone through; all that happened before
    `filled_until` is summed up. Until it is `done`, answers say that they are not complete, and windows do not close.
    """

    state: BackFillState
    filled_until: Instant | None
    event_count: int
    events_total_estimate: int
    percent: DecimalText
    started_at: Instant | None
    done_at: Instant | None

    @classmethod
    def from_domain(cls, back_fill: BackFill) -> Self:
        return cls(
            state=back_fill.state,
            filled_until=back_fill.filled_until,
            event_count=back_fill.event_count,
            events_total_estimate=back_fill.events_total,
            percent=back_fill.percent,
            started_at=back_fill.started_at,
            done_at=back_fill.done_at,
        )


class MeterBody(StrictBody):
    """One version of a meter. It reads what happened from `valid_from` until before `valid_until`; null: ever."""

    id: str
    code: str
    version: int
    event_type: str
    aggregation: Aggregation
    value: str | None
    value_expression: str | None
    group_by: list[str | WorkedOutDimension]
    filter: dict[str, list[str | None]]
    exclude: list[dict[str, list[str | None]]]
    filter_expression: str | None
    operation: str | None
    keeps: bool
    level: LevelKind | None
    per: LevelPer | None
    by_day: bool
    peak_of: PeakLength | None
    unit: str | None
    counter: CounterBody | None
    description: str | None
    valid_from: Instant | None
    valid_until: Instant | None
    created_at: Instant
    back_fill: BackFillBody | None

    @classmethod
    def from_view(cls, view: MeterView) -> Self:
        meter = view.meter
        options = meter.options
        return cls(
            id=meter.id,
            code=meter.code,
            version=meter.version,
            event_type=meter.event_type,
            aggregation=meter.aggregation,
            value=meter.value_pointer,
            value_expression=meter.value_expression,
            group_by=[
                dimension.name
                if dimension.expression is None
                else WorkedOutDimension(name=dimension.name, expression=dimension.expression)
                for dimension in meter.dimensions
            ],
            filter=_shown(meter.filters),
            exclude=[_shown(out) for out in meter.exclusions],
            filter_expression=meter.filter_expression,
            operation=None if options.operation is None else to_pointer(options.operation),
            keeps=options.keeps,
            level=options.level,
            per=options.per,
            by_day=options.by_day,
            peak_of=options.peak_of,
            unit=meter.unit,
            counter=None if meter.counter is None else CounterBody.from_domain(meter.counter),
            description=meter.description,
            valid_from=meter.valid_from,
            valid_until=meter.valid_until,
            created_at=meter.created_at,
            back_fill=None if view.back_fill is None else BackFillBody.from_domain(view.back_fill),
        )


def _shown(filters: tuple[Filter, ...]) -> dict[str, list[str | None]]:
    return {f.pointer: list(f.values) for f in filters}
