"""Members of a group on Kafka: who owns what when they come, leave, die, come back, hang, or share a name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.common.contracts.topics import Topic
from libs.common.messaging import kafka_subscription
from libs.common.messaging.bus import Bus, BusUnavailable, UnknownTopic
from libs.common.messaging.kafka_subscription import KafkaSubscription
from tests.integration.transport.conftest import PARTITIONS
from tests.integration.transport.harness import (
    KAFKA_SESSION_S,
    KafkaTransport,
    kafka_transport,
    numbers,
    receive,
    record,
)
from tests.support.kafka import KafkaForTests


@pytest_asyncio.fixture
async def transport(kafka: KafkaForTests) -> AsyncIterator[KafkaTransport]:
    """Kafka's only."""
    async with kafka_transport(kafka) as on_kafka:
        yield on_kafka


@pytest_asyncio.fixture
async def second_topic(bus: Bus, topic: str) -> str:
    await bus.ensure_topics([Topic(f"{topic}.second", partitions=PARTITIONS)])
    return f"{topic}.second"


def a_member(bus: Bus, group: str, name: str, *topics: str) -> KafkaSubscription:
    subscription = bus.subscribe(group, topics, member=name)
    assert isinstance(subscription, KafkaSubscription)
    return subscription


def generation(subscription: KafkaSubscription) -> int:
    """How often the group has been dealt out anew, as this member knows it."""
    assert subscription._consumer is not None
    count: int = subscription._consumer._coordinator.generation
    return count


async def until_owned(subscription: KafkaSubscription, count: int, *, timeout_s: float) -> float:
    """Returns how long it took."""
    started = time.monotonic()
    async with asyncio.timeout(timeout_s):
        while len(subscription.owned()) != count:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    return time.monotonic() - started


async def poll_for(subscription: KafkaSubscription, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while True:
            await subscription.poll(records_max=10, timeout_s=0.1)


async def test_members_share_the_partitions_of_each_topic_evenly(
    bus: Bus, topic: str, second_topic: str, group: str
) -> None:
    async with a_member(bus, group, "a", topic, second_topic) as one:
        assert len(one.owned()) == 2 * PARTITIONS
        async with a_member(bus, group, "b", topic, second_topic) as two:
            await until_owned(one, PARTITIONS, timeout_s=KAFKA_SESSION_S)
            assert not one.owned() & two.owned()
            for name in (topic, second_topic):
                for member in (one, two):
                    assert len([place for place in member.owned() if place[0] == name]) == PARTITIONS // 2


async def test_who_leaves_gives_the_partitions_back_at_once(bus: Bus, topic: str, group: str) -> None:
    async with a_member(bus, group, "a", topic) as one:
        async with a_member(bus, group, "b", topic) as two:
            await until_owned(two, PARTITIONS // 2, timeout_s=KAFKA_SESSION_S)
        assert two.owned() == frozenset()
        took_s = await until_owned(one, PARTITIONS, timeout_s=KAFKA_SESSION_S + 5)
    assert took_s < KAFKA_SESSION_S / 2, "the group did not wait for a member that had left"


async def test_who_is_killed_and_back_in_time_takes_over_at_once_and_nobody_notices(
    transport: KafkaTransport, bus: Bus, topic: str, group: str
) -> None:
    await bus.publish([record(topic, f"k{number}", number) for number in range(40)])
    async with a_member(bus, group, "a", topic) as bystander:
        killed = a_member(bus, group, "b", topic)
        await killed.__aenter__()
        await until_owned(bystander, PARTITIONS // 2, timeout_s=KAFKA_SESSION_S)
        owned, before = killed.owned(), generation(bystander)
        waiting = sum(
            end for partition, end in (await bus.end_offsets(topic)).items() if (topic, partition) in owned
        )
        unacknowledged = await receive(killed, waiting)
        await transport.kill(killed)
        started = time.monotonic()
        async with a_member(bus, group, "b", topic) as again:
            assert again.owned() == owned
            assert time.monotonic() - started < KAFKA_SESSION_S / 2
            assert await receive(again, waiting) == unacknowledged
            await asyncio.sleep(KAFKA_SESSION_S * 1.2)  # the killed one would have been missed by now
            assert (generation(bystander), generation(again)) == (before, before)


async def test_two_processes_of_one_name_are_told_and_lose_nothing(
    transport: KafkaTransport, bus: Bus, single: str, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    other = transport.bus()
    first = a_member(bus, group, "same", single)
    await first.__aenter__()
    async with a_member(other, group, "same", single) as second:
        await bus.publish([record(single, "k", 1)])
        assert numbers(await receive(second, 1)) == [1]
        with pytest.raises(BusUnavailable, match="another process has this member's name"):
            await poll_for(first, KAFKA_SESSION_S)
        assert "give each its own" in caplog.text
        assert first.owned() == frozenset()
        await first.__aexit__(None, None, None)  # has no place to leave, and does not leave the other's
        await asyncio.sleep(0.5)
        assert second.owned() == {(single, 0)}
    await other.close()


async def test_a_commit_that_fails_since_the_group_has_moved_on_is_survived(
    bus: Bus, single: str, group: str
) -> None:
    await bus.publish([record(single, "k", number) for number in range(5)])
    async with a_member(bus, group, "a", single) as subscription:
        deliveries = await receive(subscription, 5)
        assert subscription._static is not None
        await subscription._static.leave()  # the group has thrown it out, and it does not know yet
        await subscription.acknowledge(deliveries)
        assert await bus.committed(group, single) == {0: 0}
        again = await receive(subscription, 5)
        assert again == deliveries
        await subscription.acknowledge(again)
    assert await bus.committed(group, single) == {0: 5}


async def test_who_waits_out_an_outage_keeps_its_partitions_and_who_hangs_loses_them(
    transport: KafkaTransport, bus: Bus, single: str, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_subscription, "HANDLING_TIMEOUT_S", 1.0)
    await bus.publish([record(single, "k", 0)])
    async with a_member(bus, group, "a", single) as busy:
        deliveries = await receive(busy, 1)
        monkeypatch.undo()
        async with a_member(bus, group, "b", single) as other:
            await until_owned(busy, 1, timeout_s=KAFKA_SESSION_S)
            for _ in range(int(1.5 * KAFKA_SESSION_S / 0.25)):
                await asyncio.sleep(0.25)
                await busy.keep_alive()
            assert (len(busy.owned()), len(other.owned())) == (1, 0)
            deliveries = await receive(busy, 1)  # once more, since the other has come
            await busy.acknowledge(deliveries)
            assert await bus.committed(group, single) == {0: 1}
            await until_owned(other, 1, timeout_s=1 + 2 * KAFKA_SESSION_S)  # nobody keeps it alive any more


async def test_subscribing_to_a_topic_that_nobody_made_says_so(bus: Bus, group: str) -> None:
    with pytest.raises(UnknownTopic):
        async with a_member(bus, group, "a", "test.nobody.made.this"):
            pass
