"""An outage is waited out: nothing is lost, nothing is skipped, and nobody has to help."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from libs.common.messaging.bus import Bus, BusUnavailable, Delivery, Subscription
from tests.integration.transport.harness import (
    Transport,
    numbers,
    publish_despite,
    receive,
    record,
)


class Reader:
    """Reads as a consumer does, through whatever happens, until it has seen `last`."""

    def __init__(self, subscription: Subscription, last: int) -> None:
        self._subscription, self._last = subscription, last
        self.seen: list[Delivery] = []
        self.outages = 0

    async def run(self) -> None:
        while self._last not in numbers(self.seen):
            try:
                deliveries = await self._subscription.poll(records_max=20, timeout_s=0.3)
                self.seen += deliveries
                await self._subscription.acknowledge(deliveries)
            except BusUnavailable:
                self.outages += 1
                await asyncio.sleep(0.02)


def first_occurrences(values: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(values))


async def test_publishing_through_lost_connections_loses_nothing(
    transport: Transport, bus: Bus, single: str, group: str
) -> None:
    async def publish() -> int:
        failures = 0
        for number in range(0, 2_000, 5):
            failures += await publish_despite(bus, [record(single, "k", number + n) for n in range(5)])
            await asyncio.sleep(0.005)
        return failures

    async def cut() -> None:
        while True:
            await asyncio.sleep(0.1)
            await transport.cut_connections()

    async with bus.subscribe(group, [single], member="a") as subscription:
        reader = Reader(subscription, last=1_999)
        cutting = asyncio.create_task(cut())
        publishing = asyncio.create_task(publish())
        async with asyncio.timeout(60):
            failures = await publishing
            cutting.cancel()
            await reader.run()
    assert failures > 0 or transport.retries
    assert first_occurrences(numbers(reader.seen)) == list(range(2_000))


async def test_reading_through_lost_connections_skips_nothing(
    transport: Transport, bus: Bus, single: str, group: str
) -> None:
    async with bus.subscribe(group, [single], member="a") as subscription:
        reader = Reader(subscription, last=599)
        reading = asyncio.create_task(reader.run())
        for number in range(0, 600, 3):
            await publish_despite(bus, [record(single, "k", number + n) for n in range(3)])
            if number % 30 == 0:
                await transport.cut_connections()
        async with asyncio.timeout(30):
            await reading
    end = (await bus.end_offsets(single))[0]
    assert first_occurrences([d.offset for d in reader.seen]) == list(range(end))
    assert first_occurrences(numbers(reader.seen)) == list(range(600))
    assert await bus.committed(group, single) == {0: end}


async def test_while_the_servers_are_down_callers_are_told_so(
    transport: Transport, bus: Bus, single: str, group: str
) -> None:
    await bus.publish([record(single, "k", 0)])
    async with bus.subscribe(group, [single], member="a") as subscription:
        [delivery] = await receive(subscription, 1)
        await transport.stop()
        try:
            with pytest.raises(BusUnavailable):
                await subscription.poll(records_max=10, timeout_s=0.1)
            with pytest.raises(BusUnavailable):
                await bus.publish([record(single, "k", 1)])
            with pytest.raises(BusUnavailable):
                await bus.end_offsets(single)
            await subscription.keep_alive()
            await subscription.acknowledge([delivery])  # lost with the connection, and so it comes again
        finally:
            await transport.start()
        await publish_despite(bus, [record(single, "k", 1)])
        assert numbers(await receive(subscription, 2, timeout_s=transport.takeover_s + 5)) == [0, 1]


async def test_a_poll_that_waits_outlives_a_restart_of_the_servers(
    transport: Transport, bus: Bus, single: str, group: str
) -> None:
    async with bus.subscribe(group, [single], member="a") as subscription:
        reader = Reader(subscription, last=1)
        await bus.publish([record(single, "k", 0)])
        reading = asyncio.create_task(reader.run())
        await asyncio.sleep(0.3)
        await transport.stop()
        await asyncio.sleep(0.5)
        await transport.start()
        await publish_despite(bus, [record(single, "k", 1)])
        async with asyncio.timeout(transport.takeover_s + 10):
            await reading
    assert first_occurrences(numbers(reader.seen)) == [0, 1]
    assert reader.outages > 0


async def test_a_restart_of_the_servers_loses_nothing(
    transport: Transport, bus: Bus, topic: str, group: str
) -> None:
    await bus.publish([record(topic, f"k{number}", number) for number in range(200)])
    async with bus.subscribe(group, [topic], member="a") as subscription:
        deliveries = await receive(subscription, 200)
        await subscription.acknowledge(deliveries[:120])
    ends, committed = await bus.end_offsets(topic), await bus.committed(group, topic)
    await transport.stop()
    await transport.start()
    fresh = transport.bus()  # nothing is remembered in a process
    try:
        assert await fresh.end_offsets(topic) == ends
        assert await fresh.committed(group, topic) == committed
        async with fresh.subscribe(group, [topic], member="a") as subscription:
            again = await receive(subscription, 200 - sum(committed.values()))
        assert all(d.offset >= committed[d.partition] for d in again)
        await fresh.publish([record(topic, "after", 200)])
        assert sum((await fresh.end_offsets(topic)).values()) == 201
    finally:
        await fresh.close()


@pytest.mark.parametrize(
    "transport", ["embedded", pytest.param("kafka", marks=pytest.mark.long)], indirect=True
)
async def test_what_was_published_survives_a_crash_of_the_servers(
    transport: Transport, bus: Bus, single: str, group: str
) -> None:
    for _ in range(2):
        before = (await bus.end_offsets(single))[0]
        for number in range(before, before + 20):
            await bus.publish([record(single, "k", number)])
        await transport.crash()
        await transport.start()
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await bus.end_offsets(single) == {0: before + 20}
                    break
                except BusUnavailable:
                    await asyncio.sleep(0.05)
    async with bus.subscribe(group, [single], member="a") as subscription:
        assert numbers(await receive(subscription, 40)) == list(range(40))


async def test_keeping_alive_keeps_the_partitions(
    transport: Transport, bus: Bus, single: str, group: str
) -> None:
    await bus.publish([record(single, "k", number) for number in range(4)])
    other = transport.bus()
    async with (
        bus.subscribe(group, [single], member="a") as one,
        other.subscribe(group, [single], member="b") as two,
    ):
        deliveries = await receive(one, 4)
        for _ in range(8):
            await one.keep_alive()
            assert await two.poll(records_max=10, timeout_s=0.2) == []
        await one.acknowledge(deliveries)
    await other.close()
    assert await bus.committed(group, single) == {0: 4}
