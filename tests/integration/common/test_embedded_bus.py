"""What only the embedded bus has: its tables, its retention, and how ownership is lost and found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from libs.common.contracts.topics import Topic
from libs.common.messaging.bus_migrations import NewerBusSchema, install
from libs.common.messaging.embedded_bus import TRIM_RECORDS_MAX, EmbeddedBus
from libs.common.messaging.embedded_subscription import EmbeddedSubscription
from libs.common.persistence.session import asyncpg_dsn
from tests.integration.transport.harness import numbers, receive, receive_nothing, record

WEEK = timedelta(days=7)


@pytest_asyncio.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection: asyncpg.Connection[Any] = await asyncpg.connect(asyncpg_dsn(database))
    await install(connection)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def bus(database: str, connection: asyncpg.Connection[Any]) -> AsyncIterator[EmbeddedBus]:
    bus = EmbeddedBus(database)
    await bus.ensure_topics([Topic("orders", partitions=1)])
    yield bus
    await bus.close()


def a_week_ago() -> datetime:
    return datetime.now(UTC) - WEEK


async def age(connection: asyncpg.Connection[Any], *, below_offset: int) -> None:
    """Make the records below that offset eight days old."""
    await connection.execute(
        "UPDATE bus_record SET at = at - interval '8 days' WHERE \"offset\" < $1", below_offset
    )


async def handle(bus: EmbeddedBus, group: str, count: int) -> None:
    async with bus.subscribe(group, ["orders"], member="a") as subscription:
        await subscription.acknowledge(await receive(subscription, count, records_max=count))


async def stored_offsets(connection: asyncpg.Connection[Any]) -> list[int]:
    return [row[0] for row in await connection.fetch('SELECT "offset" FROM bus_record ORDER BY 1')]


# Tables


async def test_installing_again_changes_nothing(
    connection: asyncpg.Connection[Any], bus: EmbeddedBus
) -> None:
    await bus.publish([record("orders", "k", 1)])
    assert await install(connection) == await install(connection)
    assert await bus.end_offsets("orders") == {0: 1}


async def test_two_processes_may_install_at_once(database: str) -> None:
    connections = [await asyncpg.connect(asyncpg_dsn(database)) for _ in range(3)]
    await asyncio.gather(*(install(connection) for connection in connections))
    for connection in connections:
        await connection.close()


async def test_tables_of_a_newer_version_are_refused(connection: asyncpg.Connection[Any]) -> None:
    await connection.execute("INSERT INTO bus_version (version) VALUES (1000)")
    with pytest.raises(NewerBusSchema):
        await install(connection)


# Retention


async def test_trimming_takes_what_is_old_and_behind_every_group(
    connection: asyncpg.Connection[Any], bus: EmbeddedBus
) -> None:
    await bus.publish([record("orders", "k", number) for number in range(10)])
    await handle(bus, "one", 9)
    await handle(bus, "two", 6)
    await age(connection, below_offset=8)
    assert await bus.trim(a_week_ago()) == 6
    assert await stored_offsets(connection) == [6, 7, 8, 9]
    await handle(bus, "two", 4)
    assert await bus.trim(a_week_ago()) == 2
    assert await stored_offsets(connection) == [8, 9]


async def test_trimming_waits_for_a_group_that_has_begun_and_handled_nothing(
    connection: asyncpg.Connection[Any], bus: EmbeddedBus
) -> None:
    await bus.publish([record("orders", "k", number) for number in range(5)])
    async with bus.subscribe("slow", ["orders"], member="a"):
        pass
    await handle(bus, "quick", 5)
    await age(connection, below_offset=5)
    assert await bus.trim(a_week_ago()) == 0


async def test_what_is_young_stays(connection: asyncpg.Connection[Any], bus: EmbeddedBus) -> None:
    await bus.publish([record("orders", "k", number) for number in range(3)])
    await handle(bus, "one", 3)
    assert await bus.trim(a_week_ago()) == 0
    assert await stored_offsets(connection) == [0, 1, 2]


async def test_trimming_goes_on_beyond_one_round(
    connection: asyncpg.Connection[Any], bus: EmbeddedBus
) -> None:
    many = TRIM_RECORDS_MAX + 2_000
    await bus.publish([record("orders", "k", number) for number in range(many)])
    await age(connection, below_offset=many)
    assert await bus.trim(a_week_ago()) == many


async def test_offsets_go_on_after_everything_was_trimmed(
    connection: asyncpg.Connection[Any], bus: EmbeddedBus
) -> None:
    await bus.publish([record("orders", "k", number) for number in range(5)])
    await handle(bus, "one", 5)
    await age(connection, below_offset=5)
    await bus.trim(a_week_ago())
    await bus.publish([record("orders", "k", 5)])
    async with bus.subscribe("one", ["orders"], member="a") as subscription:
        [delivery] = await receive(subscription, 1)
    assert (delivery.offset, delivery.value) == (5, b"5")


async def test_a_group_that_comes_late_begins_with_what_is_left_and_is_then_up_to_date(
    connection: asyncpg.Connection[Any], bus: EmbeddedBus
) -> None:
    await bus.publish([record("orders", "k", number) for number in range(5)])
    await handle(bus, "early", 5)
    await age(connection, below_offset=3)
    await bus.trim(a_week_ago())
    async with bus.subscribe("late", ["orders"], member="a") as subscription:
        assert await bus.committed("late", "orders") == {0: 3}
        assert numbers(await receive(subscription, 2)) == [3, 4]
    await age(connection, below_offset=5)
    await handle(bus, "late", 2)
    await bus.trim(a_week_ago())
    async with bus.subscribe("latest", ["orders"], member="a"):
        assert await bus.committed("latest", "orders") == await bus.end_offsets("orders")


async def test_seeking_back_before_what_was_trimmed_begins_with_what_is_left(
    connection: asyncpg.Connection[Any], bus: EmbeddedBus
) -> None:
    await bus.publish([record("orders", "k", number) for number in range(5)])
    await handle(bus, "one", 5)
    await age(connection, below_offset=3)
    await bus.trim(a_week_ago())
    async with bus.subscribe("one", ["orders"], member="a") as subscription:
        await subscription.seek("orders", 0, 0)
        received = [d for _ in range(3) for d in await subscription.poll(records_max=2, timeout_s=0.1)]
    assert numbers(received) == [3, 4]


# Ownership


async def test_after_a_lost_connection_reading_begins_at_what_was_committed(bus: EmbeddedBus) -> None:
    await bus.publish([record("orders", "k", number) for number in range(5)])
    async with bus.subscribe("one", ["orders"], member="a") as subscription:
        held = await receive(subscription, 5)
        await subscription.acknowledge(held[:2])
        lose_connection(subscription)
        assert numbers(await receive(subscription, 3)) == [2, 3, 4]


async def test_what_was_delivered_before_the_connection_was_lost_is_not_acknowledged_after(
    bus: EmbeddedBus,
) -> None:
    """Somebody else may have owned the partition in between; what counts is what comes again."""
    await bus.publish([record("orders", "k", number) for number in range(5)])
    async with bus.subscribe("one", ["orders"], member="a") as subscription:
        held = await receive(subscription, 5)
        lose_connection(subscription)
        await subscription.acknowledge(held)
        again = await receive(subscription, 2, records_max=2)
        await subscription.acknowledge(held)
        assert await bus.committed("one", "orders") == {0: 0}
        await subscription.acknowledge(again)
        assert await bus.committed("one", "orders") == {0: 2}


async def test_a_topic_made_after_subscribing_is_found(bus: EmbeddedBus) -> None:
    async with bus.subscribe("one", ["orders", "later"], member="a") as subscription:
        await receive_nothing(subscription)
        await bus.ensure_topics([Topic("later", partitions=2)])
        await bus.publish([record("later", "k", 1)])
        assert numbers(await receive(subscription, 1, timeout_s=5)) == [1]


async def test_a_poll_may_be_canceled_without_loss(bus: EmbeddedBus) -> None:
    async with bus.subscribe("one", ["orders"], member="a") as subscription:
        seen: list[int] = []
        for number in range(200):
            polling = asyncio.create_task(subscription.poll(records_max=10, timeout_s=5))
            await asyncio.sleep(0.0002 * (number % 8))
            await bus.publish([record("orders", "k", number)])
            polling.cancel()
            try:
                seen += numbers(await polling)
            except asyncio.CancelledError:
                pass
        seen += numbers(await receive(subscription, 200 - len(seen)))
    assert seen == list(range(200))


async def test_publishing_after_the_tables_were_made_anew_recovers(
    connection: asyncpg.Connection[Any], bus: EmbeddedBus
) -> None:
    await bus.publish([record("orders", "k", 1)])
    await connection.execute("TRUNCATE bus_partition, bus_record, bus_offset")
    with pytest.raises(Exception, match="partitions are gone"):
        await bus.publish([record("orders", "k", 2)])
    await bus.ensure_topics([Topic("orders", partitions=1)])
    await bus.publish([record("orders", "k", 2)])
    assert await bus.end_offsets("orders") == {0: 1}


def lose_connection(subscription: EmbeddedSubscription) -> None:
    assert subscription._connection is not None
    subscription._connection.terminate()
