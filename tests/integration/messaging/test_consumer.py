"""The effect of a message happens exactly once, however often it comes and whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import asyncpg
import pytest
from sqlalchemy import text

from libs.common.access.tenancy import APP
from libs.common.contracts.envelope import Event
from libs.common.messaging.bus import Delivery
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.messaging.handlers import HandlerGroup
from libs.common.persistence.outage import is_outage
from libs.common.persistence.session import Database, asyncpg_dsn
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.telemetry.metrics import REGISTRY
from tests.support.lossy_proxy import lossy_proxy
from tests.support.postgres import PostgresForTests
from tests.support.small_service import (
    GROUP,
    NAME,
    TENANT_A,
    TENANT_B,
    TENANT_C,
    TOPIC,
    SmallService,
    SmallUnitOfWork,
    Thing,
    ThingHappenedV1,
    background,
    delivery_of,
    eventually,
    happened,
    small_service,
    write_effect,
)


def a_batch(count: int, tenant: str = TENANT_A) -> list[Delivery]:
    return [delivery_of(happened("t1", number, tenant), offset=number) for number in range(count)]


def effects_of(count: int) -> list[tuple[str, int]]:
    return [("t1", number) for number in range(count)]


async def handled_so_far(service: SmallService) -> bool:
    """Everything on the topic was acknowledged."""
    return await service.bus.end_offsets(TOPIC) == await service.bus.committed(GROUP, TOPIC)


# Exactly once


async def test_what_is_delivered_again_has_no_effect(service: SmallService) -> None:
    consumer, batch = service.consumer(), a_batch(20)
    await consumer.apply(batch)
    await consumer.apply(batch)
    await service.consumer().apply(batch[5:])
    assert await service.effects() == effects_of(20)


async def test_a_message_that_stands_twice_in_one_poll_has_one_effect(service: SmallService) -> None:
    one, two = a_batch(2)
    await service.consumer().apply([one, two, one, two, two])
    assert await service.effects() == effects_of(2)


async def test_old_and_new_in_one_poll(service: SmallService) -> None:
    batch = a_batch(10)
    await service.consumer().apply(batch[3:6])
    await service.consumer().apply(batch)
    assert sorted(await service.effects()) == effects_of(10)
    assert len(await service.rows("SELECT FROM inbox")) == 10


async def test_two_consumers_with_the_same_messages_have_one_effect(service: SmallService) -> None:
    """As after a rebalance that the first has not noticed yet."""
    batch = a_batch(50)
    shuffled = random.Random(1).sample(batch, len(batch))
    await asyncio.gather(*(service.consumer().apply(given) for given in (batch, shuffled, batch[20:])))
    assert sorted(await service.effects()) == effects_of(50)
    assert await service.failures() == []


async def test_each_group_handles_a_message_once(service: SmallService) -> None:
    batch = a_batch(3)
    other = service.handlers.group("perennial.other")
    for _ in range(2):
        await service.consumer().apply(batch)
        await service.consumer(group=other).apply(batch)
    assert await service.effects() == effects_of(3) + effects_of(3)


async def test_what_comes_over_the_bus_twice_has_one_effect(service: SmallService) -> None:
    """Redelivery by the transport: the group's offsets are lost, and everything comes again."""
    await service.say(*(happened(f"t{number % 5}", number) for number in range(40)))
    async with background(service.relay().run):
        await eventually(service.unpublished, 0)
    async with background(service.consumer(batch_max=7).run):
        await eventually(lambda: handled_so_far(service))
    async with service.bus.subscribe(GROUP, [TOPIC], member="two") as subscription:
        await subscription.poll(records_max=1, timeout_s=1)
    assert isinstance(service.bus, EmbeddedBus)
    bus = await asyncpg.connect(service.bus._dsn)
    await bus.execute('UPDATE bus_offset SET "offset" = 0')
    await bus.close()
    async with background(service.consumer().run):
        await eventually(lambda: handled_so_far(service))
    assert len(await service.effects()) == 40


# Batches


