"""On Kafka, too: a group hears again what it has handled, and who is told to stop gives its partitions back at once."""

# ruff: noqa: F811 – a test's parameter is the fixture of that name

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from libs.common.access.caller import OPERATORS
from libs.common.contracts.topics import MESSAGE_BYTES_MAX, Topic
from libs.common.messaging.consumer import Consumer
from libs.common.messaging.replay import AskReplay, Replay, Replays
from libs.common.stopping import Stopping
from tests.integration.transport.conftest import PARTITIONS
from tests.integration.transport.test_kafka_consumers import THINGS, Stage, stage  # noqa: F401
from tests.support.small_service import (
    TOPIC,
    SmallUnitOfWork,
    ThingHappenedV1,
    background,
    eventually,
    happened,
)

EACH = 30


def a_consumer(stage: Stage, member: str, stopping: Stopping | None = None) -> Consumer[SmallUnitOfWork]:
    group = replace(stage.service.handlers.group(stage.group), topics=(stage.topic,))
    return stage.service.consumer(group=group, bus=stage.bus, member=member, batch_max=20, stopping=stopping)


async def handle_all(stage: Stage) -> None:
    for number in range(EACH):
        await stage.bus.publish([stage.record(thing, number) for thing in THINGS])
    async with background(a_consumer(stage, "first").run):
        await eventually(stage.everything_is_acknowledged, timeout_s=30)
    await stage.assert_effects(THINGS, EACH)


async def ask(stage: Stage, **asked: Any) -> Replay:
    replays = Replays(bus=stage.bus, group=stage.group, topics=(stage.topic,))
    async with stage.service.units.open(OPERATORS, "token:on_call") as uow:
        return await replays.ask(AskReplay(**asked), uow=uow)


async def left(stage: Stage, replay: Replay) -> tuple[str, int]:
    replays = Replays(bus=stage.bus, group=stage.group, topics=(stage.topic,))
    async with stage.service.units.open(OPERATORS, "token:on_call") as uow:
        seen = await replays.get(replay.id, uow=uow)
    return seen.status, seen.messages_left


async def test_two_members_hear_everything_again_and_nothing_happens_twice(stage: Stage) -> None:
    """Each goes back in the partitions that it owns; one of them leaves on the way."""
    await handle_all(stage)
    replay = await ask(stage)
    assert replay.messages_left == len(THINGS) * EACH
    delivered: list[tuple[int, int]] = []

    def noting(consumer: Consumer[SmallUnitOfWork]) -> Consumer[SmallUnitOfWork]:
        apply = consumer.apply

        async def noted(deliveries: Any) -> None:
            delivered.extend((delivery.partition, delivery.offset) for delivery in deliveries)
            await apply(deliveries)

        consumer.apply = noted  # type: ignore[method-assign]
        return consumer

    async with background(noting(a_consumer(stage, "one")).run):
        async with background(noting(a_consumer(stage, "two")).run):
            await eventually(lambda: some(delivered), timeout_s=30)
        await eventually(lambda: left(stage, replay), ("done", 0), timeout_s=30)
    ends = await stage.bus.end_offsets(stage.topic)
    assert set(delivered) == {(partition, offset) for partition in ends for offset in range(ends[partition])}
    await stage.assert_effects(THINGS, EACH)
    assert await stage.everything_is_acknowledged()


async def some(things: list[Any]) -> bool:
    return bool(things)


async def test_one_partition_from_an_offset_and_what_was_published_since(stage: Stage) -> None:
    await handle_all(stage)
    ends = await stage.bus.end_offsets(stage.topic)
    partition = next(each for each in ends if ends[each] > 10)
    near = await ask(stage, topic=stage.topic, partition=partition, from_offset=ends[partition] - 4)
    assert near.messages_left == 4
    since = near.asked_at
    assert (await ask(stage, since=since)).messages_left == 0
    await stage.bus.publish([stage.record(THINGS[0], EACH)])
    async with background(a_consumer(stage, "one").run):
        await eventually(lambda: left(stage, near), ("done", 0), timeout_s=30)
        await eventually(stage.everything_is_acknowledged, timeout_s=30)
    assert (await ask(stage, since=since)).messages_left == 1


async def test_who_is_told_to_stop_leaves_the_group_at_once(stage: Stage) -> None:
    """The next has all partitions long before a session would have run out."""
    stopping = Stopping()
    clock = asyncio.get_running_loop().time
    stopped = asyncio.create_task(a_consumer(stage, "one", stopping).run())
    await stage.bus.publish([stage.record(thing, 0) for thing in THINGS])
    await eventually(stage.everything_is_acknowledged, timeout_s=30)
    begun = clock()
    stopping.set()
    async with asyncio.timeout(5):
        await stopped
    stopped_s = clock() - begun
    async with stage.bus.subscribe(stage.group, [stage.topic], member="another") as subscription:
        async with asyncio.timeout(5):
            while len(subscription.owned()) < PARTITIONS:
                await subscription.poll(records_max=1, timeout_s=0.1)
        taken_s = clock() - begun
    assert stopped_s < 2.5
    assert taken_s < 4.0
    await stage.assert_effects(THINGS, 1)


async def test_what_kafka_refuses_stays_in_the_outbox_and_the_rest_goes_on(stage: Stage) -> None:
    class SaidAtLengthV1(ThingHappenedV1):
        words: str

    service = stage.service
    await stage.bus.ensure_topics([Topic(TOPIC, partitions=2)])
    before = sum((await stage.bus.end_offsets(TOPIC)).values())
    long = SaidAtLengthV1(**happened("long", 1).model_dump(), words="x" * (MESSAGE_BYTES_MAX + 1))
    await service.say(happened("t1", 1), long, happened("t1", 2), happened("long", 2))
    async with background(service.relay().run):
        await eventually(service.unpublished, 1, timeout_s=30)
    (row,) = await service.rows("SELECT aggregate_id, refusal FROM outbox WHERE refused_at IS NOT NULL")
    assert row["aggregate_id"] == "long"
    assert "Kafka takes no such long records" in row["refusal"]
    # Those that went out with it may have gone twice, as readers expect.
    assert sum((await stage.bus.end_offsets(TOPIC)).values()) >= before + 3
