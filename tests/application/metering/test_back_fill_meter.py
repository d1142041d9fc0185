"""Filling a meter: a little at once, much in slices; and the next version of one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from libs.common.contracts.metering import MeterDefinedV1
from services.metering.application import back_fill_meter as filling
from services.metering.application.back_fill_meter import BackFillMeter, back_fill_meter
from services.metering.application.define_meter import DefineMeter, define_meter
from services.metering.application.define_meter_version import DefineMeterVersion, define_meter_version
from services.metering.application.keep_usage import LOOK_EVERY, RESTED, KeepUsage, forget_usage, keep_usage
from services.metering.domain.meter import Meter
from services.metering.domain.meter_version import MeterVersionTooEarly
from tests.application.metering.memory import MemoryMeteringUnitOfWork
from tests.application.metering.test_windows import ingest
from tests.support.clocks import FixedClock

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CLOCK = FixedClock(NOW)
COMMAND = DefineMeter("minutes", "flight.landed", "sum", "/minutes", unit="minute")


def ignore(version: int | None) -> None:
    """Any version will do."""


async def next_version(uow: MemoryMeteringUnitOfWork, meter: Meter, at: datetime | None = None) -> Meter:
    command = DefineMeterVersion(meter.id, DefineMeter("", "flight.landed", "sum", "/other"), at)
    return await define_meter_version(command, uow=uow, clock=CLOCK, check_version=ignore)


async def test_what_is_little_is_filled_at_once(uow: MemoryMeteringUnitOfWork) -> None:
    await ingest(uow, "a", 5)
    meter = await define_meter(COMMAND, uow=uow, clock=CLOCK)
    assert [(versions, end) for versions, _, end in uow.history.filled] == [([1], None)]
    assert uow.usage.calls == ["stop_writers", "fill"]
    assert (await uow.back_fills.get(meter.id)).event_count == 1


async def test_what_is_much_is_filled_while_writers_wait_and_windows_are_counted_again_at_the_end(
    uow: MemoryMeteringUnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "AT_ONCE_MAX", 0)
    monkeypatch.setattr(filling, "SLICE_EVENTS", 1)
    await ingest(uow, "a", 5)
    meter = await define_meter(COMMAND, uow=uow, clock=CLOCK)
    assert uow.history.filled == []
    uow.late.noted.clear()
    uow.usage.calls.clear()
    done = await back_fill_meter(BackFillMeter(meter.id), uow=uow, clock=CLOCK)
    assert (done.state, done.event_count) == ("done", 1)
    assert uow.usage.calls == ["stop_writers", "fill"]
    assert uow.late.noted == [("meter", "minutes")]
    assert [recorded.action for recorded in uow.recorded][-1] == "meter.filled"
    again = await back_fill_meter(BackFillMeter(meter.id), uow=uow, clock=CLOCK)
    assert (again, len(uow.history.filled)) == (done, 1)


async def test_a_slice_ends_where_too_many_of_any_type_were_looked_at(
    uow: MemoryMeteringUnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "AT_ONCE_MAX", 0)
    monkeypatch.setattr(filling, "SLICE_LOOKED_AT", 0)
    await ingest(uow, "a", 5)
    meter = await define_meter(COMMAND, uow=uow, clock=CLOCK)
    begun = await back_fill_meter(BackFillMeter(meter.id), uow=uow, clock=CLOCK)
    assert (begun.state, begun.event_count) == ("running", 1)


async def test_the_next_version_begins_where_the_one_before_ends(uow: MemoryMeteringUnitOfWork) -> None:
    first = await define_meter(COMMAND, uow=uow, clock=CLOCK)
    second = await next_version(uow, first)
    assert (second.version, second.code, second.unit, second.valid_from) == (2, "minutes", "minute", NOW)
    assert [m.valid_until for m in await uow.meters.versions("minutes")] == [NOW, None]
    told = [event for event in uow.outbox.events if isinstance(event, MeterDefinedV1)]
    assert [(event.version, event.meter_id) for event in told] == [(1, first.id), (2, second.id)]
    with pytest.raises(MeterVersionTooEarly):
        await next_version(uow, first, NOW)
    third = await next_version(uow, first, NOW + timedelta(microseconds=1))
    assert third.version == 3


async def test_what_is_no_longer_kept_is_deleted_piece_by_piece(uow: MemoryMeteringUnitOfWork) -> None:
    versions = list[int | None]()
    kept = await keep_usage(KeepUsage(10), uow=uow, clock=CLOCK, check_version=versions.append)
    assert (kept.version, kept.kept_from, versions) == (1, NOW - timedelta(days=10), [0])
    assert uow.retention.due_at == NOW + RESTED
    uow.retention.to_delete = 15
    counts = [await forget_usage(uow=uow, clock=CLOCK) for _ in range(3)]
    assert (counts, uow.retention.due_at) == ([10, 5, 0], NOW + LOOK_EVERY)
    meter = await define_meter(COMMAND, uow=uow, clock=CLOCK)
    with pytest.raises(MeterVersionTooEarly):
        await next_version(uow, meter, NOW - timedelta(days=11))
