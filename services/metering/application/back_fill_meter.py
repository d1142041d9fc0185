"""Sum up the events that were there before a meter: at once if they are few, or in slices of time, in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from libs.common.clock import Clock
from services.metering.application.ports import Computed, UnitOfWork
from services.metering.domain.back_fill import BackFill, advance, filled_at_once, slice_end, slice_start
from services.metering.domain.measurement import measure
from services.metering.domain.meter import Meter

AT_ONCE_MAX = 5_000  # events, in the transaction that defines the meter
LOOKED_AT_MAX = 50_000  # events of any type, to find out
SLICE_EVENTS = 5_000  # of the meter's types: writers wait for a fraction of a second
SLICE_LOOKED_AT = 50_000  # of any type, which are only passed over
MEASURED_AT_ONCE = 500  # before others get a turn: a few milliseconds

EVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class BackFillMeter:
    """A version of a meter whose back-fill is held by this transaction, and by no other."""

    meter_id: str


async def begin_back_fill(meter: Meter, *, uow: UnitOfWork, now: datetime) -> BackFill:
    """Fill a version that was just inserted, if its events are few; or leave it to `back_fill_meter`.

    The tenant's writers must be kept out.
    """
    start = await _beginning(meter, uow)
    versions = await _until(meter, uow)
    types = sorted({version.event_type for version in versions})
    counted = await uow.history.count_events(types, start, looked_at_max=LOOKED_AT_MAX)
    if counted is not None and counted <= AT_ONCE_MAX:
        if counted:
            await _measure(meter, start, None, uow)
            await uow.history.fill(versions, start, None)
        begun = filled_at_once(meter.id, counted, now)
    else:
        estimate = await uow.history.estimate_events(start)
        begun = BackFill(meter.id, 0, max(estimate, counted or LOOKED_AT_MAX))
    await uow.back_fills.add(begun)
    return begun


async def back_fill_meter(command: BackFillMeter, *, uow: UnitOfWork, clock: Clock) -> BackFill:
    """Sum up one slice, while the tenant's writers wait, and say how far it came.

    Killed and begun again, it goes on where the last slice that was committed ended. What is stored meanwhile is
    counted once: a writer knows the meter, and a slice is made anew from all events that are there.
    When the last is done, closed windows of the meter are counted again, and balances said.
    """
    back_fill = await uow.back_fills.get(command.meter_id)
    if back_fill.done_at is not None:
        return back_fill
    meter = await uow.meters.get(back_fill.id)
    beginning = await _beginning(meter, uow)
    start = max(beginning, back_fill.filled_until or beginning)
    versions = await _until(meter, uow)
    too_many = await uow.history.find_cut(
        sorted({version.event_type for version in versions}),
        start,
        before=meter.valid_until,
        read_max=SLICE_EVENTS,
        looked_at_max=SLICE_LOOKED_AT,
    )
    end = slice_end(start, too_many)
    await _measure(meter, start, end, uow)
    await uow.usage.stop_writers()
    event_count = await uow.history.fill(await _until(meter, uow), start, end)
    now = clock.system_now()
    after = advance(back_fill, until=end, event_count=event_count, now=now)
    await uow.back_fills.save(after)
    if after.done_at is not None:
        uow.late.note_meter(meter.code)
        uow.balances.note_meter(meter.code)
        uow.record("meter.filled", meter.id, meter.version)
    return after


async def _beginning(meter: Meter, uow: UnitOfWork) -> datetime:
    """Where the first slice begins: nothing before is the meter's, or nothing before is kept."""
    kept_from = await uow.retention.kept_from()
    first = None if meter.carries_over else meter.valid_from
    if first is None:
        first = await uow.history.find_event(EVER)
    if first is None:
        first = kept_from or EVER
    if kept_from is not None:
        first = max(first, kept_from)
    return slice_start(first)


async def _until(meter: Meter, uow: UnitOfWork) -> Sequence[Meter]:
    """The version and those before it, whose sums end where it begins."""
    return [v for v in await uow.meters.versions(meter.code) if v.version <= meter.version]


async def _measure(meter: Meter, start: datetime, end: datetime | None, uow: UnitOfWork) -> None:
    """What expressions make of the events is worked out here, before anybody has to wait for it."""
    if not meter.is_computed:
        return
    computed: list[Computed] = []
    async for key, occurred_at, data in uow.history.events(meter, start, end):
        computed += _computed(meter, key, occurred_at, data)
        if len(computed) >= MEASURED_AT_ONCE:
            await uow.usage.keep_measurements(computed)
            computed = []
            await asyncio.sleep(0)
    await uow.usage.keep_measurements(computed)


def _computed(meter: Meter, key: bytes, occurred_at: datetime, data: Any) -> Sequence[Computed]:
    measured = measure(meter, data)
    return [] if measured is None else [Computed(meter.id, key, occurred_at, measured)]
