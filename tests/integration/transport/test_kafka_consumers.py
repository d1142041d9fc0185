"""Whole consumers on Kafka, with a database: whatever the group and the broker do, each effect happens once, in order."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from libs.common.contracts import EVENTS
from libs.common.contracts.topics import Topic
from libs.common.messaging.bus import BusUnavailable, Record
from libs.common.messaging.consumer import Consumer
from libs.common.messaging.kafka_bus import KafkaBus
from tests.integration.transport.conftest import PARTITIONS
from tests.integration.transport.harness import KAFKA_SESSION_S, KAFKA_TIMEOUT_S, publish_despite
from tests.support.kafka import KafkaForTests
from tests.support.postgres import PostgresForTests
from tests.support.small_service import (
    SmallService,
    SmallUnitOfWork,
    ThingHappenedV1,
    background,
    delivery_of,
    eventually,
    happened,
    small_service,
)


@dataclass(frozen=True)
class Stage:
    """A service that hears one topic of its own on Kafka."""

    service: SmallService
    bus: KafkaBus
    topic: str
    group: str

    def consumer(self, member: str, *, bus: KafkaBus | None = None) -> Consumer[SmallUnitOfWork]:
        group = replace(self.service.handlers.group(self.group), topics=(self.topic,))
        return self.service.consumer(group=group, bus=bus or self.bus, member=member, batch_max=20)

    def record(self, thing: str, number: int, **headers: str) -> Record:
        told = delivery_of(happened(thing, number), **headers)
        return Record(self.topic, told.key, told.headers, told.value)

    async def everything_is_acknowledged(self) -> bool:
        try:
            ends, committed = (
                await self.bus.end_offsets(self.topic),
                await self.bus.committed(self.group, self.topic),
            )
        except BusUnavailable:
            return False
        return ends == committed

    async def assert_effects(self, things: Sequence[str], count: int) -> None:
        """Of each thing all, once, in order."""
        effects = await self.service.effects()
        for thing in things:
            assert [number for name, number in effects if name == thing] == list(range(count))
        assert len(effects) == len(things) * count


@pytest_asyncio.fixture
async def stage(
    postgres: PostgresForTests, kafka: KafkaForTests, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    monkeypatch.setitem(EVENTS, ThingHappenedV1.TYPE, ThingHappenedV1)
    bus = KafkaBus(
        kafka.bootstrap, client_id="perennial-test", timeout_s=KAFKA_TIMEOUT_S, session_s=KAFKA_SESSION_S
    )
    name = f"test.{secrets.token_hex(6)}"
    await bus.ensure_topics([Topic(name, partitions=PARTITIONS)])
    async with small_service(postgres, bus) as service:
        yield Stage(service, bus, name, f"group.{name}")
    await bus.close()


THINGS = [f"thing-{number}" for number in range(8)]


async def test_a_group_that_is_dealt_out_anew_loses_nothing_and_keeps_order(stage: Stage) -> None:
    """A second consumer comes while events stream in, and goes again; a third is killed on the way."""
    seen_by: dict[str, set[str]] = {"one": set(), "two": set()}

    async def publish() -> None:
        for number in range(150):
            await stage.bus.publish([stage.record(thing, number) for thing in THINGS])
            await asyncio.sleep(0.02)

    def watched(member: str) -> Consumer[SmallUnitOfWork]:
        consumer = stage.consumer(member)
        apply = consumer.apply

        async def apply_and_tell(deliveries: Sequence[object]) -> None:
            seen_by[member] |= {d.key for d in deliveries}  # type: ignore[attr-defined]
            await apply(deliveries)  # type: ignore[arg-type]

        consumer.apply = apply_and_tell  # type: ignore[assignment,method-assign]
        return consumer

    async with background(watched("one").run):
        publishing = asyncio.create_task(publish())
        await asyncio.sleep(0.5)
        async with background(watched("two").run):
            await asyncio.sleep(1.5)
        await publishing
        await eventually(stage.everything_is_acknowledged, timeout_s=30)
    await stage.assert_effects(THINGS, 150)
    assert seen_by["two"], "the second had its share"


async def test_a_consumer_thrown_out_while_it_handles_survives_the_failed_commit(stage: Stage) -> None:
    consumer = stage.consumer("one")
    thrown_out = asyncio.Event()
    subscriptions = []
    subscribe = stage.bus.subscribe

    def remember(group: str, topics: Sequence[str], *, member: str) -> object:
        subscriptions.append(subscribe(group, topics, member=member))
        return subscriptions[-1]

    async def throw_out(event: ThingHappenedV1, uow: SmallUnitOfWork) -> None:
        if not thrown_out.is_set():
            thrown_out.set()
            await subscriptions[-1]._static.leave()

    stage.bus.subscribe = remember  # type: ignore[assignment,method-assign]
    stage.service.handlers.trouble[THINGS[0]] = throw_out
    await stage.bus.publish([stage.record(thing, 0) for thing in THINGS])
    async with background(consumer.run):
        await eventually(stage.everything_is_acknowledged)
    assert thrown_out.is_set()
    await stage.assert_effects(THINGS, 1)


async def test_what_is_delivered_again_from_an_older_offset_has_no_effect(stage: Stage) -> None:
    await stage.bus.publish([stage.record(thing, number) for number in range(20) for thing in THINGS])
    async with background(stage.consumer("one").run):
        await eventually(stage.everything_is_acknowledged)
    async with stage.bus.subscribe(stage.group, [stage.topic], member="one") as replaying:
        for topic, partition in replaying.owned():
            assert await replaying.seek(topic, partition, 1)
        first = {d.partition: d for d in reversed(await replaying.poll(records_max=1_000, timeout_s=5))}
        await replaying.acknowledge(list(first.values()))
    assert not await stage.everything_is_acknowledged(), "the group stands further back now"
    async with background(stage.consumer("one").run):
        await eventually(stage.everything_is_acknowledged)
    await stage.assert_effects(THINGS, 20)


async def test_an_unknown_version_goes_to_the_failures_and_its_neighbours_go_on(stage: Stage) -> None:
    unknown = stage.record(THINGS[0], 99, ce_type="perennial.test.thing.happened.v2")
    await stage.bus.publish([stage.record(thing, 0) for thing in THINGS] + [unknown])
    await stage.bus.publish([stage.record(thing, 1) for thing in THINGS])
    async with background(stage.consumer("one").run):
        await eventually(stage.everything_is_acknowledged)
    await stage.assert_effects(THINGS, 2)
    [failure] = await stage.service.failures()
    assert failure["message_id"] == unknown.headers["ce_id"]


async def outlive_an_outage(stage: Stage, kafka: KafkaForTests, *, down_s: float) -> None:
    published = 0

    async def publish() -> None:
        nonlocal published
        while True:
            await publish_despite(stage.bus, [stage.record(thing, published) for thing in THINGS])
            published += 1
            await asyncio.sleep(0.05)

    async with background(stage.consumer("one").run, stage.consumer("two").run):
        publishing = asyncio.create_task(publish())
        await asyncio.sleep(1)
        await asyncio.to_thread(kafka.broker.stop)
        try:
            await asyncio.sleep(down_s)
            before = published
        finally:
            await asyncio.to_thread(kafka.broker.start)

        async def goes_on() -> bool:
            return published > before + 5

        await eventually(goes_on, timeout_s=30)
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        await eventually(stage.everything_is_acknowledged, timeout_s=30)
    effects = await stage.service.effects()
    for thing in THINGS:
        told = [number for name, number in effects if name == thing]
        assert told == list(range(len(told))), "each once, in order"
        assert len(told) >= published


async def test_a_broker_that_stops_for_a_while_is_waited_out(stage: Stage, kafka: KafkaForTests) -> None:
    await outlive_an_outage(stage, kafka, down_s=KAFKA_TIMEOUT_S + KAFKA_SESSION_S + 1)


@pytest.mark.long
async def test_a_broker_that_stops_for_a_minute_is_waited_out(stage: Stage, kafka: KafkaForTests) -> None:
    await outlive_an_outage(stage, kafka, down_s=60)
