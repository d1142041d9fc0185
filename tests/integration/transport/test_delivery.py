"""What is published arrives: all of it, unchanged, in order."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from libs.common.contracts.topics import MESSAGE_BYTES_MAX
from libs.common.messaging.bus import Bus, Delivery, Record, RecordTooLarge, UnknownTopic
from tests.integration.transport.conftest import PARTITIONS
from tests.integration.transport.harness import Transport, numbers, receive, receive_nothing, record


async def test_records_of_one_key_arrive_in_the_order_of_publishing(bus: Bus, topic: str, group: str) -> None:
    keys = [f"tenant/{n}" for n in range(7)]
    for number in range(30):
        await bus.publish([record(topic, key, number) for key in keys])
    async with bus.subscribe(group, [topic], member="a") as subscription:
        deliveries = await receive(subscription, 30 * len(keys), records_max=17)
    for key in keys:
        assert numbers(deliveries, key) == list(range(30))
        assert len({d.partition for d in deliveries if d.key == key}) == 1


async def test_the_order_inside_one_publication_is_kept(bus: Bus, single: str, group: str) -> None:
    await bus.publish([record(single, f"key-{number % 3}", number) for number in range(100)])
    async with bus.subscribe(group, [single], member="a") as subscription:
        assert numbers(await receive(subscription, 100)) == list(range(100))


async def test_a_record_arrives_unchanged(bus: Bus, topic: str, group: str) -> None:
    headers = {
        "ce_id": "evt_1",
        "gruß": "Grüße, 世界 🌱",
        "empty": "",
        "quote": "\"'\\",
        "ce_time": "2025-06-01T00:00:00Z",
    }
    value = bytes(range(256)) * 40
    await bus.publish([Record(topic=topic, key="tenänt/äggregate", headers=headers, value=value)])
    async with bus.subscribe(group, [topic], member="a") as subscription:
        [delivery] = await receive(subscription, 1)
    assert (delivery.topic, delivery.key, delivery.offset) == (topic, "tenänt/äggregate", 0)
    assert delivery.headers == headers
    assert delivery.value == value


async def test_an_empty_value_and_no_headers_arrive(bus: Bus, topic: str, group: str) -> None:
    await bus.publish([Record(topic=topic, key="k", headers={}, value=b"")])
    async with bus.subscribe(group, [topic], member="a") as subscription:
        [delivery] = await receive(subscription, 1)
    assert (delivery.headers, delivery.value) == ({}, b"")


async def test_five_thousand_records_in_one_publication(bus: Bus, topic: str, group: str) -> None:
    await bus.publish([record(topic, f"tenant/{number % 50}", number) for number in range(5_000)])
    async with bus.subscribe(group, [topic], member="a") as subscription:
        deliveries = await receive(subscription, 5_000)
    assert sorted(numbers(deliveries)) == list(range(5_000))
    for key in {d.key for d in deliveries}:
        assert numbers(deliveries, key) == sorted(numbers(deliveries, key))


async def test_one_publication_may_go_to_several_topics(
    bus: Bus, topic: str, single: str, group: str
) -> None:
    await bus.publish([record(topic, "k", 1), record(single, "k", 2)])
    async with bus.subscribe(group, [topic, single], member="a") as subscription:
        deliveries = await receive(subscription, 2)
    assert {(d.topic, int(d.value)) for d in deliveries} == {(topic, 1), (single, 2)}


async def test_publishing_nothing_is_harmless(bus: Bus, topic: str) -> None:
    await bus.publish([])
    assert set((await bus.end_offsets(topic)).values()) == {0}


async def test_an_unknown_topic_is_refused(bus: Bus) -> None:
    with pytest.raises(UnknownTopic):
        await bus.publish([record("test.nobody.made.this", "k", 1)])


async def test_a_record_that_is_too_large_is_named_and_its_neighbours_can_be_published(
    bus: Bus, topic: str, group: str
) -> None:
    records = [record(topic, f"k{number}", number) for number in range(5)]
    for position in (1, 3):
        records[position] = replace(records[position], value=b"x" * (MESSAGE_BYTES_MAX + 1))
    with pytest.raises(RecordTooLarge) as refused:
        await bus.publish(records)
    assert refused.value.positions == {1, 3}
    await bus.publish([each for n, each in enumerate(records) if n not in refused.value.positions])
    received: set[bytes] = set()
    async with bus.subscribe(group, [topic], member="a") as subscription, asyncio.timeout(20):
        while received < {b"0", b"2", b"4"}:
            received |= {d.value for d in await subscription.poll(records_max=10, timeout_s=0.5)}
    assert received == {b"0", b"2", b"4"}


async def test_a_record_that_is_just_not_too_large_arrives(bus: Bus, single: str, group: str) -> None:
    value = b"x" * (MESSAGE_BYTES_MAX - 10_000)
    await bus.publish([Record(single, "k", {"ce_id": "evt_1"}, value), record(single, "k", 1)])
    async with bus.subscribe(group, [single], member="a") as subscription:
        large, small = await receive(subscription, 2)
    assert (large.value == value, small.value) == (True, b"1")


async def test_a_poll_takes_no_more_than_asked_and_goes_on_from_there(
    bus: Bus, single: str, group: str
) -> None:
    await bus.publish([record(single, "k", number) for number in range(10)])
    async with bus.subscribe(group, [single], member="a") as subscription:
        first = await receive(subscription, 4, records_max=4)
        second = await receive(subscription, 4, records_max=4)
        third = await receive(subscription, 2, records_max=4)
    assert numbers([*first, *second, *third]) == list(range(10))


async def test_a_poll_returns_as_soon_as_there_is_something(bus: Bus, topic: str, group: str) -> None:
    async with bus.subscribe(group, [topic], member="a") as subscription:
        await receive_nothing(subscription)  # by now the partitions are ours
        waiting = asyncio.create_task(subscription.poll(records_max=10, timeout_s=30))
        await asyncio.sleep(0.2)
        started = asyncio.get_running_loop().time()
        await bus.publish([record(topic, "k", 1)])
        assert numbers(await waiting) == [1]
        assert asyncio.get_running_loop().time() - started < 0.5


async def test_a_poll_ends_when_its_time_is_over(bus: Bus, topic: str, group: str) -> None:
    async with bus.subscribe(group, [topic], member="a") as subscription:
        await receive_nothing(subscription)
        started = asyncio.get_running_loop().time()
        await receive_nothing(subscription, for_s=0.4)
        assert 0.3 < asyncio.get_running_loop().time() - started < 2


async def test_a_long_backlog_in_one_partition_does_not_hold_up_the_others(
    bus: Bus, topic: str, group: str
) -> None:
    keys = [f"k{n}" for n in range(100)]
    await bus.publish([record(topic, key, 0) for key in keys])
    async with bus.subscribe(f"{group}.scout", [topic], member="a") as scout:
        first_in_line = next(d.key for d in await receive(scout, 100) if d.partition == 0)
    await bus.publish([record(topic, first_in_line, number) for number in range(1, 2_000)])
    async with bus.subscribe(group, [topic], member="a") as subscription:
        deliveries: list[Delivery] = []
        for _ in range(40):
            deliveries += await subscription.poll(records_max=20, timeout_s=0.5)
    assert {d.key for d in deliveries} == set(keys), "after 800 of 2,100 records, every key had its turn"


async def test_the_partitions_of_a_member_have_their_turn_one_after_the_other(
    bus: Bus, topic: str, group: str
) -> None:
    await bus.publish([record(topic, f"k{number % 200}", number) for number in range(2_000)])
    seen: set[int] = set()
    async with bus.subscribe(group, [topic], member="a") as subscription:
        for _ in range(12):
            seen |= {d.partition for d in await subscription.poll(records_max=20, timeout_s=0.5)}
    assert len(seen) == PARTITIONS, "240 records would be less than one partition's share"


async def test_two_groups_do_not_know_of_each_other(bus: Bus, single: str, group: str) -> None:
    await bus.publish([record(single, "k", number) for number in range(5)])
    async with (
        bus.subscribe(group, [single], member="a") as one,
        bus.subscribe(f"{group}.other", [single], member="a") as other,
    ):
        await one.acknowledge(await receive(one, 5))
        assert numbers(await receive(other, 5)) == list(range(5))
    assert await bus.committed(group, single) == {0: 5}
    assert await bus.committed(f"{group}.other", single) == {0: 0}


async def test_another_process_reads_what_this_one_publishes(
    transport: Transport, bus: Bus, topic: str, group: str
) -> None:
    other = transport.bus()
    try:
        await bus.publish([record(topic, "k", 1)])
        async with other.subscribe(group, [topic], member="a") as subscription:
            assert numbers(await receive(subscription, 1)) == [1]
    finally:
        await other.close()
