"""Say what is to be measured from now on, and from whenever events of its type began to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from libs.common.clock import Clock
from libs.common.errors import Conflict, RuleViolation
from libs.common.ids import new_id
from services.metering.application import events
from services.metering.application.back_fill_meter import begin_back_fill
from services.metering.application.ports import UnitOfWork
from services.metering.domain.counter import CounterRules
from services.metering.domain.meter import (
    BUCKET_S,
    NO_OPTIONS,
    Aggregation,
    Meter,
    MeterOptions,
    new_meter,
)

METERS_MAX = 500


class MeterExists(Conflict):
    code: ClassVar[str] = "meter_exists"
    title: ClassVar[str] = "There is a meter of this code"


class TooManyMeters(RuleViolation):
    code: ClassVar[str] = "too_many_meters"
    title: ClassVar[str] = "There are too many meters"


@dataclass(frozen=True, slots=True)
class DefineMeter:
    """As its maker says it; see `new_meter`."""

    code: str
    event_type: str
    aggregation: Aggregation
    value: str | None = None
    group_by: tuple[str | tuple[str, str], ...] = ()
    filter: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    unit: str | None = None
    description: str | None = None
    bucket_s: int = BUCKET_S
    value_expression: str | None = None
    exclude: tuple[Mapping[str, Sequence[str | None]], ...] = ()
    filter_expression: str | None = None
    options: MeterOptions = NO_OPTIONS
    counter: CounterRules | None = None

    def to_meter(
        self, *, created_at: datetime, version: int = 1, valid_from: datetime | None = None
    ) -> Meter:
        """Raises: InvalidMeter, InvalidPointer."""
        return new_meter(
            id=new_id("mtr"),
            code=self.code,
            event_type=self.event_type,
            aggregation=self.aggregation,
            value=self.value,
            group_by=self.group_by,
            filter=self.filter,
            unit=self.unit,
            description=self.description,
            bucket_s=self.bucket_s,
            created_at=created_at,
            value_expression=self.value_expression,
            exclude=self.exclude,
            filter_expression=self.filter_expression,
            options=self.options,
            counter=self.counter,
            version=version,
            valid_from=valid_from,
        )


async def define_meter(command: DefineMeter, *, uow: UnitOfWork, clock: Clock) -> Meter:
    """Define a meter, and begin to sum up what is stored already: a little at once, much in the background.

    The tenant's writers wait for it. So no event falls between the sums made of what is there and those added by
    whoever stores the next one. Windows that closed without the meter are counted again.
    Emits: MeterDefined. Raises: MeterExists, TooManyMeters, InvalidMeter, InvalidPointer.
    """
    now = clock.system_now()
    meter = command.to_meter(created_at=now)
    await uow.usage.stop_writers()
    if await uow.meters.find_by_code(meter.code) is not None:
        raise MeterExists("a meter of this code was defined before", pointer="/code", meter=meter.code)
    if await uow.meters.count() >= METERS_MAX:
        raise TooManyMeters(f"a tenant has at most {METERS_MAX} meters")
    await uow.meters.insert(meter)
    await begin_back_fill(meter, uow=uow, now=now)
    uow.late.note_meter(meter.code)
    uow.balances.note_meter(meter.code)
    uow.outbox.append(events.for_meter(meter, tenant=uow.tenant), key=meter.id)
    uow.record("meter.defined", meter.id)
    return await uow.meters.get(meter.id)