async def test_a_batch_over_several_tenants_is_handled_in_tenant_order(service: SmallService) -> None:
    given = [TENANT_C, TENANT_A, TENANT_B, TENANT_A, TENANT_C, TENANT_B]
    batch = [delivery_of(happened("t", number, tenant)) for number, tenant in enumerate(given)]
    await service.consumer().apply(batch)
    found = await service.rows("SELECT tenant::text, number, actor FROM effect ORDER BY position")
    assert [(row["tenant"], row["number"]) for row in found] == [
        (TENANT_A, 1),
        (TENANT_A, 3),
        (TENANT_B, 2),
        (TENANT_B, 5),
        (TENANT_C, 0),
        (TENANT_C, 4),
    ]
    assert [row["actor"] for row in found] == [
        f"event:{batch[number].headers['ce_id']}" for number in (1, 3, 2, 5, 0, 4)
    ]


async def test_a_batch_is_one_transaction(service: SmallService) -> None:
    await service.consumer().apply(a_batch(30) + a_batch(30, TENANT_B))
    assert len(await service.rows("SELECT DISTINCT xmin::text FROM effect")) == 1


async def test_what_handlers_save_is_written_for_their_own_tenant(service: SmallService) -> None:
    async def make(event: Event, uow: SmallUnitOfWork) -> None:
        assert isinstance(event, ThingHappenedV1)
        uow.things.add(Thing(event.thing_id))
        uow.outbox.append(happened(event.thing_id, 99, event.tenant), key=event.thing_id)

    service.handlers.more[ThingHappenedV1] = make
    tenants = {"t1": TENANT_B, "t2": TENANT_A, "t3": TENANT_B}
    await service.consumer().apply([delivery_of(happened(id, 1, tenant)) for id, tenant in tenants.items()])
    things = await service.rows("SELECT id, tenant::text FROM thing")
    sent = await service.rows("SELECT aggregate_id, tenant::text FROM outbox")
    assert {tuple(row) for row in things} == {tuple(row) for row in sent} == set(tenants.items())


async def test_preparation_sees_all_events_of_a_tenant_at_once(service: SmallService) -> None:
    seen: list[tuple[str, list[int]]] = []

    async def prepare(events: Sequence[Event], uow: SmallUnitOfWork) -> None:
        seen.append((uow.tenant, [event.number for event in events if isinstance(event, ThingHappenedV1)]))

    group = service.handlers.group()
    prepared: HandlerGroup[SmallUnitOfWork] = HandlerGroup(group.name, group.topics, group.handle, prepare)
    await service.consumer(group=prepared).apply(a_batch(3, TENANT_B) + a_batch(2))
    assert seen == [(TENANT_A, [0, 1]), (TENANT_B, [0, 1, 2])]


async def test_events_that_the_group_does_not_listen_to_are_passed_over(service: SmallService) -> None:
    group = service.handlers.group()
    deaf: HandlerGroup[SmallUnitOfWork] = HandlerGroup(group.name, group.topics, {})
    await service.consumer(group=deaf).apply(a_batch(3))
    assert await service.rows("SELECT FROM inbox UNION ALL SELECT FROM message_failure") == []


async def test_what_was_handled_is_counted_once(service: SmallService) -> None:
    def count() -> float:
        labels = {"service": NAME, "type": ThingHappenedV1.TYPE}
        return REGISTRY.get_sample_value("perennial_events_consumed_total", labels) or 0

    before, batch = count(), a_batch(5)
    await service.consumer().apply(batch)
    await service.consumer().apply(batch)
    assert count() - before == 5


# Lost races


