"""Requests and answers about meters, usage and windows."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints

from libs.common.web.bodies import Code, DecimalText, Description, Instant, StrictBody, identifier
from services.metering.application.ask_usage import UsageAnswer, UsageSlice
from services.metering.application.define_meter import DefineMeter
from services.metering.domain.meter import (
    DIMENSIONS_MAX,
    FILTER_VALUES_MAX,
    FILTERS_MAX,
    Aggregation,
    Meter,
)
from services.metering.domain.usage_window import State, UsageTotal, UsageWindow
from services.metering.entrypoints.usage_event_bodies import EventType, plain

MeterId = Annotated[str, identifier("mtr"), Field(examples=["mtr_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
WindowId = Annotated[str, identifier("uwin"), Field(examples=["uwin_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
AnyId = Annotated[str, Field(min_length=1, max_length=100)]


Pointer = Annotated[str, Field(max_length=256, examples=["/air_time"])]
Dimension = Annotated[
    str, StringConstraints(min_length=1, max_length=256), Field(examples=["carrier"]), AfterValidator(plain)
]
FilterValue = Annotated[str, StringConstraints(max_length=256), AfterValidator(plain)]


class MeterCreateBody(StrictBody):
    """What is measured. A meter never changes; what came before it was defined counts as well.

    `value` points to the number in the event's data that `sum` and `max` read; `count` reads none. Usage can be
    grouped by at most five dimensions, each a name in the data or a pointer into it. `filter` lists, by pointer,
    the values that an event must have one of to count.
    """

    code: Code = Field(examples=["flying-minutes"])
    event_type: EventType
    aggregation: Aggregation = Field(examples=["sum"])
    value: Pointer | None = None
    group_by: Annotated[list[Dimension], Field(max_length=DIMENSIONS_MAX)] = Field(default_factory=list)
    filter: Annotated[
        dict[Pointer, Annotated[list[FilterValue], Field(min_length=1, max_length=FILTER_VALUES_MAX)]],
        Field(max_length=FILTERS_MAX, examples=[{"/cancelled": ["false"]}]),
    ] = Field(default_factory=dict)
    unit: (
        Annotated[str, Field(min_length=1, max_length=40, examples=["minute"]), AfterValidator(plain)] | None
    ) = None
    description: Description | None = None

    def to_command(self, *, bucket_s: int) -> DefineMeter:
        return DefineMeter(
            code=self.code,
            event_type=self.event_type,
            aggregation=self.aggregation,
            value=self.value,
            group_by=tuple(self.group_by),
            filter={pointer: tuple(values) for pointer, values in self.filter.items()},
            unit=self.unit,
            description=self.description,
            bucket_s=bucket_s,
        )


class MeterBody(StrictBody):
    id: str
    code: str
    event_type: str
    aggregation: Aggregation
    value: str | None
    group_by: list[str]
    filter: dict[str, list[str]]
    unit: str | None
    description: str | None
    created_at: Instant

    @classmethod
    def from_domain(cls, meter: Meter) -> Self:
        return cls(
            id=meter.id,
            code=meter.code,
            event_type=meter.event_type,
            aggregation=meter.aggregation,
            value=meter.value_pointer,
            group_by=[dimension.name for dimension in meter.dimensions],
            filter={f.pointer: list(f.values) for f in meter.filters},
            unit=meter.unit,
            description=meter.description,
            created_at=meter.created_at,
        )


class UsageTotalBody(StrictBody):
    """`price_id` is there where the price of the item changed in the period: one total for each price."""

    item_id: str
    meter: str
    quantity: DecimalText
    event_count: int
    price_id: str | None = None

    @classmethod
    def from_domain(cls, total: UsageTotal) -> Self:
        return cls(
            item_id=total.item_id,
            meter=total.meter,
            quantity=total.quantity,
            event_count=total.event_count,
            price_id=total.price_id,
        )


class UsageWindowBody(StrictBody):
    """The usage of one billing period. `totals` are said when it closes; `revision` counts corrections since."""

    id: str
    subscription_id: str
    customer_id: str
    period_index: int
    state: State
    window_start: Instant
    window_end: Instant
    due_at: Instant | None
    closed_at: Instant | None
    revision: int
    totals: list[UsageTotalBody]

    @classmethod
    def from_domain(cls, window: UsageWindow) -> Self:
        return cls(
            id=window.id,
            subscription_id=window.subscription_id,
            customer_id=window.customer_id,
            period_index=window.period_index,
            state=window.state,
            window_start=window.window_start,
            window_end=window.window_end,
            due_at=window.due_at,
            closed_at=window.closed_at,
            revision=window.revision,
            totals=[UsageTotalBody.from_domain(total) for total in window.totals],
        )


class UsageRowBody(StrictBody):
    """Usage from `from` until before `to`, of one group."""

    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    group: dict[str, str | None]
    quantity: DecimalText
    event_count: int

    @classmethod
    def from_slice(cls, found: UsageSlice) -> Self:
        return cls.model_validate(
            {
                "from": found.start,
                "to": found.end,
                "group": found.group,
                "quantity": found.usage.quantity,
                "event_count": found.usage.event_count,
            }
        )


class UsageBody(StrictBody):
    """Everything that was stored by `as_of` is counted."""

    meter: str
    unit: str | None
    data: list[UsageRowBody]
    as_of: Instant

    @classmethod
    def from_answer(cls, answer: UsageAnswer) -> Self:
        return cls(
            meter=answer.meter.code,
            unit=answer.meter.unit,
            data=[UsageRowBody.from_slice(found) for found in answer.slices],
            as_of=answer.as_of,
        )
