"""Usage through the usage topic: what is accepted is stored once, and what is not stored can be read."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.common.access.scopes import OPERATE
from libs.common.contracts.metering import UsageCorrectedV1, UsageWindowClosedV1
from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.ids import new_uuid7
from libs.common.messaging.bus import BusUnavailable, Record
from services.metering.adapters.audit import audit_metering
from services.metering.adapters.usage_results import forget_expired
from services.metering.domain.usage_event import AcceptWindow
from services.metering.entrypoints.ingest_queue import IngestBusy
from services.metering.entrypoints.usage_publisher import UsagePublisher
from tests.integration.metering.harness import (
    FLIGHT,
    SOURCE,
    Metering,
    Story,
    codes,
    flight,
    fresh,
    statuses,
)
from tests.integration.metering.test_concurrency import a_batch, an_event
from tests.integration.metering.test_windows import only_window, totals
from tests.integration.metering.topic_harness import PARTITIONS, RESULTS, TopicMetering
from tests.support.service_under_test import ServiceUnderTest, new_tenant

AT = "2025-01-10T10:00:00Z"
GIVEN_UP = "UPDATE message_failure SET next_try_at = clock_timestamp() WHERE tenant = $1"


async def test_an_event_is_accepted_and_then_stored_and_counted(on_each_bus: TopicMetering) -> None:
    await on_each_bus.define()
    told = await on_each_bus.send(flight("a", AT, 61))
    assert told["results"] == [{"id": "a", "source": SOURCE, "status": "accepted"}]
    assert (told["accepted"], told["stored"], told["rejected"]) == (1, 0, 0)
    assert told["results_url"] == f"{RESULTS}?batch_id={told['batch_id']}"
    assert await on_each_bus.usage(subject="N1") == [("0", 0)]

    await on_each_bus.store_all()

    assert await on_each_bus.usage(subject="N1") == [("61", 1)]
    batch = await on_each_bus.batch(told["batch_id"])
    assert (batch["complete"], batch["events"], batch["pending"], batch["stored"]) == (True, 1, 0, 1)
    assert batch["not_stored"] == []


async def test_results_tell_every_event_that_was_not_stored(through_topic: TopicMetering) -> None:
    await through_topic.define()
    await through_topic.send(flight("known", AT, 1), flight("other", AT, 2))
    far = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    told = await through_topic.send(
        flight("new", AT, 3),
        flight("known", AT, 1, subject="N1"),
        flight("other", AT, 99),
        {"id": "no subject", "source": SOURCE, "type": FLIGHT},
        flight("far", far, 4),
        flight("unmeasured", AT, None, subject="N7"),
    )
    accepted, rejected = "accepted", "rejected"
    assert statuses(told) == [accepted, accepted, accepted, rejected, rejected, accepted]
    assert codes(told["results"][3]) == [("subject_missing", "/subject")]
    assert codes(told["results"][4]) == [("time_in_future", "/time")]
    await through_topic.store_all()

    batch = await through_topic.batch(told["batch_id"])
    counts = {status: batch[status] for status in ("stored", "duplicate", "conflict", "rejected")}
    assert counts == {"stored": 1, "duplicate": 1, "conflict": 1, "rejected": 3}
    assert (batch["events"], batch["pending"], batch["complete"]) == (6, 0, True)
    found = {one["place"]: one for one in batch["not_stored"]}
    assert {place: (one["id"], one["status"]) for place, one in found.items()} == {
        1: ("known", "duplicate"),
        2: ("other", "conflict"),
        3: ("no subject", "rejected"),
        4: ("far", "rejected"),
        5: ("unmeasured", "rejected"),
    }
    assert codes(found[3]) == [("subject_missing", "/subject"), ("value_missing", "/data/minutes")]
    assert codes(found[5]) == [("value_not_a_number", "/data/minutes")] or codes(found[5]) == [
        ("value_missing", "/data/minutes")
    ]
    assert await through_topic.usage(subject="N1") == [("6", 3)]
    assert len((await through_topic.get("/v1/usage-rejects"))["data"]) == 3
    assert len((await through_topic.get("/v1/usage-conflicts"))["data"]) == 1


async def test_results_are_paged_and_listed_without_a_batch_too(through_topic: TopicMetering) -> None:
    await through_topic.send(*(flight(str(n), AT, subject=f"N{n}") for n in range(7)))
    told = await through_topic.send(*(flight(str(n), AT, subject=f"N{n}") for n in range(7)))
    await through_topic.send(flight("0", AT, subject="N0"))
    await through_topic.store_all()
    seen: list[str] = []
    parameters: dict[str, Any] = {"batch_id": told["batch_id"], "limit": 3}
    while True:
        page = await through_topic.get(RESULTS, **parameters)
        assert page["batch"]["duplicate"] == 7
        seen += [one["id"] for one in page["data"]]
        if page["next_cursor"] is None:
            break
        parameters["cursor"] = page["next_cursor"]
    assert sorted(seen) == [str(n) for n in range(7)]
    everything = await through_topic.get(RESULTS, limit=200)
    assert everything["batch"] is None
    assert len(everything["data"]) == 8


async def test_a_batch_is_pending_until_it_is_stored_and_unknown_if_it_never_was(
    through_topic: TopicMetering, topic_service: ServiceUnderTest
) -> None:
    await through_topic.store_all()
    await through_topic.get(RESULTS, status=404, batch_id=fresh())
    told = await through_topic.send(flight("a", AT), flight("b", AT, subject="N2"))
    batch = await through_topic.batch(told["batch_id"])
    assert (batch["complete"], batch["events"], batch["pending"], batch["stored"]) == (False, None, None, 0)
    await through_topic.store_all()
    assert (await through_topic.batch(told["batch_id"]))["complete"]
    stranger = TopicMetering(topic_service, new_tenant())
    async with stranger.client:
        problem = await stranger.get(RESULTS, status=404, batch_id=told["batch_id"])
    assert problem["code"] == "usage_batch_not_found"
    await through_topic.get(RESULTS, status=422, batch_id="nonsense")


async def test_both_ways_leave_the_same(through_topic: TopicMetering, metering: Metering) -> None:
    """Sums, events, rejects and conflicts, whatever was sent."""
    direct = TopicMetering(metering.service, metering.tenant)
    requests = [
        [
            flight(f"e{n}", f"2025-01-{n % 28 + 1:02}T{n % 24:02}:14:59.999999Z", n / 8, f"N{n % 9}")
            for n in range(60)
        ],
        [
            flight(f"e{n}", f"2025-01-{n % 28 + 1:02}T{n % 24:02}:14:59.999999Z", n / 8, f"N{n % 9}")
            for n in range(40, 80)
        ],
        [
            flight("e1", AT, 12345),
            flight("e1", AT, 54321),
            flight("twice", AT, 1),
            flight("twice", AT, 1),
            {
                "specversion": "1.0",
                "id": "timeless",
                "source": SOURCE,
                "type": FLIGHT,
                "subject": "N1",
                "data": {"minutes": "0.1"},
            },
            flight(
                "exact",
                AT,
                data={"minutes": "0.10000000000000000000000000000000000001", "kind": 'ä\u0001"\\'},
            ),
            flight("no data", AT, data=None),
            flight("x" * 300, AT),
            flight("deep", AT, data={"a": [[[[{"minutes": 1}]]]]}),
            {"id": "no type", "source": SOURCE, "data": {"minutes": "none"}},
            {"id": 7, "long": "y" * 20_000},
            "no object",
            flight("far", "2999-01-01T00:00:00Z", "none", data={"minutes": "none", "kind": {"not": "text"}}),
            flight("other type", AT, type="engine.started"),
            flight("kinds", AT, data={"minutes": 1e-7, "kind": 12345678901234567890123456789}),
        ],
    ]
    for one in (through_topic, direct):
        await one.define(group_by=["kind"])
        await one.define("count", aggregation="count", filter={"/kind": ['ä"\\']})
        await one.define("most", aggregation="max")
        for request in requests:
            answer = await one.client.post("/v1/usage-events", json=request, timeout=60)
            assert answer.status_code == 200, answer.text
            await through_topic.store_all()
    left, right = await through_topic.everything(), await direct.everything()
    for name in left:
        assert left[name] == right[name], name
    assert len(left["rejects"]) >= 6
    assert len(left["conflicts"]) == 2
    assert len(left["sums"]) > 60


async def test_what_comes_again_changes_nothing(on_each_bus: TopicMetering) -> None:
    """From an older offset, by the group's account and by our own; the part that was settled is left out whole."""
    await on_each_bus.define()
    told = await on_each_bus.send(
        *(flight(str(n), AT, 1, f"N{n}") for n in range(20)), flight("bad", AT, None), flight("0", AT, 9)
    )
    await on_each_bus.store_all()
    before = await on_each_bus.everything()
    results = await on_each_bus.batch(told["batch_id"])
    stored = await on_each_bus.offsets()

    bus = on_each_bus.usage_bus
    async with on_each_bus.admin() as admin:
        await admin.execute("UPDATE usage_offset SET next_offset = greatest(next_offset - 30, 0)")
    async with on_each_bus.working():
        await on_each_bus.until_stored()
    assert await on_each_bus.offsets() == stored == await bus.end_offsets(USAGE_TOPIC)
    assert await on_each_bus.everything() == before
    assert await on_each_bus.batch(told["batch_id"]) == results


