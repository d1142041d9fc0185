"""A group hears again what it has handled: everything comes once more, and nothing happens twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from libs.common.access.caller import OPERATORS
from libs.common.messaging.bus import Subscription
from libs.common.messaging.consumer import Consumer
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.messaging.replay import AskReplay, Replay, ReplayNotFound, ReplayRefused, Replays
from tests.support.small_service import (
    GROUP,
    TOPIC,
    SmallService,
    SmallUnitOfWork,
    background,
    eventually,
    happened,
)

KEYS = [f"t{number}" for number in range(6)]
EACH = 10


def replays(service: SmallService) -> Replays:
    return Replays(bus=service.bus, group=GROUP, topics=(TOPIC,))


async def ask(service: SmallService, **asked: Any) -> Replay:
    async with service.units.open(OPERATORS, "token:on_call") as uow:
        return await replays(service).ask(AskReplay(**asked), uow=uow)


async def look(service: SmallService, replay: Replay) -> Replay:
    async with service.units.open(OPERATORS, "token:on_call") as uow:
        return await replays(service).get(replay.id, uow=uow)


async def is_done(service: SmallService, replay: Replay) -> bool:
    seen = await look(service, replay)
    return (seen.status, seen.messages_left) == ("done", 0)


async def handled(service: SmallService) -> dict[int, int]:
    return await service.bus.committed(GROUP, TOPIC)


async def all_handled(service: SmallService) -> bool:
    return await handled(service) == await service.bus.end_offsets(TOPIC)


class Counting:
    """A consumer that notes what it is given, whether or not it is new."""

    def __init__(self, service: SmallService, **options: Any) -> None:
        self.consumer: Consumer[SmallUnitOfWork] = service.consumer(**options)
        self.delivered: list[tuple[int, int]] = []
        apply = self.consumer.apply

        async def noted(deliveries: Any) -> None:
            self.delivered += [(delivery.partition, delivery.offset) for delivery in deliveries]
            await apply(deliveries)

        self.consumer.apply = noted  # type: ignore[method-assign]


@asynccontextmanager
async def consuming(service: SmallService, **options: Any) -> AsyncIterator[Counting]:
    counting = Counting(service, **options)
    async with background(counting.consumer.run):
        yield counting


@pytest.fixture
async def ends(service: SmallService) -> dict[int, int]:
    """Sixty events in two partitions, all handled."""
    await service.say(*(happened(key, number) for number in range(1, EACH + 1) for key in KEYS))
    async with background(service.relay().run, service.consumer().run):
        await eventually(service.unpublished, 0)
        await eventually(lambda: all_handled(service))
    ends = await service.bus.end_offsets(TOPIC)
    assert all(end > 4 for end in ends.values())
    return ends


async def everything_once(service: SmallService) -> bool:
    effects = await service.effects()
    inbox = await service.rows("SELECT FROM inbox")
    return len(effects) == len(set(effects)) == len(inbox) == len(KEYS) * EACH


async def test_everything_comes_again_and_has_no_effect(service: SmallService, ends: dict[int, int]) -> None:
    replay = await ask(service)
    assert (replay.status, replay.messages_left) == ("waiting", 60)
    assert (await look(service, replay)).status == "waiting"
    async with consuming(service) as seen:
        await eventually(lambda: is_done(service, replay))
    assert sorted(seen.delivered) == [(p, offset) for p in sorted(ends) for offset in range(ends[p])]
    assert await everything_once(service)
    assert await service.failures() == []
    assert await handled(service) == ends


async def test_new_events_go_on_after_a_replay(service: SmallService, ends: dict[int, int]) -> None:
    replay = await ask(service)
    await service.say(happened("t1", 99))
    async with background(service.relay().run), consuming(service):
        await eventually(lambda: is_done(service, replay))
        await eventually(lambda: service.effects("t1"), [("t1", number) for number in (*range(1, 11), 99)])


async def test_one_partition_from_an_offset(service: SmallService, ends: dict[int, int]) -> None:
    replay = await ask(service, topic=TOPIC, partition=1, from_offset=ends[1] - 3)
    assert [(one.partition, one.from_offset, one.until_offset) for one in replay.partitions] == [
        (1, ends[1] - 3, ends[1])
    ]
    async with consuming(service) as seen:
        await eventually(lambda: is_done(service, replay))
    assert seen.delivered == [(1, offset) for offset in range(ends[1] - 3, ends[1])]
    assert await everything_once(service)


async def test_what_was_published_since_an_instant(service: SmallService, ends: dict[int, int]) -> None:
    await asyncio.sleep(0.05)
    since = datetime.now(UTC)
    await asyncio.sleep(0.05)
    await service.say(*(happened("t1", number) for number in (11, 12)))
    async with background(service.relay().run), consuming(service):
        await eventually(service.unpublished, 0)
        await eventually(lambda: all_handled(service))
    replay = await ask(service, since=since)
    assert replay.messages_left == 2
    async with consuming(service) as seen:
        await eventually(lambda: is_done(service, replay))
    assert len(seen.delivered) == 2
    assert (await ask(service, since=datetime.now(UTC) + timedelta(hours=1))).status == "done"


async def test_what_a_running_consumer_is_asked_for_begins_within_seconds(
    service: SmallService, ends: dict[int, int]
) -> None:
    async with consuming(service) as seen:
        await asyncio.sleep(0.3)
        replay = await ask(service)
        await eventually(lambda: is_done(service, replay), timeout_s=6)
    assert len(seen.delivered) == 60


async def test_progress_is_seen_until_it_has_caught_up(service: SmallService, ends: dict[int, int]) -> None:
    replay = await ask(service)
    left: list[int] = []
    consumer = service.consumer(batch_max=10)
    apply, go_on = consumer.apply, asyncio.Event()

    async def noted(deliveries: Any) -> None:
        seen = await look(service, replay)
        left.append(seen.messages_left)
        await apply(deliveries)
        if len(left) == 3:
            await go_on.wait()

    consumer.apply = noted  # type: ignore[method-assign]
    async with background(consumer.run):
        await eventually(lambda: count(left), 3)
        assert (await look(service, replay)).status == "replaying"
        go_on.set()
        await eventually(lambda: is_done(service, replay))
    assert left == [60, 50, 40, 30, 20, 10]


async def count(things: list[int]) -> int:
    return len(things)


async def test_one_that_was_killed_before_its_first_acknowledgement_is_begun_by_the_next(
    service: SmallService, ends: dict[int, int]
) -> None:
    replay = await ask(service)
    consumer, begun = service.consumer(), asyncio.Event()

    async def stuck(deliveries: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    consumer.apply = stuck  # type: ignore[method-assign]
    async with background(consumer.run):
        await begun.wait()
    assert await handled(service) == ends  # nobody would know, but for the request
    async with consuming(service) as seen:
        await eventually(lambda: is_done(service, replay))
    assert len(set(seen.delivered)) == 60


async def test_one_that_was_killed_on_the_way_is_carried_on_from_there(
    service: SmallService, ends: dict[int, int]
) -> None:
    replay = await ask(service)
    consumer, third = service.consumer(batch_max=10), asyncio.Event()
    apply, batches = consumer.apply, 0

    async def dies(deliveries: Any) -> None:
        nonlocal batches
        batches += 1
        if batches == 3:
            third.set()
            await asyncio.Event().wait()
        await apply(deliveries)

    consumer.apply = dies  # type: ignore[method-assign]
    async with background(consumer.run):
        await third.wait()
    async with consuming(service) as seen:
        await eventually(lambda: is_done(service, replay))
    assert len(seen.delivered) == 40
    assert await everything_once(service)


async def test_a_partition_that_is_lost_before_it_began_is_begun_by_its_next_owner(
    service: SmallService, ends: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a rebalance: the one who looked does not own it any more."""
    replay = await ask(service)
    subscribe = service.bus.subscribe

    def deaf(*given: Any, **named: Any) -> Subscription:
        subscription = subscribe(*given, **named)

        async def not_ours(topic: str, partition: int, offset: int) -> bool:
            return False

        subscription.seek = not_ours  # type: ignore[method-assign]
        return subscription

    with monkeypatch.context() as patched:
        patched.setattr(service.bus, "subscribe", deaf)
        async with consuming(service) as seen:
            await asyncio.sleep(1.5)
    assert seen.delivered == []
    assert (await look(service, replay)).status == "waiting"
    async with consuming(service):
        await eventually(lambda: is_done(service, replay))


