"""What was not acknowledged comes again: after a restart, a seek, a death."""

from __future__ import annotations

import asyncio
import time

from libs.common.messaging.bus import Bus
from tests.integration.transport.harness import (
    Transport,
    numbers,
    receive,
    receive_nothing,
    record,
)


async def test_what_was_not_acknowledged_comes_again_after_a_restart(
    bus: Bus, single: str, group: str
) -> None:
    await bus.publish([record(single, "k", number) for number in range(10)])
    async with bus.subscribe(group, [single], member="a") as subscription:
        await subscription.acknowledge((await receive(subscription, 10))[:3])
    async with bus.subscribe(group, [single], member="a") as subscription:
        again = await receive(subscription, 7)
        assert numbers(again) == list(range(3, 10))
        assert again[0].offset == 3
        await subscription.acknowledge(again)
    async with bus.subscribe(group, [single], member="a") as subscription:
        await receive_nothing(subscription)


async def test_seeking_back_delivers_again(bus: Bus, single: str, group: str) -> None:
    await bus.publish([record(single, "k", number) for number in range(6)])
    async with bus.subscribe(group, [single], member="a") as subscription:
        first = await receive(subscription, 6)
        await subscription.acknowledge(first)
        assert await subscription.seek(single, 0, 2)
        again = await receive(subscription, 4)
        assert again == first[2:]


async def test_only_what_is_owned_can_be_sought(bus: Bus, single: str, topic: str, group: str) -> None:
    await bus.publish([record(single, "k", 0)])
    subscription = bus.subscribe(group, [single], member="a")
    assert (subscription.owned(), await subscription.seek(single, 0, 0)) == (frozenset(), False)
    async with subscription:
        assert subscription.owned() == {(single, 0)}
        assert await subscription.seek(single, 0, 0)
        assert not await subscription.seek(single, 1, 0)
        assert not await subscription.seek(topic, 0, 0)
        assert numbers(await receive(subscription, 1)) == [0]
    assert (subscription.owned(), await subscription.seek(single, 0, 0)) == (frozenset(), False)


async def test_acknowledging_after_a_seek_commits_where_the_reader_is(
    bus: Bus, single: str, group: str
) -> None:
    """So that a replay that is cut short goes on after a restart, and is not forgotten."""
    await bus.publish([record(single, "k", number) for number in range(6)])
    async with bus.subscribe(group, [single], member="a") as subscription:
        await subscription.acknowledge(await receive(subscription, 6))
        await subscription.seek(single, 0, 2)
        await subscription.acknowledge((await receive(subscription, 4))[:1])
    assert await bus.committed(group, single) == {0: 3}


async def test_what_is_to_come_again_after_a_seek_is_not_taken_for_done(
    bus: Bus, single: str, group: str
) -> None:
    await bus.publish([record(single, "k", number) for number in range(6)])
    async with bus.subscribe(group, [single], member="a") as subscription:
        deliveries = await receive(subscription, 6)
        await subscription.acknowledge(deliveries[:1])
        await subscription.seek(single, 0, 0)
        await subscription.acknowledge(deliveries)
        assert await bus.committed(group, single) == {0: 1}
        await subscription.acknowledge(await receive(subscription, 6))
    assert await bus.committed(group, single) == {0: 6}


async def test_a_second_member_takes_over_when_the_first_is_killed(
    transport: Transport, bus: Bus, topic: str, group: str
) -> None:
    await bus.publish([record(topic, f"k{number}", number) for number in range(40)])
    other = transport.bus()
    first = bus.subscribe(group, [topic], member="a")
    await first.__aenter__()
    handled = await receive(first, 40)
    await first.acknowledge(handled[:25])
    committed = await bus.committed(group, topic)
    async with other.subscribe(group, [topic], member="b") as second:
        own = await second.poll(records_max=50, timeout_s=1.2)
        assert not own or transport.shares, "the first owns all, unless the group shares"
        await second.acknowledge(own)
        await transport.kill(first)
        started = time.monotonic()
        left = 40 - sum(committed.values()) - len(own)
        again = await receive(second, left, timeout_s=transport.takeover_s + 5)
        assert time.monotonic() - started < transport.takeover_s
        assert all(d.offset >= committed[d.partition] for d in again)
        await second.acknowledge(again)
    await other.close()
    assert await bus.committed(group, topic) == await bus.end_offsets(topic)


async def test_a_member_that_leaves_in_order_is_followed(
    transport: Transport, bus: Bus, topic: str, group: str
) -> None:
    other = transport.bus()
    async with bus.subscribe(group, [topic], member="a") as first:
        await bus.publish([record(topic, "k", 1)])
        await first.acknowledge(await receive(first, 1))
    async with other.subscribe(group, [topic], member="b") as second:
        await bus.publish([record(topic, "k", 2)])
        assert numbers(await receive(second, 1, timeout_s=transport.takeover_s)) == [2]
    await other.close()


async def test_no_record_is_given_to_two_members_at_once(
    transport: Transport, bus: Bus, topic: str, group: str
) -> None:
    other = transport.bus()
    async with (
        bus.subscribe(group, [topic], member="a") as one,
        other.subscribe(group, [topic], member="b") as two,
    ):
        await asyncio.sleep(1.2)
        await bus.publish([record(topic, f"k{number}", number) for number in range(50)])
        received: list[int] = []
        async with asyncio.timeout(20):
            while len(received) < 50:
                for member in (one, two):
                    received += numbers(await member.poll(records_max=20, timeout_s=0.1))
    await other.close()
    assert sorted(received) == list(range(50))


async def test_acknowledging_what_another_owns_by_now_is_refused(
    transport: Transport, bus: Bus, single: str, group: str
) -> None:
    await bus.publish([record(single, "k", number) for number in range(10)])
    other = transport.bus()
    slow = bus.subscribe(group, [single], member="a")
    await slow.__aenter__()
    held = await receive(slow, 10)
    await transport.kill(slow)
    async with other.subscribe(group, [single], member="b") as owner:
        again = await receive(owner, 10, timeout_s=transport.takeover_s + 5)
        await owner.acknowledge(again[:2])
        await slow.acknowledge(held)  # without an error: there is nothing its caller could do about it
        assert await bus.committed(group, single) == {0: 2}
    await slow.__aexit__(None, None, None)
    await other.close()


async def test_acknowledging_what_was_never_delivered_here_is_refused(
    transport: Transport, bus: Bus, single: str, group: str
) -> None:
    await bus.publish([record(single, "k", number) for number in range(3)])
    other = transport.bus()
    async with bus.subscribe(group, [single], member="a") as owner:
        deliveries = await receive(owner, 3)
        async with other.subscribe(group, [single], member="b") as bystander:
            await receive_nothing(bystander)
            await bystander.acknowledge(deliveries)
            assert await bus.committed(group, single) == {0: 0}
    await other.close()