async def test_the_place_is_ours_whatever_the_group_has_acknowledged(on_each_bus: TopicMetering) -> None:
    """An acknowledgement that ran ahead of the database, as after a restored backup, leaves nothing out."""
    await on_each_bus.define()
    await on_each_bus.store_all()
    await on_each_bus.send(*(flight(str(n), AT, 1, f"N{n}") for n in range(20)))
    bus = on_each_bus.usage_bus
    ends = await bus.end_offsets(USAGE_TOPIC)
    async with (
        asyncio.timeout(10),
        bus.subscribe("perennial.metering.usage", [USAGE_TOPIC], member="thief") as thief,
    ):
        while await bus.committed("perennial.metering.usage", USAGE_TOPIC) != ends:
            if taken := await thief.poll(records_max=100, timeout_s=1):
                await thief.acknowledge(taken)
    assert await on_each_bus.offsets() != ends
    await on_each_bus.store_all()
    counted = [await on_each_bus.usage(subject=f"N{n}") for n in range(20)]
    assert counted == [[("1", 1)]] * 20


async def test_two_workers_with_the_same_records_store_them_once(on_each_bus: TopicMetering) -> None:
    """One believes still to own what the other has taken over: whoever comes second rolls back, and reads again."""
    await on_each_bus.define()
    await on_each_bus.store_all()
    told = await on_each_bus.send(*(flight(str(n), AT, 1, f"N{n}") for n in range(50)))
    one, two = on_each_bus.worker("one"), on_each_bus.worker("two")
    async with on_each_bus.usage_bus.subscribe(
        "perennial.metering.usage", [USAGE_TOPIC], member="one"
    ) as subscription:
        deliveries = await subscription.poll(records_max=100, timeout_s=5)
        moved = await asyncio.gather(
            one.consumer._until_over(subscription, deliveries),
            two.consumer._until_over(subscription, deliveries),
        )
    assert sum(len(partitions) for partitions in moved) == len({d.partition for d in deliveries}) > 1
    assert [await on_each_bus.usage(subject=f"N{n}") for n in range(50)] == [[("1", 1)]] * 50
    batch = await on_each_bus.batch(told["batch_id"])
    assert (batch["stored"], batch["duplicate"]) == (50, 0)


