"""What stands in the outbox gets on the bus: in order per key, whoever dies, and by one relay at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from libs.common.access.tenancy import APP
from libs.common.contracts.topics import MESSAGE_BYTES_MAX
from libs.common.messaging import relay as relay_module
from libs.common.messaging.bus import Bus, BusUnavailable, Delivery, Record, RecordTooLarge
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.persistence.audit import common_checks
from libs.common.telemetry import Tracing, root_span, traceparent_of
from libs.common.telemetry.metrics import REGISTRY
from tests.support.postgres import PostgresForTests
from tests.support.small_service import (
    NAME,
    NOW,
    TENANT_A,
    TOPIC,
    BusInBetween,
    SmallService,
    ThingHappenedV1,
    all_on_the_bus,
    background,
    eventually,
    happened,
    small_bus,
    small_service,
)


def versions(messages: Sequence[Record | Delivery], key: str | None = None) -> list[int]:
    """The aggregate versions that were sent, in the order of the bus; of one key or of all."""
    return [
        int(message.headers["ce_aggregateversion"])
        for message in messages
        if key in (None, message.headers["ce_subject"])
    ]


async def test_rows_are_published_in_the_order_of_each_key(service: SmallService) -> None:
    keys = [f"t{number}" for number in range(7)]
    for version in range(1, 31):
        await service.say(*(happened(key, version) for key in keys))
    async with background(service.relay().run):
        await eventually(service.unpublished, 0)
    seen = await all_on_the_bus(service.bus, 210)
    for key in keys:
        assert versions(seen, key) == list(range(1, 31))


async def test_more_than_one_batch_is_published_at_once(
    service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.say(*(happened("t1", number) for number in range(1, 2 * relay_module.BATCH_MAX + 2)))
    monkeypatch.setattr(relay_module, "POLL_S", 60)
    async with background(service.relay().run):
        await eventually(service.unpublished, 0, timeout_s=10)
    assert versions(await all_on_the_bus(service.bus, 1001)) == list(range(1, 1002))


async def test_a_lower_position_that_commits_later_is_published_too(service: SmallService) -> None:
    """Two transactions at once: the one that took its position first commits last."""
    async with background(service.relay().run):
        async with service.units.open(TENANT_A, "slow") as slow:
            slow.outbox.append(happened("slow", 1), key="slow")
            await slow.flush()
            await service.say(happened("quick", 1))
            await eventually(service.unpublished, 0)  # the slow one is not to be seen yet
            (quick,) = await service.rows("SELECT position FROM outbox WHERE published_at IS NOT NULL")
        await eventually(lambda: published_positions(service), [quick[0] - 1, quick[0]])
    assert {d.headers["ce_subject"] for d in await all_on_the_bus(service.bus, 2)} == {"slow", "quick"}


async def published_positions(service: SmallService) -> list[int]:
    found = await service.rows("SELECT position FROM outbox WHERE published_at IS NOT NULL ORDER BY 1")
    return [row[0] for row in found]


async def test_a_commit_wakes_the_relay(service: SmallService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "POLL_S", 60)
    await service.say(happened("t1", 1))
    async with background(service.relay().run):
        await eventually(service.unpublished, 0)
        await service.say(happened("t1", 2))
        await eventually(service.unpublished, 0, timeout_s=5)


async def test_killed_between_publish_and_mark_it_publishes_again_and_readers_apply_once(
    service: SmallService,
) -> None:
    """T14, and the same half a step later."""
    bus = BusInBetween(service.bus)

    async def die_once() -> None:
        bus.after = None
        await service.cut_connections("%FROM outbox%")

    bus.after = die_once
    await service.say(*(happened("t1", number) for number in range(1, 6)))
    async with background(service.relay(bus).run, service.consumer().run):
        await eventually(service.unpublished, 0)
        await service.say(happened("t1", 6))
        await eventually(service.effects, [("t1", number) for number in range(1, 7)])
    assert versions(bus.published) == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6]
    await all_on_the_bus(service.bus, 11)


async def test_killed_between_commit_and_publish_it_publishes_in_order(service: SmallService) -> None:
    """T14: nothing had reached the bus."""
    bus = BusInBetween(service.bus)

    async def die_once() -> None:
        bus.before = None
        await service.cut_connections("%FROM outbox%")
        raise BusUnavailable("killed")

    bus.before = die_once
    await service.say(happened("t1", 1), happened("t1", 2))
    async with background(service.relay(bus).run):
        await eventually(service.unpublished, 0)
    assert versions(await all_on_the_bus(service.bus, 2)) == [1, 2]


async def test_a_second_relay_waits_and_takes_over(service: SmallService) -> None:
    one, two = BusInBetween(service.bus), BusInBetween(service.bus)
    first = asyncio.create_task(service.relay(one).run())
    await service.say(happened("t1", 1))
    await eventually(service.unpublished, 0)
    async with background(service.relay(two).run):
        for number in range(2, 12):
            await service.say(happened("t1", number))
            await asyncio.sleep(0.02)
        await eventually(service.unpublished, 0)
        assert (len(one.published), len(two.published)) == (11, 0)
        first.cancel()
        await service.say(happened("t1", 12))
        await eventually(service.unpublished, 0, timeout_s=5)
    assert versions(two.published) == [12]
    assert versions(await all_on_the_bus(service.bus, 12)) == list(range(1, 13))


async def test_two_relays_and_lost_sessions_keep_the_order(service: SmallService) -> None:
    async with background(service.relay().run, service.relay().run, service.consumer().run):
        for number in range(1, 61):
            await service.say(happened("t1", number))
            if number % 12 == 0:
                await service.cut_connections("%outbox%")
            await asyncio.sleep(0.01)
        await eventually(service.effects, [("t1", number) for number in range(1, 61)], timeout_s=30)


async def test_a_restart_of_the_database_is_waited_out(bus: EmbeddedBus, fragile: PostgresForTests) -> None:
    async with small_service(fragile, bus) as service, background(service.relay().run):
        await service.say(happened("t1", 1))
        await eventually(service.unpublished, 0)
        await service.say(happened("t1", 2))
        await asyncio.to_thread(fragile.server.stop)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(fragile.server.start)
        await service.worker.engine.dispose()
        await service.say(happened("t1", 3))
        await eventually(service.unpublished, 0)
        # The second may stand there twice: published, and not marked before the server stopped.
        assert list(dict.fromkeys(versions(await all_on_the_bus(bus)))) == [1, 2, 3]


async def test_an_outage_of_the_bus_is_waited_out_and_shows_as_a_backlog(
    postgres: PostgresForTests, fragile: PostgresForTests
) -> None:
    async with small_bus(fragile) as bus, small_service(postgres, bus) as service:
        relay = service.relay()
        async with background(relay.run):
            await service.say(happened("t1", 1))
            await eventually(service.unpublished, 0)
            await asyncio.to_thread(fragile.server.stop)
            for number in range(2, 8):
                await service.say(happened("t1", number))

            async def backlog() -> float | None:
                return REGISTRY.get_sample_value("perennial_outbox_backlog_events", {"service": NAME})

            await eventually(backlog, 6.0)
            await asyncio.to_thread(fragile.server.start)
            await eventually(service.unpublished, 0)
            await eventually(backlog, 0.0)
            assert relay._pause_s == relay_module.OUTAGE_PAUSE_FIRST_S  # the next outage begins afresh
        assert versions(await all_on_the_bus(bus, 7)) == list(range(1, 8))


# What the bus refuses


class Narrow(BusInBetween):
    """A bus that takes no record of a thing in `refused`; of a batch with one, it may take the first few."""

    def __init__(self, bus: Bus, *refused: str, takes_first: int = 0) -> None:
        super().__init__(bus)
        self.refused, self.takes_first = set(refused), takes_first
        self.refusals = 0

    async def publish(self, records: Sequence[Record]) -> None:
        positions = [n for n, record in enumerate(records) if record.headers["ce_subject"] in self.refused]
        if not positions:
            return await super().publish(records)
        self.refusals += 1
        if fine := records[: min(self.takes_first, positions[0])]:
            await super().publish(fine)
        raise RecordTooLarge("too large for this bus", positions=positions)


async def refused(service: SmallService) -> list[tuple[str, int]]:
    found = await service.rows(
        """SELECT aggregate_id, aggregate_version FROM outbox
           WHERE refused_at IS NOT NULL AND published_at IS NULL ORDER BY position"""
    )
    return [(row[0], row[1]) for row in found]


async def waiting(service: SmallService) -> int:
    """Neither published nor refused."""
    found = await service.rows(
        "SELECT count(*) FROM outbox WHERE published_at IS NULL AND refused_at IS NULL"
    )
    return int(found[0][0])


async def test_what_the_bus_refuses_stays_behind_and_its_neighbours_go_on(
    service: SmallService, caplog: pytest.LogCaptureFixture
) -> None:
    """Later events of the same key too: readers know which is newer, and what is added needs no order."""
    bus = Narrow(service.bus, "large", takes_first=2)
    await service.say(*(happened(key, number) for number in range(1, 5) for key in ("t1", "large", "t2")))
    async with background(service.relay(bus).run, service.consumer().run):
        await eventually(lambda: waiting(service), 0)
        bus.refused.clear()
        await service.say(happened("large", 5), happened("t1", 5))
        await eventually(lambda: service.effects("large"), [("large", 5)])
        await eventually(lambda: service.effects("t1"), [("t1", number) for number in range(1, 6)])
    assert await refused(service) == [("large", number) for number in range(1, 5)]
    assert bus.refusals == 1
    assert caplog.text.count("event refused by the bus") == 4
    (row,) = await service.rows("SELECT DISTINCT refusal FROM outbox WHERE refused_at IS NOT NULL")
    assert row["refusal"].startswith("too large for this bus")


async def test_refused_events_show_as_such_and_not_as_a_backlog(service: SmallService) -> None:
    async def shown() -> tuple[float | None, float | None]:
        names = ("perennial_outbox_refused_events", "perennial_outbox_backlog_events")
        refused, backlog = (REGISTRY.get_sample_value(name, {"service": NAME}) for name in names)
        return refused, backlog

    bus = Narrow(service.bus, "large")
    await service.say(happened("large", 1), happened("t1", 1), happened("large", 2))
    async with background(service.relay(bus).run):
        await eventually(shown, (2.0, 0.0))
    async with service.worker.transaction(APP) as connection:
        stale, told, _ = await common_checks(connection)
    assert (stale.ok, told.ok, told.problem_count) == (True, False, 2)
    assert "aggregate_id=large" in told.problems[0]
    assert "too large for this bus" in told.problems[0]


async def test_a_refused_event_is_tried_again_after_a_while(service: SmallService) -> None:
    """The limit may have been raised: nobody has to come and help."""
    bus = Narrow(service.bus, "large")
    await service.say(happened("large", 1))
    async with background(service.relay(bus).run):
        await eventually(lambda: refused(service), [("large", 1)])
        bus.refused.clear()
        await service.say(happened("t1", 1))
        await eventually(service.unpublished, 1)  # not yet
        await service.rows(
            "UPDATE outbox SET refused_at = refused_at - interval '61 s' WHERE refused_at IS NOT NULL"
        )
        await service.say(happened("t1", 2))
        await eventually(service.unpublished, 0)
    assert bus.refusals == 1
    assert versions(bus.published, "large") == [1]


async def test_the_limit_of_the_bus_itself(service: SmallService) -> None:
    """On the embedded bus as it is. The outbox takes what it is given: refusing it there would undo the work."""

    class SaidAtLengthV1(ThingHappenedV1):
        TYPE: ClassVar[str] = ThingHappenedV1.TYPE
        words: str

    long = SaidAtLengthV1(
        tenant=TENANT_A, version=1, occurred_at=NOW, thing_id="long", number=1, words="x" * MESSAGE_BYTES_MAX
    )
    await service.say(happened("t1", 1), long, happened("t1", 2))
    async with background(service.relay().run):
        await eventually(lambda: waiting(service), 0)
    assert await refused(service) == [("long", 1)]
    assert versions(await all_on_the_bus(service.bus, 2)) == [1, 2]


async def test_headers_are_cloud_events_in_binary_mode(service: SmallService) -> None:
    occurred_at = datetime(2025, 6, 1, 12, 30, 15, 250000, tzinfo=UTC)
    await service.say(happened("t1", 3, occurred_at=occurred_at, test_clock="clk_1"))
    async with background(service.relay().run):
        await eventually(service.unpublished, 0)
    (stored,) = await service.rows("SELECT id, data FROM outbox")
    (delivery,) = await all_on_the_bus(service.bus, 1)
    assert delivery.key == f"{TENANT_A}/t1"
    assert delivery.value == stored["data"]
    assert dict(delivery.headers) == {
        "content-type": "application/json",
        "ce_specversion": "1.0",
        "ce_id": stored["id"],
        "ce_type": "perennial.test.thing.happened.v1",
        "ce_source": "/perennial/test",
        "ce_subject": "t1",
        "ce_time": "2025-06-01T12:30:15.250000Z",
        "ce_tenant": TENANT_A,
        "ce_aggregateversion": "3",
        "ce_partitionkey": f"{TENANT_A}/t1",
        "ce_testclock": "clk_1",
    }


async def test_one_trace_leads_from_the_cause_over_send_to_process(
    service: SmallService, tracing: Tracing
) -> None:
    with root_span("cause") as cause:
        await service.say(happened("t1", 1, occurred_at=NOW))
        origin = traceparent_of(cause)
    assert origin is not None
    async with background(service.relay().run, service.consumer().run):
        await eventually(service.effects, [("t1", 1)])
        await eventually(service.unpublished, 0)
    (delivery,) = await all_on_the_bus(service.bus, 1)
    assert delivery.headers["ce_traceparent"] == origin
    _, trace_id, span_id, _ = origin.split("-")

    trace = tracing.ring.find_trace(trace_id)
    assert trace is not None
    spans = {span.name: span for span in trace.spans}
    send, process = spans[f"send {TOPIC}"], spans[f"process {TOPIC}"]
    assert (send.kind.lower(), process.kind.lower()) == ("producer", "consumer")
    assert send.parent_id == span_id
    assert process.parent_id == send.span_id
    assert delivery.headers["traceparent"].split("-")[1:3] == [trace_id, send.span_id]
    assert process.attributes["messaging.consumer.group.name"] == "perennial.test"
    assert process.attributes["perennial.event.type"] == "perennial.test.thing.happened.v1"


async def test_an_event_without_a_trace_travels_without_one(service: SmallService, tracing: Tracing) -> None:
    await service.say(happened("t1", 1))
    async with background(service.relay().run):
        await eventually(service.unpublished, 0)
    (delivery,) = await all_on_the_bus(service.bus, 1)
    assert not {"traceparent", "ce_traceparent"} & delivery.headers.keys()
