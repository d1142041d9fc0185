"""Due rows are found for all tenants, done once each, many at a time; what fails alone leaves the queue for a while."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text, update

from libs.common.contracts.subscriptions import TestClockMovedV1
from libs.common.messaging.alarm import Alarm
from libs.common.messaging.due import RETRY_FIRST_S, DueRow, Job, Scheduler
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.persistence import clock_dues
from libs.common.persistence.outage import is_outage
from libs.common.persistence.session import Database, asyncpg_dsn
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.telemetry import Tracing, current_trace_id
from tests.support.clocks import FixedClock
from tests.support.lossy_proxy import lossy_proxy
from tests.support.postgres import PostgresForTests
from tests.support.small_service import (
    NOW,
    TENANT_A,
    TENANT_B,
    SmallService,
    SmallUnitOfWork,
    Thing,
    background,
    delivery_of,
    eventually,
    happened,
    small_service,
    thing,
)

HOUR = timedelta(hours=1)
EARLIER = NOW - HOUR


class Wake:
    """The work: a thing that was woken is not due any more, and says so. `bad` ones fail while it is so."""

    def __init__(self, *bad: str) -> None:
        self.bad = set(bad)
        self.rows: list[DueRow] = []
        self.batches: list[list[str]] = []

    async def __call__(self, rows: Sequence[DueRow], uow: SmallUnitOfWork) -> None:
        self.batches.append([row.id for row in rows])
        await uow.things.load_for_update(row.id for row in rows)
        for row in rows:
            one = await uow.things.get_for_update(row.id)
            assert one.due_at is not None
            uow.things.save(Thing(one.id, one.note, one.version + 1, None, one.clock_id))
            uow.outbox.append(happened(one.id, one.version + 1, row.tenant), key=one.id)
            if row.id in self.bad:
                raise ValueError(f"{row.id} does not wake up")
        self.rows += rows


def things(count: int, *, due_at: datetime | None = EARLIER, prefix: str = "t") -> list[Thing]:
    return [Thing(f"{prefix}{number:03}", due_at=due_at) for number in range(count)]


def clock() -> FixedClock:
    return FixedClock(NOW)


async def said(service: SmallService) -> list[str]:
    return [row[0] for row in await service.rows("SELECT aggregate_id FROM outbox ORDER BY 1")]


async def move(service: SmallService, clock_id: str, now: datetime, tenant: str = TENANT_A) -> None:
    version = int(now.timestamp())
    event = TestClockMovedV1(tenant=tenant, version=version, occurred_at=now, clock_id=clock_id, now=now)
    await service.consumer().apply([delivery_of(event, key=clock_id)])


async def failing(service: SmallService) -> list[asyncpg.Record]:
    return await service.rows("SELECT * FROM thing WHERE attempts > 0 ORDER BY id")


# Which rows, and how often


async def test_rows_of_all_tenants_are_done_in_one_transaction(service: SmallService) -> None:
    await service.make_things(*things(3, prefix="b"), tenant=TENANT_B)
    await service.make_things(*things(3, prefix="a"), Thing("later", due_at=NOW + HOUR), Thing("never"))
    wake = Wake()
    assert await service.due_job(wake, clock=clock()).run_once() == 6
    assert wake.batches == [["a000", "a001", "a002"], ["b000", "b001", "b002"]]
    assert {(row.tenant, row.now) for row in wake.rows} == {(TENANT_A, NOW), (TENANT_B, NOW)}
    assert len(await service.rows("SELECT DISTINCT xmin::text FROM thing WHERE version = 2")) == 1
    assert await service.due_job(wake, clock=clock()).run_once() == 0


async def test_a_row_is_due_at_its_instant_and_not_before(service: SmallService) -> None:
    await service.make_things(Thing("t1", due_at=NOW))
    wall = FixedClock(NOW - timedelta(microseconds=1))
    job = service.due_job(Wake(), clock=wall)
    assert await job.run_once() == 0
    wall.advance(timedelta(microseconds=1))
    assert await job.run_once() == 1


async def test_the_longest_due_come_first_and_a_batch_is_bounded(service: SmallService) -> None:
    made = [Thing(f"t{n}", due_at=EARLIER - n * HOUR) for n in range(7)]
    await service.make_things(*made)
    wake = Wake()
    job = service.due_job(wake, clock=clock(), batch_max=3)
    assert [await job.run_once() for _ in range(4)] == [3, 3, 1, 0]
    assert [sorted(batch) for batch in wake.batches] == [["t4", "t5", "t6"], ["t1", "t2", "t3"], ["t0"]]


async def test_two_schedulers_at_once_do_each_row_once(service: SmallService) -> None:
    await service.make_things(*things(200))
    wakes = [Wake() for _ in range(4)]
    jobs = [service.due_job(wake, clock=clock(), batch_max=17) for wake in wakes]
    schedulers = [Scheduler([job], alarm=Alarm(), interval_s=0.05) for job in jobs]
    async with background(*(scheduler.run for scheduler in schedulers)):
        await eventually(lambda: count_due(service), 0)
    assert sum(len(wake.rows) for wake in wakes) == 200
    assert set(Counter(await said(service)).values()) == {1}
    assert len(await said(service)) == 200


async def count_due(service: SmallService) -> int:
    return len(await service.rows("SELECT FROM thing WHERE due_at IS NOT NULL"))


async def test_a_row_that_another_has_in_hand_is_passed_over(service: SmallService) -> None:
    await service.make_things(*things(3))
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(rows: Sequence[DueRow], uow: SmallUnitOfWork) -> None:
        started.set()
        await go_on.wait()
        await Wake()(rows, uow)

    first = asyncio.create_task(service.due_job(slow, clock=clock(), batch_max=2).run_once())
    await started.wait()
    wake = Wake()
    assert await service.due_job(wake, clock=clock()).run_once() == 1
    assert wake.batches == [["t002"]]
    go_on.set()
    assert await first == 2


# Test clocks


async def test_rows_of_a_test_clock_wait_for_their_clock_and_not_for_the_wall(service: SmallService) -> None:
    await service.make_things(
        Thing("moved", due_at=NOW + 5 * HOUR, clock_id="clk_1"),
        Thing("later", due_at=NOW + 7 * HOUR, clock_id="clk_1"),
        Thing("unmoved", due_at=EARLIER, clock_id="clk_2"),
        Thing("unknown", due_at=EARLIER, clock_id="clk_3"),
    )
    await move(service, "clk_1", NOW)
    await move(service, "clk_2", EARLIER - HOUR)
    wake = Wake()
    job = service.due_job(wake, clock=clock())
    assert await job.run_once() == 0
    await move(service, "clk_1", NOW + 6 * HOUR)
    assert await job.run_once() == 1
    assert wake.rows == [DueRow(TENANT_A, "moved", NOW + 6 * HOUR)]
    await move(service, "clk_1", NOW + 7 * HOUR)
    await move(service, "clk_2", EARLIER)
    assert await job.run_once() == 2
    assert {row.id for row in wake.rows[1:]} == {"later", "unmoved"}


async def test_a_clock_of_another_tenant_moves_nothing(service: SmallService) -> None:
    await service.make_things(Thing("t1", due_at=EARLIER, clock_id="clk_1"), tenant=TENANT_B)
    await move(service, "clk_1", NOW, tenant=TENANT_A)
    assert await service.due_job(Wake(), clock=clock()).run_once() == 0


async def test_what_a_clock_still_waits_for_is_told(service: SmallService) -> None:
    async def dues() -> tuple[Any, ...]:
        async with service.units.open(TENANT_A, "test") as uow:
            told = await clock_dues.read_clock_dues(uow, "clk_1", [thing])
        return told.clock_now, told.earliest_due_at, told.busy, told.unpublished

    with pytest.raises(clock_dues.TestClockNotHeardOf):
        await dues()
    await service.make_things(
        Thing("t1", due_at=NOW + HOUR, clock_id="clk_1"), Thing("t2", due_at=NOW + 2 * HOUR, clock_id="clk_1")
    )
    await move(service, "clk_1", NOW)
    assert await dues() == (NOW, NOW + HOUR, 0, 0)
    await move(service, "clk_1", NOW + HOUR)
    await service.say(happened("t1", 1, test_clock="clk_1"), happened("t2", 1))
    assert await dues() == (NOW + HOUR, NOW + HOUR, 1, 1)
    await service.due_job(Wake(), clock=clock()).run_once()
    assert await dues() == (NOW + HOUR, NOW + 2 * HOUR, 0, 1)
    async with background(service.relay().run):
        await eventually(service.unpublished, 0)
    assert await dues() == (NOW + HOUR, NOW + 2 * HOUR, 0, 0)


# What fails


async def test_a_failing_row_alone_is_put_off_and_the_others_get_done_in_the_same_run(
    service: SmallService,
) -> None:
    await service.make_things(*things(20), *things(3, prefix="z"))
    await service.make_things(*things(3, prefix="b"), tenant=TENANT_B)
    wake = Wake("t004", "b001")
    job = service.due_job(wake, clock=clock())
    assert await job.run_once() == 26
    done = await said(service)
    assert len(done) == len(set(done) - wake.bad) == 24
    put_off = await failing(service)
    assert [(row["id"], row["attempts"], row["last_error"]) for row in put_off] == [
        ("b001", 1, "ValueError: b001 does not wake up"),
        ("t004", 1, "ValueError: t004 does not wake up"),
    ]
    assert {row["retry_at"] for row in put_off} == {NOW + timedelta(seconds=RETRY_FIRST_S)}
    assert {row["version"] for row in put_off} == {1}


async def test_pauses_double_up_to_an_hour_and_success_forgets_the_failures(service: SmallService) -> None:
    await service.make_things(Thing("t1", due_at=EARLIER))
    wake, wall = Wake("t1"), clock()
    job = service.due_job(wake, clock=wall)
    seen = []
    for _ in range(14):
        assert await job.run_once() == 1
        assert await job.run_once() == 0  # not before its time
        (row,) = await failing(service)
        seen.append((row["retry_at"] - wall.now).total_seconds())
        wall.now = row["retry_at"]
    assert seen == [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600, 3600]
    await service.rows("UPDATE thing SET attempts = 5000")  # as after half a year
    assert await job.run_once() == 1
    wall.advance(HOUR)
    wake.bad.clear()
    assert await job.run_once() == 1
    (row,) = await service.rows("SELECT attempts, retry_at, last_error, version, due_at FROM thing")
    assert tuple(row) == (0, None, None, 2, None)


async def test_a_rest_that_the_work_asked_for_stays_when_failures_are_forgotten(
    service: SmallService,
) -> None:
    """As a payment attempt does, which nobody may claim while the gateway is asked."""
    until = NOW + HOUR

    async def claim(rows: Sequence[DueRow], uow: SmallUnitOfWork) -> None:
        await uow.connection.execute(update(thing).values(retry_at=until))

    await service.make_things(Thing("t1", due_at=EARLIER))
    await service.rows("UPDATE thing SET attempts = 3, retry_at = $1, last_error = 'x'", EARLIER)
    assert await service.due_job(claim, clock=clock()).run_once() == 1
    (row,) = await service.rows("SELECT attempts, retry_at, last_error FROM thing")
    assert tuple(row) == (0, until, None)
    assert await service.due_job(claim, clock=clock()).run_once() == 0


async def test_a_row_that_cannot_be_saved_is_found_out(service: SmallService) -> None:
    """The error comes when the batch is written, not when its row is worked on."""

    async def rename(rows: Sequence[DueRow], uow: SmallUnitOfWork) -> None:
        for row in rows:
            one = await uow.things.get_for_update(row.id)
            note = "taken" if row.id == "t001" else f"new {row.id}"
            uow.things.save(Thing(one.id, note, 2))

    await service.make_things(*things(5), Thing("other", note="taken"))
    assert await service.due_job(rename, clock=clock()).run_once() == 5
    assert [row["id"] for row in await failing(service)] == ["t001"]
    assert "uq_thing_tenant_note" in (await failing(service))[0]["last_error"]
    assert len(await service.rows("SELECT FROM thing WHERE version = 2")) == 4


async def test_a_deadlock_repeats_the_whole(service: SmallService) -> None:
    await service.make_things(*things(2), Thing("x"))
    rival: asyncpg.Connection[Any] = await asyncpg.connect(asyncpg_dsn(service.database.admin_dsn))
    wake = Wake()
    rivals: list[asyncio.Task[str]] = []

    async def cross(rows: Sequence[DueRow], uow: SmallUnitOfWork) -> None:
        if not rivals:
            await rival.execute("BEGIN; SET LOCAL deadlock_timeout = '30 s'")  # so that we are the victim
            await rival.execute("SELECT FROM thing WHERE id = 'x' FOR UPDATE")
            waiting = rival.execute("SELECT FROM thing WHERE id = 't000' FOR UPDATE; COMMIT")
            rivals.append(asyncio.create_task(waiting))
            await asyncio.sleep(0.1)
        await uow.things.get_for_update("x")
        await wake(rows, uow)

    job = service.due_job(cross, clock=clock())
    done = await job.run_once()
    await asyncio.gather(*rivals)
    await rival.close()
    while len(wake.rows) < 2:  # the rival may have had a row in hand when we came again
        done += await job.run_once()
    assert sorted(row.id for row in wake.rows) == ["t000", "t001"]
    assert await failing(service) == []


async def test_a_race_that_is_lost_again_and_again_does_not_hold_up_the_queue(service: SmallService) -> None:
    async def wait_for_nobody(rows: Sequence[DueRow], uow: SmallUnitOfWork) -> None:
        if any(row.id == "t001" for row in rows):
            await uow.connection.execute(text("SELECT 1 FROM thing WHERE id = 'held' FOR UPDATE NOWAIT"))
        await Wake()(rows, uow)

    await service.make_things(*things(3), Thing("held"))
    rival: asyncpg.Connection[Any] = await asyncpg.connect(asyncpg_dsn(service.database.admin_dsn))
    async with rival.transaction():
        await rival.execute("SELECT FROM thing WHERE id = 'held' FOR UPDATE")
        assert await service.due_job(wait_for_nobody, clock=clock()).run_once() == 3
    await rival.close()
    assert [row["id"] for row in await failing(service)] == ["t001"]
    assert await said(service) == ["t000", "t002"]


# Outages


async def test_an_outage_is_nobodys_fault(service: SmallService) -> None:
    async def cut(rows: Sequence[DueRow], uow: SmallUnitOfWork) -> None:
        await Wake()(rows, uow)
        await service.cut_connections()

    await service.make_things(*things(3))
    with pytest.raises(Exception) as lost:
        await service.due_job(cut, clock=clock()).run_once()
    assert is_outage(lost.value)
    assert await failing(service) == []
    assert await service.due_job(Wake(), clock=clock()).run_once() == 3
    assert len(await said(service)) == 3


async def test_a_commit_whose_answer_is_lost_is_done_once(service: SmallService) -> None:
    await service.make_things(*things(3))
    async with lossy_proxy(service.worker.dsn) as (proxy, dsn):
        database = Database(dsn)
        job = service.due_job(Wake(), clock=clock(), units=UnitsOfWork(database, SmallUnitOfWork))
        proxy.losses = 1
        async with background(Scheduler([job], alarm=Alarm(), interval_s=0.05).run):
            await eventually(lambda: count_due(service), 0)
            await asyncio.sleep(0.2)
        await database.close()
    assert proxy.lost == 1
    assert await said(service) == ["t000", "t001", "t002"]
    assert await failing(service) == []


async def test_a_scheduler_outlives_a_restart_of_the_database(
    bus: EmbeddedBus, fragile: PostgresForTests
) -> None:
    async with small_service(fragile, bus) as service:
        await service.make_things(*things(5))
        job = service.due_job(Wake(), clock=clock(), batch_max=1)
        async with background(Scheduler([job], alarm=Alarm(), interval_s=0.1).run):
            await eventually(lambda: has_said(service))
            await asyncio.to_thread(fragile.server.stop)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(fragile.server.start)
            await eventually(lambda: count_due(service), 0)
        assert len(await said(service)) == 5


async def has_said(service: SmallService) -> bool:
    return len(await said(service)) > 0


# The scheduler


async def test_an_alarm_wakes_the_scheduler(service: SmallService) -> None:
    alarm = Alarm()
    async with background(
        Scheduler([service.due_job(Wake(), clock=clock())], alarm=alarm, interval_s=60).run
    ):
        await asyncio.sleep(0.2)
        await service.make_things(*things(3))
        alarm.ring()
        await eventually(lambda: count_due(service), 0, timeout_s=5)


async def test_a_job_that_stumbles_does_not_hold_up_the_others(service: SmallService) -> None:
    class Stumbling:
        name = "stumbling"

        async def run_once(self) -> int:
            raise ValueError("always")

    await service.make_things(*things(3))
    jobs: list[Job] = [Stumbling(), service.due_job(Wake(), clock=clock())]
    async with background(Scheduler(jobs, alarm=Alarm(), interval_s=0.05).run):
        await eventually(lambda: count_due(service), 0)


async def test_a_tick_is_a_trace_of_its_own(service: SmallService, tracing: Tracing) -> None:
    seen: list[str | None] = []

    async def look(rows: Sequence[DueRow], uow: SmallUnitOfWork) -> None:
        seen.append(current_trace_id())
        await Wake()(rows, uow)

    await service.make_things(*things(2))
    await service.due_job(look, clock=clock()).run_once()
    assert seen[0] is not None
    trace = tracing.ring.find_trace(seen[0])
    assert trace is not None
    assert [(span.name, span.parent_id) for span in trace.spans] == [("tick wake_things", None)]
    assert trace.spans[0].attributes["perennial.due.count"] == 2
