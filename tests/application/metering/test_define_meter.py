"""Defining a meter: once for a code, with what is stored already summed up while writers wait."""

from __future__ import annotations

import pytest

from libs.common.contracts.metering import MeterDefinedV1
from services.metering.application import define_meter as use_case
from services.metering.application.define_meter import DefineMeter, MeterExists, TooManyMeters, define_meter
from tests.application.metering.memory import MemoryMeteringUnitOfWork
from tests.support.clocks import FixedClock

COMMAND = DefineMeter(
    code="minutes", event_type="flight.landed", aggregation="sum", value="/minutes", unit="minute"
)


async def test_a_meter_is_defined_back_filled_and_told(
    uow: MemoryMeteringUnitOfWork, clock: FixedClock
) -> None:
    meter = await define_meter(COMMAND, uow=uow, clock=clock)
    assert uow.usage.calls == ["stop_writers"]
    assert (await uow.back_fills.get(meter.id)).state == "done"
    assert uow.late.noted == [("meter", "minutes")]
    [event] = uow.outbox.events
    assert isinstance(event, MeterDefinedV1)
    assert (event.meter_id, event.code, event.aggregation, event.unit) == (
        meter.id,
        "minutes",
        "sum",
        "minute",
    )
    assert [recorded.action for recorded in uow.recorded] == ["meter.defined"]


async def test_a_code_is_defined_once(uow: MemoryMeteringUnitOfWork, clock: FixedClock) -> None:
    await define_meter(COMMAND, uow=uow, clock=clock)
    with pytest.raises(MeterExists):
        await define_meter(COMMAND, uow=uow, clock=clock)


async def test_there_is_an_end_to_meters(
    uow: MemoryMeteringUnitOfWork, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use_case, "METERS_MAX", 0)
    with pytest.raises(TooManyMeters):
        await define_meter(COMMAND, uow=uow, clock=clock)
