"""Say what is to be measured from now on, and from whenever events of its type began to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from libs.common.clock import Clock
from libs.common.errors import Conflict, RuleViolation
from libs.common.ids import new_id
from services.metering.application import events
from services.metering.application.ports import UnitOfWork
from services.metering.domain.meter import BUCKET_S, Aggregation, Meter, new_meter

METERS_MAX = 500


class MeterExists(Conflict):
    code: ClassVar[str] = "meter_exists"
    title: ClassVar[str] = "There is a meter of this code"


class TooManyMeters(RuleViolation):
    code: ClassVar[str] = "too_many_meters"
    title: ClassVar[str] = "There are too many meters"


@dataclass(frozen=True, slots=True)
class DefineMeter:
    code: str
    event_type: str
    aggregation: Aggregation
    value: str | None = None
    group_by: tuple[str, ...] = ()
    filter: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unit: str | None = None
    description: str | None = None
    bucket_s: int = BUCKET_S


async def define_meter(command: DefineMeter, *, uow: UnitOfWork, clock: Clock) -> Meter:
    """Define a meter and sum up what is stored already, while the tenant's writers wait.

    So no event falls between the sums made here and those added by whoever stores the next one. Windows that
    closed without the meter are counted again.
    Emits: MeterDefined. Raises: MeterExists, TooManyMeters, InvalidMeter, InvalidPointer.
    """
    meter = new_meter(
        id=new_id("mtr"),
        code=command.code,
        event_type=command.event_type,
        aggregation=command.aggregation,
        value=command.value,
        group_by=command.group_by,
        filter=command.filter,
        unit=command.unit,
        description=command.description,
        bucket_s=command.bucket_s,
        created_at=clock.system_now(),
    )
    await uow.usage.stop_writers()
    if await uow.meters.find_by_code(meter.code) is not None:
        raise MeterExists("a meter of this code was defined before", pointer="/code", meter=meter.code)
    if await uow.meters.count() >= METERS_MAX:
        raise TooManyMeters(f"a tenant has at most {METERS_MAX} meters")
    await uow.meters.insert(meter)
    await uow.usage.back_fill(meter)
    uow.late.note_meter(meter.code)
    uow.balances.note_meter(meter.code)
    uow.outbox.append(events.for_meter(meter, tenant=uow.tenant), key=meter.id)
    uow.record("meter.defined", meter.id)
    return meter