async def test_two_replays_at_once_are_both_done(service: SmallService, ends: dict[int, int]) -> None:
    far, near = await ask(service, from_offset=2), await ask(service, from_offset=4)
    async with consuming(service, batch_max=5) as seen:
        await eventually(lambda: is_done(service, far))
        await eventually(lambda: is_done(service, near))
    assert {offset for _, offset in seen.delivered} == set(range(2, max(ends.values())))
    assert await everything_once(service)


async def test_what_is_asked_for_on_the_way_leaves_nothing_out(
    service: SmallService, ends: dict[int, int]
) -> None:
    """The group stands far back at that moment: a replay only goes back, so what lies between is heard first."""
    far = await ask(service)
    consumer = service.consumer(batch_max=10)
    apply, near = consumer.apply, None
    delivered: list[int] = []

    async def noted(deliveries: Any) -> None:
        nonlocal near
        await apply(deliveries)
        delivered.extend(delivery.offset for delivery in deliveries)
        if near is None:
            near = await ask(service, from_offset=5)

    consumer.apply = noted  # type: ignore[method-assign]
    async with background(consumer.run):
        await eventually(lambda: is_done(service, far))
        assert near is not None
        await eventually(lambda: is_done(service, near))
    assert set(delivered) == set(range(max(ends.values())))


