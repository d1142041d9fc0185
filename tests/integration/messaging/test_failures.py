"""A message that fails by itself: tried again with growing pauses, then a dead letter, and nobody waits for it."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from libs.common.contracts.catalog import TenantChangedV1, TokenRevokedV1
from libs.common.contracts.envelope import Event
from libs.common.contracts.subscriptions import TestClockMovedV1
from libs.common.messaging import failures as failures_module
from libs.common.messaging.bus import Delivery
from libs.common.messaging.consumer import Consumer
from libs.common.messaging.failures import PAUSES_S, DeadLetterNotFound
from libs.common.messaging.handlers import HandlerGroup
from libs.common.persistence.outage import is_outage
from libs.common.persistence.reference import on_test_clock_moved
from libs.common.telemetry.metrics import REGISTRY
from tests.support.small_service import (
    GROUP,
    NAME,
    NOW,
    TENANT_A,
    TENANT_B,
    TOPIC,
    Poison,
    SmallService,
    SmallUnitOfWork,
    ThingHappenedV1,
    background,
    delivery_of,
    eventually,
    happened,
)

TRIES = len(PAUSES_S) + 1
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def fail_until_dead(service: SmallService, consumer: Consumer[SmallUnitOfWork]) -> None:
    for _ in range(TRIES - 1):
        await service.let_pauses_pass()
        await consumer.retry_due()


async def pauses(service: SmallService) -> list[float | None]:
    found = await service.rows(
        "SELECT extract(epoch FROM next_try_at - last_failed_at)::float8 FROM message_failure ORDER BY 1"
    )
    return [None if row[0] is None else round(row[0], 1) for row in found]


def id_of(delivery: Delivery) -> str:
    return delivery.headers["ce_id"]


async def a_dead_letter(service: SmallService, poison: Poison) -> Delivery:
    service.handlers.trouble["bad"] = poison
    delivery = delivery_of(happened("bad", 1), traceparent=TRACEPARENT)
    consumer = service.consumer()
    await consumer.apply([delivery])
    await fail_until_dead(service, consumer)
    return delivery


# Poison


async def test_neighbours_of_a_poison_message_go_on_at_once(service: SmallService) -> None:
    service.handlers.trouble["bad"] = service.handlers.trouble["worse"] = Poison()
    names = ["t0", "bad", *[f"t{number}" for number in range(1, 6)], "worse", "t6"]
    batch = [delivery_of(happened(name, 1, tenant)) for name in names for tenant in (TENANT_A, TENANT_B)]
    await service.consumer().apply(batch)
    done = [(name, 1) for name in names if name.startswith("t") for _ in range(2)]
    assert sorted(await service.effects()) == sorted(done)
    kept = await service.failures()
    assert sorted(row["key"] for row in kept) == sorted(
        f"{tenant}/{name}" for name in ("bad", "worse") for tenant in (TENANT_A, TENANT_B)
    )
    assert {(row["attempts"], row["dead"]) for row in kept} == {(1, False)}
    assert len(await service.rows("SELECT FROM inbox")) == len(done)


async def test_pauses_grow_and_then_it_is_a_dead_letter(service: SmallService) -> None:
    poison = Poison()
    service.handlers.trouble["bad"] = poison
    consumer = service.consumer()
    await consumer.apply([delivery_of(happened("bad", 1), traceparent=TRACEPARENT)])
    seen = await pauses(service)
    for _ in range(TRIES - 1):
        assert await consumer.retry_due() == 0  # not before its time
        await service.let_pauses_pass()
        assert await consumer.retry_due() == 1
        seen += await pauses(service)
    assert seen == [*PAUSES_S, None]
    assert await consumer.retry_due() == 0
    assert poison.tries == TRIES

    (letter,) = await consumer.failures.list(include_retrying=False)
    assert letter.dead
    assert letter.attempts == TRIES
    assert letter.error == "ValueError: thing bad cannot be digested"
    assert letter.trace_id == TRACEPARENT.split("-")[1]
    assert (letter.type, letter.tenant, letter.topic) == (ThingHappenedV1.TYPE, TENANT_A, TOPIC)
    assert letter.first_failed_at < letter.last_failed_at
    assert await consumer.failures.count_dead() == 1
    assert await service.effects() == []


async def test_a_message_that_recovers_in_time_is_handled_and_forgotten(service: SmallService) -> None:
    poison = Poison()
    service.handlers.trouble["bad"] = poison
    await service.say(happened("bad", 1), happened("t1", 1))
    consumer = service.consumer()
    async with background(service.relay().run, consumer.run, consumer.run_retries):
        await eventually(service.effects, [("t1", 1)])
        poison.healed = True
        await eventually(service.effects, [("t1", 1), ("bad", 1)])
        await eventually(service.failures, [])


async def test_a_dead_letter_shows_in_the_log_and_in_the_metrics(
    service: SmallService, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        await a_dead_letter(service, Poison())
    assert [record.message for record in caplog.records] == ["message given up"]
    async with background(service.consumer().run_retries):

        async def gauge() -> float | None:
            return REGISTRY.get_sample_value("perennial_dead_letters", {"service": NAME, "group": ""})

        await eventually(gauge, 1.0)


async def test_delivered_again_it_neither_costs_an_attempt_nor_jumps_its_pause(service: SmallService) -> None:
    poison = Poison()
    service.handlers.trouble["bad"] = poison
    delivery = delivery_of(happened("bad", 1))
    consumer = service.consumer()
    for _ in range(4):
        await consumer.apply([delivery])
    assert (poison.tries, (await service.failures())[0]["attempts"]) == (1, 1)
    poison.healed = True
    await consumer.apply([delivery, delivery_of(happened("t1", 1))])
    assert await service.effects() == [("t1", 1)]
    await service.let_pauses_pass()
    await consumer.retry_due()
    assert await service.effects() == [("t1", 1), ("bad", 1)]
    assert await service.failures() == []


async def test_a_dead_letter_that_is_delivered_again_stays_dead(service: SmallService) -> None:
    poison = Poison()
    delivery = await a_dead_letter(service, poison)
    poison.healed = True
    await service.consumer().apply([delivery])
    (row,) = await service.failures()
    assert (row["dead"], row["attempts"]) == (True, TRIES)
    assert await service.effects() == []


async def test_two_workers_do_not_try_the_same_message_at_once(service: SmallService) -> None:
    poison = Poison()
    service.handlers.trouble["bad"] = poison
    await service.consumer().apply([delivery_of(happened("bad", 1))])
    await service.let_pauses_pass()
    tried = await asyncio.gather(*(service.consumer().retry_due() for _ in range(4)))
    assert (sum(tried), poison.tries) == (1, 2)
    assert (await service.failures())[0]["attempts"] == 2


async def test_a_try_that_died_is_followed_by_another(
    service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = Poison()
    service.handlers.trouble["bad"] = poison
    consumer = service.consumer()
    await consumer.apply([delivery_of(happened("bad", 1))])
    await service.let_pauses_pass()
    monkeypatch.setattr(failures_module, "TRY_S", 0.2)
    assert await consumer.failures.next_due() is not None  # taken by a worker that then was killed
    poison.healed = True
    assert await consumer.retry_due() == 0
    await asyncio.sleep(0.25)
    assert await consumer.retry_due() == 1
    assert await service.effects() == [("bad", 1)]


async def test_an_outage_during_a_try_counts_no_attempt(service: SmallService) -> None:
    tries: list[int] = []

    async def fail(event: ThingHappenedV1, uow: SmallUnitOfWork) -> None:
        tries.append(len(tries))
        if len(tries) == 1:
            raise ValueError("first")
        await service.cut_connections()

    service.handlers.trouble["bad"] = fail
    consumer = service.consumer()
    await consumer.apply([delivery_of(happened("bad", 1))])
    await service.let_pauses_pass()
    with pytest.raises(Exception) as lost:
        await consumer.retry_due()
    assert is_outage(lost.value)
    (row,) = await service.failures()
    assert (row["attempts"], row["error"]) == (1, "ValueError: first")


# Redrive


async def test_a_redriven_dead_letter_is_applied_once(service: SmallService) -> None:
    poison = Poison()
    delivery = await a_dead_letter(service, poison)
    consumer = service.consumer()
    poison.healed = True
    await consumer.failures.redrive(id_of(delivery))
    async with background(consumer.run_retries):
        await eventually(service.effects, [("bad", 1)])
    await consumer.apply([delivery])
    assert await service.effects() == [("bad", 1)]
    assert await service.failures() == []
    with pytest.raises(DeadLetterNotFound):
        await consumer.failures.redrive(id_of(delivery))


async def test_a_redriven_message_that_still_fails_has_all_its_tries_again(service: SmallService) -> None:
    delivery = await a_dead_letter(service, Poison())
    consumer = service.consumer()
    await consumer.failures.redrive(id_of(delivery))
    assert await consumer.failures.count_dead() == 0
    for tries in range(1, TRIES + 1):
        await service.let_pauses_pass()
        await consumer.retry_due()
        failed = await consumer.failures.get(id_of(delivery))
        assert (failed.attempts, failed.dead) == (tries, tries == TRIES)


async def test_a_letter_that_nobody_listens_to_any_more_is_forgotten_when_redriven(
    service: SmallService,
) -> None:
    delivery = await a_dead_letter(service, Poison())
    deaf = service.consumer(group=HandlerGroup(GROUP, (TOPIC,), {}))
    await deaf.failures.redrive(id_of(delivery))
    await deaf.retry_due()
    assert await service.failures() == []
    assert await service.effects() == []


async def test_an_old_word_that_is_redriven_does_not_overwrite_a_newer_one(service: SmallService) -> None:
    """Of each kind of reference data that every service keeps: clocks, tenants, revocations."""
    healed: list[bool] = []

    async def stumble(event: TestClockMovedV1, uow: SmallUnitOfWork) -> None:
        if event.version == 1 and not healed:
            raise ValueError("not now")
        await on_test_clock_moved(event, uow)

    service.handlers.more[TestClockMovedV1] = stumble
    hour = timedelta(hours=1)
    moves = [
        TestClockMovedV1(tenant=TENANT_A, version=n, occurred_at=NOW, clock_id="clk_1", now=NOW + n * hour)
        for n in (1, 2)
    ]
    consumer = service.consumer()
    batch = [delivery_of(move, key="clk_1") for move in moves]
    await consumer.apply(batch)
    await fail_until_dead(service, consumer)
    healed.append(True)
    await consumer.failures.redrive(id_of(batch[0]))
    assert await consumer.retry_due() == 1
    assert await service.failures() == []
    (clock,) = await service.rows("SELECT now, version FROM known_clock")
    assert tuple(clock) == (NOW + 2 * hour, 2)


@pytest.mark.parametrize("order", [(1, 2), (2, 1), (2, 1, 2)])
async def test_the_newest_word_on_a_tenant_stays(service: SmallService, order: tuple[int, ...]) -> None:
    for version in order:
        event = TenantChangedV1(
            tenant=TENANT_A, version=version, occurred_at=NOW, name=f"name {version}", mode="sandbox"
        )
        await service.consumer().apply([delivery_of(event)])
    (known,) = await service.rows("SELECT name, mode, version FROM known_tenant")
    assert tuple(known) == ("name 2", "sandbox", 2)


async def test_a_token_is_revoked_once_whoever_says_so_again(service: SmallService) -> None:
    for hours in (1, 3, 2):
        expires_at = NOW + timedelta(hours=hours)
        event = TokenRevokedV1(tenant=TENANT_A, occurred_at=NOW, token_id="tok_1", expires_at=expires_at)
        await service.consumer().apply([delivery_of(event)])
    (revoked,) = await service.rows("SELECT token_id, expires_at FROM revoked_token")
    assert tuple(revoked) == (f"{TENANT_A}:tok_1", NOW + timedelta(hours=3))


async def test_a_clock_of_another_tenant_cannot_be_moved(service: SmallService) -> None:
    def moved(tenant: str, version: int) -> Delivery:
        now = NOW + timedelta(hours=version)
        event = TestClockMovedV1(tenant=tenant, version=version, occurred_at=NOW, clock_id="clk_1", now=now)
        return delivery_of(event, key="clk_1")

    await service.consumer().apply([moved(TENANT_A, 1), moved(TENANT_B, 2)])
    (clock,) = await service.rows("SELECT tenant::text, version FROM known_clock")
    assert tuple(clock) == (TENANT_A, 1)
    assert len(await service.failures()) == 1


# Unreadable


def changed(delivery: Delivery, *, without: str = "", value: bytes | None = None, **headers: str) -> Delivery:
    kept = {name: text for name, text in {**delivery.headers, **headers}.items() if name != without}
    return Delivery(
        delivery.topic,
        delivery.partition,
        delivery.offset,
        delivery.key,
        kept,
        delivery.value if value is None else value,
    )


GOOD = delivery_of(happened("odd", 1), offset=17)
UNREADABLE = {
    "no_headers": Delivery(TOPIC, 0, 17, "k", {}, b"hello"),
    "no_id": changed(GOOD, without="ce_id"),
    "empty_id": changed(GOOD, ce_id=""),
    "endless_id": changed(GOOD, ce_id="x" * 10_000),
    "id_that_is_no_text": changed(GOOD, ce_id="evt_\x00\ud800"),
    "no_tenant": changed(GOOD, without="ce_tenant"),
    "tenant_that_is_none": changed(GOOD, ce_tenant="not-a-tenant"),
    "malformed_time": changed(GOOD, ce_time="yesterday"),
    "malformed_version": changed(GOOD, ce_aggregateversion="first"),
    "unknown_version": changed(GOOD, ce_type="perennial.test.thing.happened.v2"),
    "unknown_type": changed(GOOD, ce_type="com.example.\x00.v1"),
    "not_json": changed(GOOD, value=b"\xff\xfe{"),
    "json_of_another_kind": changed(GOOD, value=b"[1, 2]"),
    "data_without_a_field": changed(GOOD, value=b'{"tenant": "x", "occurred_at": "2025-06-01T00:00:00Z"}'),
    "number_beyond_the_column": changed(
        GOOD, value=happened("odd", 2**70, version=1).model_dump_json().encode()
    ),
    "text_that_cannot_be_stored": changed(GOOD, value=happened("o\x00d", 1).model_dump_json().encode()),
    "header_that_cannot_be_stored": changed(GOOD, without="ce_time", note="\x00\ud800"),
    "tenant_of_another": changed(GOOD, ce_tenant=TENANT_B),
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_what_cannot_be_read_becomes_a_dead_letter(service: SmallService, name: str) -> None:
    odd, consumer = UNREADABLE[name], service.consumer()
    neighbours = [delivery_of(happened("t1", number)) for number in (1, 2)]
    await consumer.apply([neighbours[0], odd, neighbours[1]])
    await consumer.apply([odd])
    assert await service.effects() == [("t1", 1), ("t1", 2)]
    await fail_until_dead(service, consumer)
    (letter,) = await consumer.failures.list()
    assert (letter.dead, letter.attempts) == (True, TRIES)
    assert letter.value == odd.value
    assert (letter.topic, letter.partition, letter.offset) == (odd.topic, odd.partition, odd.offset)
    assert letter.error
    assert 0 < len(letter.message_id) <= 200
    await consumer.failures.redrive(letter.message_id)
    await consumer.retry_due()
    assert (await consumer.failures.get(letter.message_id)).attempts == 1


async def test_an_event_whose_version_becomes_known_is_applied_when_redriven(
    service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    from libs.common.contracts import EVENTS

    class ThingHappenedV2(ThingHappenedV1):
        TYPE = "perennial.test.thing.happened.v2"

    event = ThingHappenedV2(tenant=TENANT_A, thing_id="t1", number=1, occurred_at=NOW)
    delivery = delivery_of(event)
    await service.consumer().apply([delivery])
    monkeypatch.setitem(EVENTS, ThingHappenedV2.TYPE, ThingHappenedV2)

    async def on_second_version(event: Event, uow: SmallUnitOfWork) -> None:
        assert isinstance(event, ThingHappenedV2)
        await service.handlers.on_thing_happened(event, uow)

    service.handlers.more[ThingHappenedV2] = on_second_version
    consumer = service.consumer()
    await consumer.failures.redrive(id_of(delivery))
    await consumer.retry_due()
    assert await service.effects() == [("t1", 1)]
    assert await service.failures() == []


async def test_nothing_on_the_bus_stops_the_loop(service: SmallService) -> None:
    """What a foreign producer might leave on the topic, and then an event of ours."""
    from libs.common.messaging.bus import Record

    await service.bus.publish([Record(TOPIC, "k", {"ce_id": "x"}, b"hello"), Record(TOPIC, "k", {}, b"\x00")])
    await service.say(happened("t1", 1), key="k")
    consumer = service.consumer()
    async with background(service.relay().run, consumer.run):
        await eventually(service.effects, [("t1", 1)])
    assert len(await service.failures()) == 2
