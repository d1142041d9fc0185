"""Told to stop, each loop finishes what it has in hand, and leaves nothing that somebody else would wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from libs.common.messaging.alarm import Alarm
from libs.common.messaging.due import DueRow, Job, Scheduler
from libs.common.runtime import running
from libs.common.stopping import Stopping
from tests.integration.messaging.test_due import EARLIER, Wake, clock, count_due, things
from tests.support.postgres import PostgresForTests
from tests.support.small_service import (
    GROUP,
    NAME,
    TOPIC,
    BusInBetween,
    SmallService,
    SmallUnitOfWork,
    Thing,
    ThingHappenedV1,
    background,
    eventually,
    happened,
    small_bus,
    small_service,
)

IDLE_S = 2.0


async def stop(stopping: Stopping, *tasks: asyncio.Task[Any], within_s: float = IDLE_S) -> None:
    """Say the word; the loops must end by themselves, in time."""
    stopping.set()
    async with asyncio.timeout(within_s):
        await asyncio.gather(*tasks)


def started(*loops: Callable[[], Awaitable[None]]) -> list[asyncio.Task[None]]:
    async def run(loop: Callable[[], Awaitable[None]]) -> None:
        await loop()

    return [asyncio.create_task(run(loop)) for loop in loops]


async def publish(service: SmallService, *events: ThingHappenedV1) -> None:
    await service.say(*events)
    async with background(service.relay().run):
        await eventually(service.unpublished, 0)


async def partitions_are_free(service: SmallService) -> bool:
    """Another member gets all of them at once: nobody has to be missed first."""
    async with service.bus.subscribe(GROUP, [TOPIC], member="another") as subscription:
        return len(subscription.owned()) == 2


async def open_transactions(service: SmallService) -> int:
    (row,) = await service.rows(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND state LIKE 'idle in transaction%'",
        service.database.name,
    )
    return int(row[0])


async def test_idle_loops_end_at_once(service: SmallService) -> None:
    stopping = Stopping()
    consumer = service.consumer(stopping=stopping)
    jobs: list[Job] = [service.due_job(Wake(), clock=clock())]
    scheduler = Scheduler(jobs, alarm=Alarm(), interval_s=60, stopping=stopping)
    relay = service.relay(stopping=stopping)
    waiting = service.relay(stopping=stopping)  # for the lock that the first one holds
    tasks = started(consumer.run, consumer.run_retries, scheduler.run, relay.run, waiting.run)
    await publish_and_wait(service)
    await stop(stopping, *tasks)
    assert await partitions_are_free(service)


async def publish_and_wait(service: SmallService) -> None:
    await service.say(happened("t1", 1))
    await eventually(service.effects, [("t1", 1)])


async def test_a_consumer_finishes_its_batch_and_acknowledges_it(service: SmallService) -> None:
    stopping, begun, go_on = Stopping(), asyncio.Event(), asyncio.Event()

    async def slow(event: ThingHappenedV1, uow: SmallUnitOfWork) -> None:
        begun.set()
        await go_on.wait()

    service.handlers.trouble["slow"] = slow
    await publish(service, happened("slow", 1), *(happened("t1", number) for number in range(1, 30)))
    (task,) = started(service.consumer(stopping=stopping).run)
    await begun.wait()
    stopping.set()
    await asyncio.sleep(0.1)
    assert not task.done()
    go_on.set()
    await stop(stopping, task)
    assert len(await service.effects()) == 30
    assert await service.bus.committed(GROUP, TOPIC) == await service.bus.end_offsets(TOPIC)
    assert await partitions_are_free(service)
    assert await open_transactions(service) == 0


async def test_what_comes_after_the_word_waits_for_the_next(service: SmallService) -> None:
    stopping, stopped = Stopping(), asyncio.Event()
    consumer = service.consumer(stopping=stopping, batch_max=5)

    async def say_the_word(event: ThingHappenedV1, uow: SmallUnitOfWork) -> None:
        stopping.set()
        stopped.set()

    service.handlers.trouble["last"] = say_the_word
    await publish(service, *(happened("last", number) for number in range(1, 41)))
    tasks = started(consumer.run)
    await stopped.wait()
    await stop(stopping, *tasks)
    done = len(await service.effects())
    assert done == 5
    async with background(service.consumer().run):
        await eventually(service.effects, [("last", number) for number in range(1, 41)])


async def test_an_outage_is_not_waited_out_by_who_is_told_to_stop(
    postgres: PostgresForTests, fragile: PostgresForTests
) -> None:
    """What it had polled was neither handled nor acknowledged, so it comes again."""
    async with small_bus(postgres) as bus, small_service(fragile, bus) as service:
        stopping, begun = Stopping(), asyncio.Event()

        async def cut(event: ThingHappenedV1, uow: SmallUnitOfWork) -> None:
            begun.set()
            await asyncio.to_thread(fragile.server.stop)

        service.handlers.trouble["t1"] = cut
        await publish(service, happened("t1", 1))
        tasks = started(service.consumer(stopping=stopping).run)
        try:
            await begun.wait()
            await asyncio.sleep(0.5)
            await stop(stopping, *tasks, within_s=5)
        finally:
            await asyncio.to_thread(fragile.server.start)
        await service.worker.close()
        service.handlers.trouble.clear()
        assert sum((await bus.committed(GROUP, TOPIC)).values()) == 0
        async with background(service.consumer().run):
            await eventually(service.effects, [("t1", 1)])


async def test_a_relay_finishes_its_batch(service: SmallService) -> None:
    stopping, bus, begun, go_on = Stopping(), BusInBetween(service.bus), asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await go_on.wait()

    bus.after = wait
    await service.say(*(happened("t1", number) for number in range(1, 6)))
    (task,) = started(service.relay(bus, stopping=stopping).run)
    await begun.wait()
    stopping.set()
    await asyncio.sleep(0.05)
    assert not task.done()
    go_on.set()
    await stop(stopping, task)
    assert await service.unpublished() == 0  # published and marked: it is not published again
    async with background(service.relay().run):  # and nobody waits for its lock
        await service.say(happened("t1", 6))
        await eventually(service.unpublished, 0, timeout_s=2)


async def test_a_scheduler_finishes_its_job_and_begins_no_other(service: SmallService) -> None:
    stopping, begun, go_on = Stopping(), asyncio.Event(), asyncio.Event()
    wake = Wake()

    async def slowly(rows: Sequence[DueRow], uow: SmallUnitOfWork) -> None:
        begun.set()
        await go_on.wait()
        await wake(rows, uow)

    await service.make_things(*things(8))
    jobs: list[Job] = [
        service.due_job(slowly, clock=clock(), batch_max=3),
        service.due_job(Wake(), clock=clock()),
    ]
    (task,) = started(Scheduler(jobs, alarm=Alarm(), stopping=stopping).run)
    await begun.wait()
    stopping.set()
    await asyncio.sleep(0.05)
    assert not task.done()
    go_on.set()
    await stop(stopping, task)
    assert len(wake.rows) == 3
    assert await count_due(service) == 5
    assert await open_transactions(service) == 0
    # Nothing is claimed: the next finds all that is left at once.
    assert await service.due_job(Wake(), clock=clock()).run_once() == 5


async def test_a_worker_that_is_told_to_stop_leaves_nothing_claimed(service: SmallService) -> None:
    """All loops of a worker at once, in the middle of work; the next finds everything else free."""
    stopping = Stopping()
    consumer = service.consumer(stopping=stopping, batch_max=3)
    scheduler = Scheduler(
        [service.due_job(Wake(), clock=clock(), batch_max=2)], alarm=Alarm(), stopping=stopping
    )
    loops = [consumer.run, consumer.run_retries, scheduler.run, service.relay(stopping=stopping).run]
    async with running(NAME, loops, stopping=stopping):
        await service.make_things(*things(60))
        await service.make_things(Thing("later", due_at=EARLIER))
        await eventually(lambda: has_effects(service))
    assert await open_transactions(service) == 0
    assert await partitions_are_free(service)
    locks = await service.rows(
        "SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE l.locktype = 'advisory' AND d.datname = $1",
        service.database.name,
    )
    assert locks == []
    async with background(service.relay().run, service.consumer().run):
        while await service.due_job(Wake(), clock=clock()).run_once():
            pass
        await eventually(lambda: count_effects(service), 61)


async def has_effects(service: SmallService) -> bool:
    return len(await service.effects()) > 3


async def count_effects(service: SmallService) -> int:
    return len(await service.effects())