async def test_workers_come_and_go_while_events_stream_in(on_each_bus: TopicMetering) -> None:
    """Stopped, killed in the middle, taken over: each event counts once, as brute force counts them."""
    await on_each_bus.define()
    sent = 0

    async def stream() -> None:
        nonlocal sent
        for start in range(0, 3_000, 100):
            events = [flight(str(n), AT, 1, f"N{n % 37}") for n in range(start, start + 100)]
            await on_each_bus.send(*events, events[start // 100])
            sent += 100
            await asyncio.sleep(0.01)

    async def churn() -> None:
        for number in range(6):
            worker = on_each_bus.worker(f"worker-{number % 2}", commit_events_max=200)
            other = on_each_bus.worker(f"worker-{number % 2 + 2}", commit_events_max=200)
            worker.start()
            other.start()
            await asyncio.sleep(0.15)
            await worker.kill()
            await (other.stop() if number % 2 else other.kill())

    await asyncio.gather(stream(), churn())
    await on_each_bus.store_all()
    assert sent == 3_000
    assert await on_each_bus.count("usage_event") == await on_each_bus.count("usage_key") == 3_000
    counted = [await on_each_bus.usage(subject=f"N{n}") for n in range(37)]
    assert counted == [[(str(m), m)] for n in range(37) for m in (len(range(n, 3_000, 37)),)]
    async with on_each_bus.admin() as admin:
        stored, duplicate = await admin.fetchrow(
            "SELECT sum(stored), sum(duplicate) FROM usage_batch WHERE tenant = $1", on_each_bus.tenant
        )
    assert (stored, duplicate) == (3_000, 30)


async def test_a_worker_that_loses_its_database_goes_on_where_it_stood(through_topic: TopicMetering) -> None:
    await through_topic.define()
    async with through_topic.working(commit_events_max=100):
        for start in range(0, 1_000, 100):
            await through_topic.send(*(flight(str(n), AT, 1, f"N{n % 5}") for n in range(start, start + 100)))
            async with through_topic.admin() as admin:
                await admin.execute(
                    """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                       WHERE datname = current_database() AND usename = 'perennial_worker'"""
                )
        await through_topic.until_stored()
    assert [await through_topic.usage(subject=f"N{n}") for n in range(5)] == [[("200", 200)]] * 5


async def test_a_record_that_cannot_be_read_is_kept_and_its_neighbours_go_on(
    through_topic: TopicMetering,
) -> None:
    await through_topic.define()
    await through_topic.store_all()
    headers = {"ce_id": fresh(), "ce_tenant": through_topic.tenant}
    batch_media = "application/vnd.perennial.usage-batch+json"
    unreadable = [
        Record(USAGE_TOPIC, "k", {**headers, "content-type": batch_media}, b"{", partition=1),
        Record(USAGE_TOPIC, "k", {"ce_id": fresh(), "content-type": batch_media}, b"{}", partition=1),
        Record(USAGE_TOPIC, "k", {"ce_id": fresh(), "content-type": "text/plain"}, b"hello", partition=1),
    ]
    await through_topic.publish(unreadable[0])
    await through_topic.send(*(flight(str(n), AT, 1, f"N{n}") for n in range(30)))
    await through_topic.publish(*unreadable[1:])
    await through_topic.store_all()
    assert [await through_topic.usage(subject=f"N{n}") for n in range(30)] == [[("1", 1)]] * 30
    async with through_topic.admin() as admin:
        kept = await admin.fetch("SELECT * FROM message_failure WHERE handler = 'perennial.metering.usage'")
        await admin.execute("UPDATE message_failure SET dead = true")
    async with through_topic.service.client(None, OPERATE) as operator:
        path = f"/v1/metering-operations/dead-letters/{unreadable[0].headers['ce_id']}"
        assert (await operator.get(path)).json()["status"] == "dead"
        assert (await operator.post(f"{path}/redrive")).json()["status"] == "retrying"
    async with through_topic.admin() as admin:
        await admin.execute("DELETE FROM message_failure")
    assert {row["message_id"] for row in kept} == {record.headers["ce_id"] for record in unreadable}
    assert all(row["error"].startswith("UnreadableMessage") for row in kept)


async def test_a_record_that_cannot_be_stored_is_tried_again_and_windows_wait_for_it(
    through_topic: TopicMetering,
) -> None:
    story = Story(through_topic.tenant)
    await through_topic.define()
    await through_topic.hear(story.started(), story.bound())
    await through_topic.store_all()
    async with through_topic.admin() as admin:
        await admin.execute(
            """CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN RAISE EXCEPTION 'poison'; END $$"""
        )
        await admin.execute(
            """CREATE TRIGGER poison BEFORE INSERT ON usage_event FOR EACH ROW
               WHEN (NEW.event_id = 'poison') EXECUTE FUNCTION refuse_poison()"""
        )
        try:
            good = [await through_topic.send(flight(str(n), AT, 1)) for n in range(9)]
            bad = await through_topic.send(flight("poison", AT, 100))
            await through_topic.store_all()
            assert await through_topic.usage(subject="N1") == [("9", 9)]
            assert all([(await through_topic.batch(told["batch_id"]))["complete"] for told in good])
            assert not (await through_topic.batch(bad["batch_id"]))["complete"]
            await through_topic.hear(story.renewed(1))
            await through_topic.tick()
            assert await through_topic.said(UsageWindowClosedV1) == []
        finally:
            await admin.execute("DROP FUNCTION refuse_poison CASCADE")
        await admin.execute(GIVEN_UP, through_topic.tenant)
    assert await through_topic.worker().consumer.retry_due() == 1
    assert await through_topic.count("message_failure") == 0
    assert (await through_topic.batch(bad["batch_id"]))["complete"]
    await through_topic.tick()
    [closed] = await through_topic.said(UsageWindowClosedV1)
    assert totals(closed) == [(story.item_id, "109", 10)]


async def test_a_single_cloud_event_on_the_topic_is_stored(through_topic: TopicMetering) -> None:
    """In binary mode, from whoever may write to the topic; a malformed one is a reject, and is read once."""
    await through_topic.define()
    headers = {
        "ce_specversion": "1.0",
        "ce_id": "single",
        "ce_source": SOURCE,
        "ce_type": FLIGHT,
        "ce_subject": "N1",
        "ce_time": AT,
        "ce_tenant": through_topic.tenant,
        "content-type": "application/json",
    }
    event = Record(USAGE_TOPIC, f"{through_topic.tenant}/N1", headers, b'{"minutes": 1.50}')
    nameless = {name: value for name, value in headers.items() if name != "ce_subject"}
    await through_topic.publish(event, event, Record(USAGE_TOPIC, "k", nameless, b'{"minutes": 2}'))
    await through_topic.store_all()
    assert await through_topic.usage(subject="N1") == [("1.5", 1)]
    [reject] = (await through_topic.get("/v1/usage-rejects"))["data"]
    assert codes(reject) == [("subject_missing", "/subject")]
    assert {one["status"] for one in (await through_topic.get(RESULTS))["data"]} == {"duplicate", "rejected"}
    assert statuses(await through_topic.send(flight("single", AT, 1.5))) == ["accepted"]
    await through_topic.store_all()
    assert await through_topic.usage(subject="N1") == [("1.5", 1)]


async def test_a_window_waits_for_the_usage_that_was_accepted_before_it_was_due(
    through_topic: TopicMetering,
) -> None:
    story = Story(through_topic.tenant)
    await through_topic.define()
    await through_topic.hear(story.started(), story.bound())
    await through_topic.send(flight("early", "2025-01-05T00:00:00Z", 7))
    await through_topic.hear(story.renewed(1))
    await through_topic.tick()
    assert (await only_window(through_topic, state="due"))["closed_at"] is None
    await through_topic.send(flight("later", "2025-01-06T00:00:00Z", 5))  # accepted after the ends were noted
    await through_topic.tick()
    assert await through_topic.said(UsageWindowClosedV1) == []
    await through_topic.store_all()
    await through_topic.tick()
    [closed] = await through_topic.said(UsageWindowClosedV1)
    assert totals(closed) == [(story.item_id, "12", 2)]
    await through_topic.send(flight("late", "2025-01-07T00:00:00Z", 100))
    await through_topic.store_all()
    await through_topic.tick()
    [corrected] = await through_topic.said(UsageCorrectedV1)
    assert totals(corrected) == [(story.item_id, "112", 3)]


async def test_a_window_of_a_test_clock_waits_for_usage_as_others_do(through_topic: TopicMetering) -> None:
    story = Story(through_topic.tenant, clock="clk_usage")
    await through_topic.define()
    await through_topic.hear(story.clock_moved("2025-01-15", 1), story.started(), story.bound())
    await through_topic.send(flight("early", "2025-01-05T00:00:00Z", 7))
    await through_topic.hear(story.renewed(1), story.clock_moved("2025-02-02", 2))
    await through_topic.tick()
    assert await through_topic.said(UsageWindowClosedV1) == []
    await through_topic.store_all()
    await through_topic.tick()
    [closed] = await through_topic.said(UsageWindowClosedV1)
    assert totals(closed) == [(story.item_id, "7", 1)]


async def test_lag_is_told_as_lag_and_is_no_failure(through_topic: TopicMetering) -> None:
    await through_topic.store_all()
    await through_topic.send(*(flight(str(n), AT, 1, f"N{n}") for n in range(20)))
    database = through_topic.service.parts.audit_database

    async def report() -> Any:
        return await audit_metering(
            database, usage_ends=await through_topic.usage_bus.end_offsets(USAGE_TOPIC)
        )

    waiting = await report()
    assert waiting.facts["usage_records_waiting"] == PARTITIONS
    assert [check.problems for check in waiting.checks if check.name == "usage_batches"] == [()]
    await through_topic.store_all()
    assert (await report()).facts["usage_records_waiting"] == 0
    async with through_topic.admin() as admin:
        await admin.execute(
            "UPDATE usage_batch SET stored = stored + 1 WHERE tenant = $1 AND part = 0", through_topic.tenant
        )
    [check] = [check for check in (await report()).checks if check.name == "usage_batches"]
    assert check.problem_count == 1
    async with through_topic.admin() as admin:
        await admin.execute("DELETE FROM usage_batch WHERE tenant = $1", through_topic.tenant)


async def test_results_that_were_kept_long_enough_go(through_topic: TopicMetering) -> None:
    told = await through_topic.send(flight("a", AT), flight("a", AT), flight("b", AT, subject="N2"))
    kept = await through_topic.send(flight("b", AT, subject="N2"))
    await through_topic.store_all()
    async with through_topic.admin() as admin:
        await admin.execute(
            "UPDATE usage_batch SET expires_at = now() - interval '1 s' WHERE batch_id = $1", told["batch_id"]
        )
    assert await forget_expired(through_topic.service.parts.worker_database) == 1
    await through_topic.get(RESULTS, status=404, batch_id=told["batch_id"])
    assert (await through_topic.batch(kept["batch_id"]))["duplicate"] == 1
    assert [one["batch_id"] for one in (await through_topic.get(RESULTS))["data"]] == [kept["batch_id"]]


async def test_a_worker_that_is_told_to_stop_leaves_nothing_half_done(on_each_bus: TopicMetering) -> None:
    await on_each_bus.define()
    before = await on_each_bus.offsets()
    worker = on_each_bus.worker(commit_events_max=50)
    worker.start()
    for start in range(0, 500, 50):
        await on_each_bus.send(*(flight(str(n), AT, 1) for n in range(start, start + 50)))
    await worker.stop()
    [(_, counted)] = await on_each_bus.usage(subject="N1")
    bus = on_each_bus.usage_bus
    stored = await on_each_bus.offsets()
    ours = {partition for partition, offset in stored.items() if offset != before.get(partition)}
    committed = await bus.committed("perennial.metering.usage", USAGE_TOPIC)
    assert {partition: committed[partition] for partition in ours} == {p: stored[p] for p in ours}
    assert counted % 50 == 0
    await on_each_bus.store_all()
    assert await on_each_bus.usage(subject="N1") == [("500", 500)]


class BrokenBus:
    """A bus that is down, or does not come to an end."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.hangs = asyncio.Event() if hangs else None
        self.published: list[Record] = []

    async def end_offsets(self, topic: str) -> dict[int, int]:
        return {0: 0}

    async def publish(self, records: list[Record]) -> None:
        if self.hangs is None:
            raise BusUnavailable("the bus is down")
        await self.hangs.wait()
        self.published += records


def publisher_on(bus: Any, **limits: int) -> UsagePublisher:
    bounds = {"publish_events_max": 100, "queue_events_max": 10, **limits}
    return UsagePublisher(bus, service="metering", accept=AcceptWindow(), **bounds)


async def test_what_cannot_be_published_is_not_acknowledged(
    through_topic: TopicMetering, monkeypatch: pytest.MonkeyPatch
) -> None:
    await through_topic.define()
    with monkeypatch.context() as broken:
        broken.setattr(through_topic.usage_bus, "publish", BrokenBus().publish)
        answer = await through_topic.client.post("/v1/usage-events", json=[flight("a", AT, 5)])
    assert (answer.status_code, answer.json()["code"]) == (503, "bus_unavailable")
    assert "retry-after" in answer.headers
    assert statuses(await through_topic.send(flight("a", AT, 5))) == ["accepted"]
    await through_topic.store_all()
    assert await through_topic.usage(subject="N1") == [("5", 1)]


async def test_a_full_queue_says_so_and_requests_that_wait_share_a_publication() -> None:
    tenant, bus = new_tenant(), BrokenBus(hangs=True)
    publisher = publisher_on(bus, queue_events_max=6)
    sending = [
        asyncio.create_task(publisher.submit(tenant, a_batch([an_event(tenant, f"{n}")]))) for n in range(6)
    ]
    await asyncio.sleep(0.05)
    with pytest.raises(IngestBusy):
        await publisher.submit(tenant, a_batch([an_event(tenant, "one too many")]))
    assert bus.hangs is not None
    bus.hangs.set()
    assert [results[0].status for results in await asyncio.gather(*sending)] == ["accepted"] * 6
    assert publisher.waiting_events == 0
    assert len(bus.published) == 6
    await publisher.close()


async def test_a_sender_who_leaves_does_not_take_his_events_along() -> None:
    tenant, bus = new_tenant(), BrokenBus(hangs=True)
    publisher = publisher_on(bus)
    sending = asyncio.create_task(publisher.submit(tenant, a_batch([an_event(tenant, str(new_uuid7()))])))
    await asyncio.sleep(0.01)
    sending.cancel()
    assert bus.hangs is not None
    bus.hangs.set()
    await publisher.close()
    assert (len(bus.published), publisher.waiting_events) == (1, 0)
