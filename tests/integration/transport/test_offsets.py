"""Offsets have no gaps, and what is committed is what was acknowledged."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

from libs.common.contracts.topics import Topic
from libs.common.messaging.bus import Bus
from tests.integration.transport.conftest import PARTITIONS
from tests.integration.transport.harness import Transport, numbers, receive, record


async def test_concurrent_publishers_leave_no_gap_and_keep_order(
    transport: Transport, bus: Bus, topic: str, group: str
) -> None:
    async def publish(publisher: int) -> None:
        own = transport.bus()
        chance = random.Random(publisher)
        try:
            number = 0
            while number < 60:
                batch = chance.randint(1, 7)
                keys = [f"{publisher}/{key}" for key in range(5)]
                await own.publish([record(topic, key, number + n) for n in range(batch) for key in keys])
                number += batch
                sent[publisher] = number
        finally:
            await own.close()

    sent: dict[int, int] = {}
    async with bus.subscribe(group, [topic], member="a") as subscription:
        publishing = asyncio.gather(*(publish(publisher) for publisher in range(6)))
        deliveries = []
        while not publishing.done():  # read while it is written: a gap would be read over, and never filled
            deliveries += await subscription.poll(records_max=50, timeout_s=0.1)
        await publishing
        deliveries += await receive(subscription, sum(sent.values()) * 5 - len(deliveries))
    ends = await bus.end_offsets(topic)
    assert sum(ends.values()) == len(deliveries)
    for partition, end in ends.items():
        assert [d.offset for d in deliveries if d.partition == partition] == list(range(end))
    for publisher in range(6):
        for key in range(5):
            assert numbers(deliveries, f"{publisher}/{key}") == list(range(sent[publisher]))


async def test_end_offsets_name_every_partition(bus: Bus, topic: str) -> None:
    assert await bus.end_offsets(topic) == dict.fromkeys(range(PARTITIONS), 0)
    await bus.publish([record(topic, "k", number) for number in range(3)])
    assert sorted((await bus.end_offsets(topic)).values()) == [0, 0, 0, 3]


async def test_committed_follows_acknowledgement_and_not_delivery(bus: Bus, single: str, group: str) -> None:
    await bus.publish([record(single, "k", number) for number in range(10)])
    assert await bus.committed(group, single) == {0: 0}
    async with bus.subscribe(group, [single], member="a") as subscription:
        deliveries = await receive(subscription, 10)
        assert await bus.committed(group, single) == {0: 0}
        await subscription.acknowledge(deliveries[:4])
        assert await bus.committed(group, single) == {0: 4}
        await subscription.acknowledge(deliveries[4:])
    assert await bus.committed(group, single) == {0: 10} == await bus.end_offsets(single)


async def test_everything_handled_means_committed_equals_end(bus: Bus, topic: str, group: str) -> None:
    await bus.publish([record(topic, f"k{number}", number) for number in range(100)])
    async with bus.subscribe(group, [topic], member="a") as subscription:
        await subscription.acknowledge(await receive(subscription, 100))
    assert await bus.committed(group, topic) == await bus.end_offsets(topic)


async def test_acknowledging_nothing_is_harmless(bus: Bus, single: str, group: str) -> None:
    async with bus.subscribe(group, [single], member="a") as subscription:
        await subscription.acknowledge([])
    assert await bus.committed(group, single) == {0: 0}


async def test_an_existing_topic_keeps_its_partitions(bus: Bus, topic: str, group: str) -> None:
    await bus.publish([record(topic, f"k{number}", number) for number in range(20)])
    before = await bus.end_offsets(topic)
    await bus.ensure_topics([Topic(topic, partitions=PARTITIONS * 2)])
    assert await bus.end_offsets(topic) == before


async def test_several_processes_may_make_the_same_topic(transport: Transport, bus: Bus, topic: str) -> None:
    others = [transport.bus() for _ in range(4)]
    await asyncio.gather(*(other.ensure_topics([Topic(f"{topic}.new", partitions=3)]) for other in others))
    assert await bus.end_offsets(f"{topic}.new") == {0: 0, 1: 0, 2: 0}
    for other in others:
        await other.close()


async def test_offsets_are_found_by_time(bus: Bus, single: str) -> None:
    before = datetime.now(UTC)
    assert await bus.offsets_at(single, before) == {0: 0}, "nothing was published: the end"
    await bus.publish([record(single, "k", number) for number in range(3)])
    await asyncio.sleep(0.05)
    between = datetime.now(UTC)
    await asyncio.sleep(0.05)
    await bus.publish([record(single, "k", number) for number in range(2)])
    assert await bus.offsets_at(single, before) == {0: 0}
    assert await bus.offsets_at(single, between) == {0: 3}
    assert await bus.offsets_at(single, datetime.now(UTC) + timedelta(hours=1)) == {0: 5}
    assert await bus.offsets_at(single, datetime(1970, 1, 1, tzinfo=UTC)) == {0: 0}


async def test_begin_offsets_name_what_is_still_kept(bus: Bus, topic: str) -> None:
    await bus.publish([record(topic, f"k{number}", number) for number in range(10)])
    assert await bus.begin_offsets(topic) == dict.fromkeys(range(PARTITIONS), 0)


async def test_nothing_is_known_of_a_topic_that_nobody_made(bus: Bus, group: str) -> None:
    unknown = "test.nobody.made.this"
    assert await bus.end_offsets(unknown) == {}
    assert await bus.begin_offsets(unknown) == {}
    assert await bus.offsets_at(unknown, datetime.now(UTC)) == {}
    assert await bus.committed(group, unknown) == {}