async def test_what_the_bus_does_not_keep_any_more(service: SmallService, ends: dict[int, int]) -> None:
    assert isinstance(service.bus, EmbeddedBus)
    bus = await asyncpg.connect(service.bus._dsn)
    await bus.execute('DELETE FROM bus_record WHERE "offset" < 3')
    await bus.close()
    replay = await ask(service)
    assert {(one.from_offset, one.is_earliest_kept) for one in replay.partitions} == {(3, True)}
    later = await ask(service, from_offset=4)
    assert {(one.from_offset, one.is_earliest_kept) for one in later.partitions} == {(4, False)}
    async with consuming(service) as seen:
        await eventually(lambda: is_done(service, replay))
    assert min(offset for _, offset in seen.delivered) == 3


@pytest.mark.parametrize(
    ("asked", "pointer", "told"),
    [
        ({"topic": "perennial.billing.v1"}, "/topic", f"It hears {TOPIC}."),
        ({"topic": TOPIC, "partition": 7}, "/partition", "It has 2, counted from 0."),
        ({"partition": 0}, "/topic", "Name the topic, too."),
        ({"topic": TOPIC, "partition": 0, "from_offset": 10_000}, "/from_offset", "begin before that"),
        ({"from_offset": 1, "since": datetime(2025, 1, 1, tzinfo=UTC)}, "/since", "Leave one"),
    ],
)
async def test_what_cannot_be_replayed_is_refused(
    service: SmallService, ends: dict[int, int], asked: dict[str, Any], pointer: str, told: str
) -> None:
    with pytest.raises(ReplayRefused) as refused:
        await ask(service, **asked)
    assert refused.value.pointer == pointer
    assert told in (refused.value.remedy or "")
    assert await service.rows("SELECT FROM replay_request") == []


async def test_an_unknown_replay_is_not_found(service: SmallService, ends: dict[int, int]) -> None:
    replay = await ask(service)
    other = Replays(bus=service.bus, group="perennial.other", topics=(TOPIC,))
    async with service.units.open(OPERATORS, "token:on_call") as uow:
        for asked, id in ((replays(service), "rpl_none"), (other, replay.id)):
            with pytest.raises(ReplayNotFound):
                await asked.get(id, uow=uow)


async def test_who_asked_is_written_down(service: SmallService, ends: dict[int, int]) -> None:
    replay = await ask(service)
    assert (replay.asked_by, (await look(service, replay)).asked_by) == ("token:on_call", "token:on_call")


async def test_an_outage_while_looking_holds_up_nothing(service: SmallService, ends: dict[int, int]) -> None:
    """Consuming does not depend on it."""
    await service.rows("ALTER TABLE replay_partition RENAME TO elsewhere")
    try:
        await service.say(happened("t9", 1))
        async with background(service.relay().run, service.consumer().run):
            await eventually(lambda: service.effects("t9"), [("t9", 1)])
    finally:
        await service.rows("ALTER TABLE elsewhere RENAME TO replay_partition")
