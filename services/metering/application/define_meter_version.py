"""Read events otherwise from an instant on, under the same code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from libs.common.clock import Clock
from libs.common.errors import RuleViolation
from services.metering.application import events
from services.metering.application.back_fill_meter import begin_back_fill
from services.metering.application.define_meter import DefineMeter
from services.metering.application.ports import UnitOfWork
from services.metering.domain.meter import Meter
from services.metering.domain.meter_version import check_follows

VERSIONS_MAX = 100


class TooManyMeterVersions(RuleViolation):
    code: ClassVar[str] = "too_many_meter_versions"
    title: ClassVar[str] = "The meter has too many versions"


@dataclass(frozen=True, slots=True)
class DefineMeterVersion:
    """`meter_id`: any version of the meter. Of the definition, code, unit, bucket and counter are the meter's own.

    `effective_from` None: from now on.
    """

    meter_id: str
    definition: DefineMeter
    effective_from: datetime | None = None


async def define_meter_version(
    command: DefineMeterVersion,
    *,
    uow: UnitOfWork,
    clock: Clock,
    check_version: Callable[[int | None], None],
) -> Meter:
    """End the newest version of a meter where the next one begins, and sum up what happened since then.

    What is stored already is read again, at once or in the background; closed windows that it changes are counted
    again once that is done.
    Emits: MeterDefined. Raises: MeterNotFound, MeterVersionDiffers, MeterVersionTooEarly, TooManyMeterVersions,
    InvalidMeter, InvalidPointer, and what `check_version` raises.
    """
    now = clock.system_now()
    known = await uow.meters.get(command.meter_id)
    await uow.usage.stop_writers()
    previous = await uow.meters.find_by_code(known.code)
    assert previous is not None, "a meter is never taken away"
    check_version(previous.version)
    if previous.version >= VERSIONS_MAX:
        raise TooManyMeterVersions(f"a meter has at most {VERSIONS_MAX} versions")
    definition = replace(
        command.definition,
        code=previous.code,
        unit=previous.unit,
        bucket_s=previous.bucket_s,
        counter=previous.counter,
    )
    meter = definition.to_meter(
        created_at=now, version=previous.version + 1, valid_from=command.effective_from or now
    )
    check_follows(meter, previous, kept_from=await uow.retention.kept_from())
    assert meter.valid_from is not None, "it begins where the version before ends"
    await uow.meters.close(previous.id, meter.valid_from)
    await uow.meters.insert(meter)
    await begin_back_fill(meter, uow=uow, now=now)
    uow.late.note_meter(meter.code)
    uow.balances.note_meter(meter.code)
    uow.outbox.append(events.for_meter(meter, tenant=uow.tenant), key=meter.id)
    uow.record("meter.version_defined", meter.id, meter.version)
    return await uow.meters.get(meter.id)