async def test_a_deadlock_repeats_the_whole(service: SmallService) -> None:
    await service.make_things(Thing("t1"), Thing("t2"))
    rival: asyncpg.Connection = await asyncpg.connect(asyncpg_dsn(service.database.admin_dsn))
    rivals: list[asyncio.Task[str]] = []
    tries: list[int] = []

    async def cross(event: ThingHappenedV1, uow: SmallUnitOfWork) -> None:
        tries.append(event.number)
        await uow.things.get_for_update("t1")
        if len(tries) == 1:
            await rival.execute("BEGIN; SET LOCAL deadlock_timeout = '30 s'")  # so that we are the victim
            await rival.execute("SELECT FROM thing WHERE id = 't2' FOR UPDATE")
            waiting = rival.execute("SELECT FROM thing WHERE id = 't1' FOR UPDATE; COMMIT")
            rivals.append(asyncio.create_task(waiting))
            await asyncio.sleep(0.1)
        await uow.things.get_for_update("t2")

    service.handlers.trouble["cross"] = cross
    batch = [delivery_of(happened(id, number)) for number, id in enumerate(["t8", "cross", "t9"])]
    await service.consumer().apply(batch)
    await asyncio.gather(*rivals)
    await rival.close()
    assert tries == [1, 1]
    assert await service.effects() == [("t8", 0), ("cross", 1), ("t9", 2)]
    assert (
        len(await service.rows("SELECT DISTINCT xmin::text FROM effect")) == 1
    )  # it was not tried by halves
    assert await service.failures() == []


# Outages


async def test_a_lost_session_repeats_the_whole_and_counts_no_attempt(service: SmallService) -> None:
    tries: list[int] = []

    async def cut(event: ThingHappenedV1, uow: SmallUnitOfWork) -> None:
        tries.append(event.number)
        if len(tries) <= 2:
            await write_effect(event, uow)
            await service.cut_connections()

    service.handlers.trouble["t1"] = cut
    await service.say(happened("t0", 0), happened("t1", 1), happened("t2", 2))
    async with background(service.relay().run, service.consumer().run):
        await eventually(service.effects, [("t0", 0), ("t1", 1), ("t2", 2)])
        await eventually(lambda: handled_so_far(service))
    assert tries == [1, 1, 1]
    assert await service.failures() == []


async def test_a_message_that_came_with_an_outage_is_not_blamed_for_it(service: SmallService) -> None:
    """The handler fails because its statement could not be run, whatever it makes of that."""

    async def wrap(event: ThingHappenedV1, uow: SmallUnitOfWork) -> None:
        if not wrapped:
            wrapped.append(True)
            await service.cut_connections()
            try:
                await uow.connection.execute(text("SELECT 1"))
            except Exception as error:
                raise RuntimeError("could not look it up") from error

    wrapped: list[bool] = []
    service.handlers.trouble["t1"] = wrap
    await service.say(happened("t1", 1))
    async with background(service.relay().run, service.consumer().run):
        await eventually(service.effects, [("t1", 1)])
    assert await service.failures() == []


async def test_an_outage_that_follows_another_failure_is_still_an_outage(service: SmallService) -> None:
    """A batch took too long and is tried by halves: what happens then is judged by itself."""
    tries: list[int] = []

    async def too_long(event: ThingHappenedV1, uow: SmallUnitOfWork) -> None:
        tries.append(event.number)
        if len(tries) == 1:
            await uow.connection.execute(text("SET LOCAL statement_timeout = '20 ms'"))
            await uow.connection.execute(text("SELECT pg_sleep(10)"))
        await service.cut_connections()

    service.handlers.trouble["t1"] = too_long
    with pytest.raises(Exception) as lost:
        await service.consumer().apply([delivery_of(happened(id, 1)) for id in ("t1", "t2")])
    assert is_outage(lost.value)
    assert len(tries) == 2
    assert await service.failures() == []


async def test_a_database_that_is_stopped_for_a_while_loses_nothing(
    bus: EmbeddedBus, fragile: PostgresForTests
) -> None:
    async with small_service(fragile, bus) as service:
        source = service.relay()
        async with background(source.run, service.consumer().run, service.consumer().run_retries):
            await service.say(*(happened("t1", number) for number in range(100)))
            await eventually(lambda: anything(service))
            await asyncio.to_thread(fragile.server.stop)
            await asyncio.sleep(2)
            await asyncio.to_thread(fragile.server.start)
            await service.worker.engine.dispose()
            await service.say(*(happened("t1", number) for number in range(100, 120)))
            await eventually(lambda: handled_count(service), 120, timeout_s=30)
            await eventually(lambda: handled_so_far(service))
        assert await service.effects() == effects_of(120)
        assert await service.failures() == []


