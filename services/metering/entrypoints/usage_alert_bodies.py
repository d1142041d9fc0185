"""Requests and answers about usage alerts."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from libs.common.web.bodies import Code, DecimalText, Instant, Name, Quantity, StrictBody, identifier
from services.metering.application.define_usage_alert import DefineUsageAlert
from services.metering.domain.usage_alert import MARKS_MAX, Firing, Mark, UsageAlert
from services.metering.entrypoints.bodies import AnyId

AlertId = Annotated[str, identifier("ualt"), Field(examples=["ualt_01jz3v6m1qk0c8n4r2d5s7t9wx"])]


class MarkCreateBody(StrictBody):
    """A quantity, or a percentage of the limit."""

    quantity: Quantity | None = Field(default=None, examples=["100"])
    percent: Quantity | None = Field(default=None, examples=["80"])

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if (self.quantity is None) == (self.percent is None):
            raise ValueError("a mark is a quantity or a percentage, one of the two")
        return self


class UsageAlertCreateBody(StrictBody):
    """Whose usage, on which meter, and at which marks. Name an item, or a subscription with all its items on the meter.

    Each mark fires once in each billing period, by the event UsageThresholdReached.
    """

    subscription_id: AnyId | None = None
    item_id: AnyId | None = None
    meter: Code
    limit: Quantity | None = Field(default=None, description="What percentages are of.", examples=["1000"])
    marks: Annotated[list[MarkCreateBody], Field(min_length=1, max_length=MARKS_MAX)]
    name: Name | None = None

    @model_validator(mode="after")
    def _about_one_thing(self) -> Self:
        if (self.subscription_id is None) == (self.item_id is None):
            raise ValueError("name a subscription or an item, one of the two")
        return self

    def to_command(self) -> DefineUsageAlert:
        return DefineUsageAlert(
            subscription_id=self.subscription_id,
            item_id=self.item_id,
            meter=self.meter,
            limit=self.limit,
            quantities=[mark.quantity for mark in self.marks],
            percents=[mark.percent for mark in self.marks],
            name=self.name,
        )


class MarkBody(StrictBody):
    """`quantity` is what the mark comes to; `percent` is there if it was asked for as one."""

    quantity: DecimalText
    percent: DecimalText | None

    @classmethod
    def from_domain(cls, mark: Mark) -> Self:
        return cls(quantity=mark.threshold, percent=mark.percent)


class UsageAlertBody(StrictBody):
    """An alert is never changed: take it away and make another. `marks` ascend."""

    id: str
    version: int
    subscription_id: str
    customer_id: str
    item_id: str | None
    meter: str
    limit: DecimalText | None
    marks: list[MarkBody]
    name: str | None
    created_at: Instant

    @classmethod
    def from_domain(cls, alert: UsageAlert) -> Self:
        return cls(
            id=alert.id,
            version=alert.version,
            subscription_id=alert.subscription_id,
            customer_id=alert.customer_id,
            item_id=alert.item_id,
            meter=alert.meter,
            limit=alert.limit,
            marks=[MarkBody.from_domain(mark) for mark in alert.marks],
            name=alert.name,
            created_at=alert.created_at,
        )


class FiringBody(StrictBody):
    """A mark that was reached in a billing period, and the usage by then; `item_id` had most of it."""

    id: str
    window_id: str
    period_index: int
    item_id: str
    mark: MarkBody
    quantity: DecimalText
    fired_at: Instant

    @classmethod
    def from_domain(cls, firing: Firing) -> Self:
        return cls(
            id=firing.id,
            window_id=firing.window_id,
            period_index=firing.period_index,
            item_id=firing.item_id,
            mark=MarkBody.from_domain(firing.mark),
            quantity=firing.quantity,
            fired_at=firing.fired_at,
        )
