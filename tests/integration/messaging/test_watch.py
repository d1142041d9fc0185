"""What operators want to see rise: lag, what is overdue, what keeps failing."""

from __future__ import annotations

from datetime import timedelta

from libs.common.messaging.watch import Watch
from libs.common.telemetry import metrics
from libs.common.telemetry.metrics import REGISTRY
from tests.support.clocks import FixedClock
from tests.support.small_service import (
    GROUP,
    NAME,
    NOW,
    TENANT_A,
    TENANT_B,
    TOPIC,
    SmallService,
    Thing,
    background,
    eventually,
    happened,
    thing,
)

MINUTE = timedelta(minutes=1)


async def test_lag_and_overdue_rows_show(service: SmallService) -> None:
    await service.say(*(happened(f"t{number}", number) for number in range(1, 8)))
    async with background(service.relay().run):
        await eventually(service.unpublished, 0)
    late, later = NOW - MINUTE - timedelta(seconds=1), NOW - MINUTE
    await service.make_things(Thing("a", due_at=late), Thing("b", due_at=later), Thing("c"), tenant=TENANT_A)
    await service.make_things(
        Thing("d", due_at=late), Thing("e", due_at=late, clock_id="clk_1"), tenant=TENANT_B
    )
    await service.rows("UPDATE thing SET attempts = 1, retry_at = $1 WHERE id IN ('a', 'c')", NOW)
    await service.rows("UPDATE thing SET retry_at = $1 WHERE id = 'b'", NOW)  # in hand, as a running claim is
    watch = Watch(
        service=NAME,
        group=GROUP,
        topics=[TOPIC],
        bus=service.bus,
        units=service.units,
        clock=FixedClock(NOW),
        due_tables=[thing],
        overdue={"thing": metrics.windows_overdue},
    )
    async with background(watch.run):
        await eventually(lambda: gauge("perennial_consumer_lag_messages", group=GROUP, topic=TOPIC), 7.0)
        await eventually(lambda: gauge("perennial_usage_windows_overdue"), 2.0)
        assert await gauge("perennial_due_rows_failing", table="thing") == 1.0
        assert await gauge("perennial_due_rows_overdue", table="thing") == 2.0


async def gauge(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"service": NAME, **labels})