async def anything(service: SmallService) -> bool:
    return await handled_count(service) > 0


async def handled_count(service: SmallService) -> int:
    return len(await service.effects())


async def test_an_outage_of_the_bus_loses_nothing(service: SmallService) -> None:
    """Its connections are cut again and again, between and within polls."""
    assert isinstance(service.bus, EmbeddedBus)
    admin = await asyncpg.connect(service.bus._dsn)
    async with background(service.relay().run, service.consumer(batch_max=10).run):
        for number in range(0, 100, 5):
            await service.say(*(happened("t1", number + n) for n in range(5)))
            if number % 25 == 0:
                await admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            await asyncio.sleep(0.02)
        await eventually(lambda: handled_count(service), 100, timeout_s=30)
    await admin.close()
    assert await service.effects() == effects_of(100)


async def test_a_commit_whose_answer_is_lost_takes_effect_once(service: SmallService) -> None:
    """The server has committed; the connection dies before it can say so."""
    async with lossy_proxy(service.worker.dsn) as (proxy, dsn):
        database = Database(dsn)
        units = UnitsOfWork(database, SmallUnitOfWork)
        await service.say(*(happened("t1", number) for number in range(10)))
        proxy.losses = 2
        async with background(service.relay().run, service.consumer(units=units).run):
            await eventually(lambda: handled_so_far_of(service, 10))
        await database.close()
    assert proxy.lost >= 1
    assert await service.effects() == effects_of(10)
    assert await service.failures() == []


async def handled_so_far_of(service: SmallService, count: int) -> bool:
    return await handled_count(service) >= count and await handled_so_far(service)


async def test_a_failure_that_is_kept_in_a_lost_commit_counts_once(service: SmallService) -> None:
    async def fail(event: ThingHappenedV1, uow: SmallUnitOfWork) -> None:
        proxy.losses = 1
        raise ValueError("always")

    service.handlers.trouble["t1"] = fail
    async with lossy_proxy(service.worker.dsn) as (proxy, dsn):
        database = Database(dsn)
        units = UnitsOfWork(database, SmallUnitOfWork)
        await service.say(happened("t1", 1))
        async with background(service.relay().run, service.consumer(units=units).run):
            await eventually(lambda: handled_so_far_and_something(service))
        await database.close()
    assert proxy.lost == 1
    (failure,) = await service.failures()
    assert failure["attempts"] == 1


async def handled_so_far_and_something(service: SmallService) -> bool:
    return sum((await service.bus.committed(GROUP, TOPIC)).values()) > 0 and await handled_so_far(service)


async def test_a_second_member_takes_over_where_the_first_died(service: SmallService) -> None:
    first = asyncio.create_task(service.consumer(member="one").run())
    async with background(service.relay().run):
        await service.say(*(happened("t1", number) for number in range(20)))
        await eventually(lambda: handled_count(service), 20)
        async with background(service.consumer(member="two").run):
            first.cancel()
            await service.say(*(happened("t1", number) for number in range(20, 40)))
            await eventually(lambda: handled_count(service), 40)
    assert await service.effects() == effects_of(40)


async def test_handlers_see_no_other_tenant(service: SmallService) -> None:
    await service.make_things(Thing("t1"), tenant=TENANT_A)
    seen: list[object] = []

    async def look(event: ThingHappenedV1, uow: SmallUnitOfWork) -> None:
        seen.append(await uow.things.find("t1"))

    service.handlers.trouble["t1"] = look
    await service.consumer().apply(
        [delivery_of(happened("t1", 1, tenant)) for tenant in (TENANT_A, TENANT_B)]
    )
    assert seen == [Thing("t1", note="t1"), None]
    async with service.worker.transaction(APP) as connection:
        assert (await connection.execute(text("SELECT 1 FROM effect"))).first() is None
