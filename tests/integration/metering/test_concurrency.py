"""Many senders at once, and what goes wrong half-way: each event is stored and counted once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from libs.common.errors import TransientError
from services.metering.adapters.usage_months import UsageMonths
from services.metering.application.ingest_usage_events import UsageBatch
from services.metering.domain.usage_event import AcceptWindow, UsageEvent
from services.metering.entrypoints.ingest_queue import IngestBusy, IngestQueue
from tests.integration.metering.harness import FLIGHT, SOURCE, Metering, Story, flight, fresh, statuses

AT = "2025-01-10T10:00:00Z"


def some_flights(length: int) -> list[dict[str, Any]]:
    return [
        flight(str(n), f"2025-01-{n % 28 + 1:02}T{n % 24:02}:00:00Z", 1, f"N{n % 7}") for n in range(length)
    ]


@asynccontextmanager
async def sums_blocked(metering: Metering) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Inside, whoever has stored events waits before the running sums, its transaction open."""
    async with metering.admin() as admin:
        transaction = admin.transaction()
        await transaction.start()
        await admin.execute("LOCK TABLE usage_bucket IN EXCLUSIVE MODE")
        try:
            yield admin
        finally:
            await transaction.rollback()


async def waiting_backends(metering: Metering) -> list[int]:
    """Backends that wait for the lock on the sums."""
    async with metering.admin() as admin:
        rows = await admin.fetch(
            """SELECT pid FROM pg_locks WHERE NOT granted AND relation = 'usage_bucket'::regclass
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
        )
    return [row["pid"] for row in rows]


async def until_waiting(metering: Metering, count: int = 1) -> list[int]:
    for _ in range(500):
        found = await waiting_backends(metering)
        if len(found) >= count:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


async def test_eight_senders_of_overlapping_batches_store_each_event_once(metering: Metering) -> None:
    await metering.define()
    events = some_flights(400)

    async def sender(seed: int) -> Counter[str]:
        order = random.Random(seed)
        told: Counter[str] = Counter()
        mine = order.sample(events, 300)
        for start in range(0, len(mine), 50):
            told.update(statuses(await metering.send(*mine[start : start + 50])))
        return told

    told = sum(await asyncio.gather(*(sender(seed) for seed in range(8))), Counter())
    told.update(statuses(await metering.send(*events)))
    assert told["stored"] == 400
    assert told["duplicate"] == 8 * 300
    assert await metering.count("usage_event") == await metering.count("usage_key") == 400
    assert [await metering.usage(subject=f"N{n}") for n in range(7)] == [
        [(str(counted), counted)] for counted in (58, 57, 57, 57, 57, 57, 57)
    ]


async def test_two_processes_with_the_same_events_store_each_once(metering: Metering) -> None:
    """Two queues with connections of their own, as two API processes would have."""
    await metering.define()
    queues = [queue_of(metering), queue_of(metering)]
    events = [an_event(metering.tenant, str(n)) for n in range(500)]

    async def send(queue: IngestQueue, seed: int) -> Counter[str]:
        mine = random.Random(seed).sample(events, len(events))
        told: Counter[str] = Counter()
        for start in range(0, len(mine), 100):
            results = await queue.submit(metering.tenant, a_batch(mine[start : start + 100]))
            told.update(result.status for result in results)
        return told

    told = sum(await asyncio.gather(*(send(queues[n % 2], n) for n in range(6))), Counter())
    assert told == {"stored": 500, "duplicate": 5 * 500}
    assert await metering.usage(subject="N1") == [("500", 500)]


async def test_a_meter_defined_while_events_stream_in_misses_none(metering: Metering) -> None:
    events = some_flights(2_000)

    async def sender(part: int) -> None:
        mine = events[part::4]
        for start in range(0, len(mine), 25):
            await metering.send(*mine[start : start + 25])

    async def definer() -> None:
        for number in range(5):
            await asyncio.sleep(0.03)
            await metering.define(f"minutes-{number}", group_by=["kind"])

    await asyncio.gather(definer(), *(sender(part) for part in range(4)))
    for number in range(5):
        counted = [await metering.usage(subject=f"N{n}", meter=f"minutes-{number}") for n in range(7)]
        assert sum(rows[0][1] for rows in counted) == 2_000


async def test_a_write_that_fails_after_the_duplicate_check_is_counted_once_when_sent_again(
    metering: Metering,
) -> None:
    """The backend dies with the keys claimed and the events stored, before COMMIT."""
    await metering.define()
    async with sums_blocked(metering) as admin:
        sending = asyncio.create_task(metering.client.post("/v1/usage-events", json=[flight("a", AT, 5)]))
        [backend] = await until_waiting(metering)
        await admin.fetchval("SELECT pg_terminate_backend($1)", backend)
        answer = await sending
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert "retry-after" in answer.headers
    assert await metering.count("usage_key") == 0
    assert statuses(await metering.send(flight("a", AT, 5))) == ["stored"]
    assert statuses(await metering.send(flight("a", AT, 5))) == ["duplicate"]
    assert await metering.usage(subject="N1") == [("5", 1)]


async def test_an_answer_that_is_lost_after_commit_is_a_duplicate_when_sent_again(metering: Metering) -> None:
    await metering.define()
    async with sums_blocked(metering):
        sending = asyncio.create_task(metering.client.post("/v1/usage-events", json=[flight("a", AT, 5)]))
        await until_waiting(metering)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    for _ in range(100):
        if await metering.count("usage_event"):
            break
        await asyncio.sleep(0.01)
    assert statuses(await metering.send(flight("a", AT, 5))) == ["duplicate"]
    assert await metering.usage(subject="N1") == [("5", 1)]


async def test_requests_that_arrive_together_share_a_commit(metering: Metering) -> None:
    await metering.define()
    async with sums_blocked(metering):
        sending = [asyncio.create_task(metering.send(flight("first", AT)))]
        await until_waiting(metering)
        sending += [asyncio.create_task(metering.send(flight(str(n), AT))) for n in range(30)]
        await asyncio.sleep(0.2)
    answers = await asyncio.gather(*sending)
    assert [statuses(answer) for answer in answers] == [["stored"]] * 31
    async with metering.admin() as admin:
        commits = await admin.fetchval(
            "SELECT count(DISTINCT xmin::text) FROM usage_event WHERE tenant = $1", metering.tenant
        )
        changes = await admin.fetch(
            "SELECT aggregate_id FROM change_log WHERE tenant = $1 AND action = 'usage.ingested'",
            metering.tenant,
        )
        batches = await admin.fetch(
            "SELECT DISTINCT batch_id::text FROM usage_event WHERE tenant = $1", metering.tenant
        )
    assert commits <= 4
    assert len(changes) == commits  # what one caller's requests store together is one change of his
    assert {change[0] for change in changes} == {batch[0] for batch in batches}


async def test_a_request_that_fails_by_itself_fails_alone(metering: Metering) -> None:
    async with metering.admin() as admin:
        await admin.execute(
            """CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN RAISE EXCEPTION 'poison'; END $$"""
        )
        await admin.execute(
            """CREATE TRIGGER poison BEFORE INSERT ON usage_reject FOR EACH ROW
               WHEN (NEW.event_id = 'poison') EXECUTE FUNCTION refuse_poison()"""
        )
        try:
            await metering.define()
            async with sums_blocked(metering):
                first = asyncio.create_task(metering.send(flight("first", AT)))
                await until_waiting(metering)
                good = [asyncio.create_task(metering.send(flight(str(n), AT))) for n in range(10)]
                bad = asyncio.create_task(
                    metering.client.post("/v1/usage-events", json=[flight("poison", AT, None)])
                )
                await asyncio.sleep(0.1)
            assert (await bad).status_code == 500
            assert [statuses(answer) for answer in await asyncio.gather(first, *good)] == [["stored"]] * 11
        finally:
            await admin.execute("DROP FUNCTION refuse_poison CASCADE")
    assert await metering.usage(subject="N1") == [("660", 11)]


def an_event(tenant: str, id: str) -> UsageEvent:
    return UsageEvent(
        tenant=tenant,
        source=SOURCE,
        event_id=id,
        type=FLIGHT,
        subject="N1",
        time=datetime(2025, 1, 10, 10, tzinfo=UTC),
        arrived_at=datetime.now(UTC),
        data={"minutes": 1},
        data_json=b'{"minutes":1}',
    )


def a_batch(events: list[UsageEvent]) -> UsageBatch:
    return UsageBatch(fresh(), "test", datetime.now(UTC), events)


def queue_of(metering: Metering, **limits: int) -> IngestQueue:
    parts = metering.service.parts
    bounds = {"writers": 2, "commit_events_max": 5_000, "queue_events_max": 50_000, **limits}
    return IngestQueue(
        parts.api_units, UsageMonths(parts.api_database), service="metering", accept=AcceptWindow(), **bounds
    )


async def test_a_full_queue_says_so_and_loses_nothing(metering: Metering) -> None:
    await metering.define()
    queue = queue_of(metering, writers=1, commit_events_max=1, queue_events_max=3)
    async with sums_blocked(metering):
        taken = [
            asyncio.create_task(queue.submit(metering.tenant, a_batch([an_event(metering.tenant, str(n))])))
            for n in range(3)
        ]
        await until_waiting(metering)
        with pytest.raises(IngestBusy) as refusal:
            await queue.submit(metering.tenant, a_batch([an_event(metering.tenant, "x")]))
        assert isinstance(refusal.value, TransientError)
    assert [[r.status for r in results] for results in await asyncio.gather(*taken)] == [["stored"]] * 3
    await queue.close()
    assert queue.waiting_events == 0
    assert await metering.usage(subject="N1") == [("3", 3)]


async def test_tenants_share_a_commit_and_see_nothing_of_each_other(metering: Metering) -> None:
    other = Metering(metering.service, fresh())
    queue = queue_of(metering, writers=1)
    await metering.define()
    async with other.client:
        await other.define()
        tenants = [metering.tenant, other.tenant] * 10
        results = await asyncio.gather(
            *(queue.submit(tenant, a_batch([an_event(tenant, str(n))])) for n, tenant in enumerate(tenants))
        )
        assert {result.status for batch in results for result in batch} == {"stored"}
        assert await metering.usage(subject="N1") == await other.usage(subject="N1") == [("10", 10)]


async def test_bindings_and_usage_that_come_at_once_with_the_closing_are_not_lost(metering: Metering) -> None:
    """A binding that is heard while its window closes is in the totals, or in a correction."""
    await metering.define()
    stories = [Story(metering.tenant) for _ in range(8)]
    await metering.send(*(flight(str(n), AT, 1, f"N{n}") for n in range(8)))
    for story in stories:
        await metering.hear(story.started(), story.renewed(1))

    async def bind() -> None:
        for number, story in enumerate(stories):
            await metering.hear(story.bound(f"N{number}"))

    async def close() -> None:
        for _ in range(10):
            for job in metering.jobs:
                await job.run_once()

    await asyncio.gather(bind(), close(), close())
    await metering.tick()
    windows = (await metering.get("/v1/usage-windows", state="closed"))["data"]
    assert [window["totals"][0]["quantity"] for window in windows] == ["1"] * 8
