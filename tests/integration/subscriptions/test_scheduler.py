"""What falls due: found for all tenants, renewed in batches, once; what fails alone does not hold up the others."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from libs.common.contracts.subscriptions import TestClockMovedV1
from libs.common.periods import MICROSECOND
from libs.common.telemetry.spans import use_tracer
from services.subscriptions.adapters import rows
from services.subscriptions.application import renew_subscription as renewing
from services.subscriptions.entrypoints import scheduler
from tests.integration.subscriptions.story import Story, a_binding_of, instant, key, usage_item
from tests.support.clocks import FixedClock
from tests.support.service_under_test import ServiceUnderTest, new_tenant
from tests.support.subscriptions import utc

pytestmark = pytest.mark.usefixtures("nothing_else_due")


@pytest.fixture
async def nothing_else_due(subscriptions: ServiceUnderTest) -> None:
    """The scheduler sees all tenants: other tests' subscriptions live by a clock that nobody moves."""
    story = Story(subscriptions, new_tenant(), FixedClock())
    await story.as_admin("UPDATE subscription SET clock_id = 'clk_of_nobody' WHERE due_at IS NOT NULL")


def at(story: Story, text: str) -> None:
    assert isinstance(story.clock, FixedClock)
    story.clock.now = utc(text)


async def hear_of_clock(story: Story, id: str, now: str, version: int = 1) -> None:
    await story.hear(
        TestClockMovedV1(
            tenant=story.tenant, occurred_at=instant(now), clock_id=id, now=instant(now), version=version
        )
    )


async def shown(client: Any, subscription: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/v1/subscriptions/{subscription['id']}")).json()
    return found


async def test_it_renews_once_however_many_look(story: Story) -> None:
    async with story.client() as client:
        made = [await story.subscription(client) for _ in range(10)]
        at(story, "2025-02-28T05:00")
        counts = await asyncio.gather(*(story.job().run_once() for _ in range(4)))
        assert sum(counts) == 10
        assert await story.job().run_once() == 0
        assert (await shown(client, made[0]))["current_period"]["index"] == 1
    assert Counter(await story.types(*[one["id"] for one in made])) == {
        "subscription.started": 10,
        "subscription.renewed": 10,
    }
    assert len(await story.rows(rows.billing_period)) == 20


async def test_it_is_not_due_a_moment_earlier(story: Story) -> None:
    async with story.client() as client:
        await story.subscription(client)
    assert isinstance(story.clock, FixedClock)
    story.clock.now = utc("2025-02-28T05:00") - MICROSECOND
    assert await story.job().run_once() == 0


async def test_behind_by_two_periods_it_renews_twice(story: Story) -> None:
    async with story.client() as client:
        made = await story.subscription(client)
        at(story, "2025-03-31T04:00")
        assert [await story.job().run_once() for _ in range(3)] == [1, 1, 0]
        assert (await shown(client, made))["current_period"]["index"] == 2
    events = await story.events(made["id"])
    assert [row.aggregate_version for row in events] == [1, 2, 3]
    told = [json.loads(bytes(row.data)) for row in events[1:]]
    assert [(one["ended"]["index"], one["period"]["index"]) for one in told] == [(0, 1), (1, 2)]
    assert told[0]["period"]["end"] == told[1]["period"]["start"]


async def test_it_begins_and_ends_by_its_test_clock(story: Story) -> None:
    at(story, "2020-01-01")  # the wall does not matter
    async with story.client() as client:
        clock = await story.test_clock(client, "2025-01-01T00:00:00Z")
        made = await story.subscription(client, test_clock_id=clock["id"], ends_on="2025-02-10")
        [bound] = await story.bind(client, a_binding_of(usage_item(made)))
        assert made["status"] == "scheduled"
        assert await story.job().run_once() == 0  # the clock has not been heard of yet
        await hear_of_clock(story, clock["id"], "2025-01-31T05:00:00+00:00")
        assert await story.job().run_once() == 1
        assert (await shown(client, made))["status"] == "active"
        await hear_of_clock(story, clock["id"], "2025-02-10T04:59:59+00:00", 2)
        assert await story.job().run_once() == 0
        await hear_of_clock(story, clock["id"], "2025-02-10T05:00:00+00:00", 3)
        assert await story.job().run_once() == 1
        over = await shown(client, made)
        assert (over["status"], over["end_reason"], over["ended_at"]) == (
            "ended",
            "term_end",
            "2025-02-10T05:00:00Z",
        )
        assert (over["current_period"], over["next_renewal_at"]) == (None, None)
        binding = (await client.get(f"/v1/subject-bindings/{bound['binding_id']}")).json()
        assert binding["bound_until"] == over["ended_at"]
    ids = (made["id"], bound["binding_id"])
    assert await story.types(*ids) == [
        "subscription.scheduled",
        "subject.bound",
        "subscription.started",
        "subject.released",
        "subscription.ended",
    ]
    events = await story.events(*ids)
    assert {row.test_clock for row in events} == {clock["id"]}
    assert [row.occurred_at for row in events] == [
        utc("2025-01-01"),
        utc("2025-01-01"),
        utc("2025-01-31T05:00"),
        utc("2025-02-10T05:00"),
        utc("2025-02-10T05:00"),
    ]


async def test_one_that_cannot_be_renewed_leaves_the_head_of_the_queue(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with story.client() as client:
        made = [await story.subscription(client) for _ in range(7)]
        guilty = made[3]
        renew = renewing.renew_subscription

        async def fail_for_one(command: renewing.RenewSubscription, **given: Any) -> Any:
            if command.subscription_id == guilty["id"]:
                raise ValueError("cannot be renewed")
            return await renew(command, **given)

        monkeypatch.setattr(scheduler, "renew_subscription", fail_for_one)
        at(story, "2025-02-28T05:00")
        await story.job().run_once()
        states = [(await shown(client, one))["current_period"]["index"] for one in made]
        assert states == [1, 1, 1, 0, 1, 1, 1]
        assert await story.job().run_once() == 0  # it rests
        [row] = [row for row in await story.rows(rows.subscription) if row["id"] == guilty["id"]]
        assert (row["attempts"], row["last_error"]) == (1, "ValueError: cannot be renewed")
        assert row["retry_at"] > story.clock.system_now()

        monkeypatch.undo()
        assert isinstance(story.clock, FixedClock)
        story.clock.advance(timedelta(seconds=10))
        assert await story.job().run_once() == 1
        [row] = [row for row in await story.rows(rows.subscription) if row["id"] == guilty["id"]]
        assert (row["period_index"], row["attempts"], row["retry_at"], row["last_error"]) == (
            1,
            0,
            None,
            None,
        )


async def test_the_key_of_periods_makes_a_second_renewal_impossible(story: Story) -> None:
    async with story.client() as client:
        made = await story.subscription(client)

    async def begin_again() -> None:
        async with story.service.parts.worker_units.open(story.tenant, "test") as uow:
            subscription = await uow.subscriptions.get_for_update(made["id"])
            uow.subscriptions.begin_period(subscription, subscription.period)

    with pytest.raises(Exception, match="pk_billing_period"):
        await begin_again()


async def test_tenants_are_renewed_in_one_go_each_with_its_own(story: Story) -> None:
    other = Story(story.service, new_tenant(), story.clock)
    await other.hear_of_plan()
    async with story.client() as mine, other.client() as theirs:
        one, two = await story.subscription(mine), await other.subscription(theirs)
        at(story, "2025-02-28T05:00")
        assert await story.job().run_once() == 2
    assert (await story.types(one["id"]))[-1] == (await other.types(two["id"]))[-1] == "subscription.renewed"
    assert await story.events(two["id"]) == []
    for told, id in ((story, one["id"]), (other, two["id"])):
        [log] = [
            row
            for row in await told.rows(rows.shared.change_log)
            if (row["aggregate_id"], row["action"]) == (id, "subscription.renewed")
        ]
        assert log["actor"] == "schedule:renew_subscriptions"


async def test_each_renewal_is_a_trace_of_its_own_linked_to_the_tick(story: Story) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with story.client() as client:
        made = [await story.subscription(client) for _ in range(2)]
    at(story, "2025-02-28T05:00")
    use_tracer(provider.get_tracer("test"))
    try:
        await story.job().run_once()
    finally:
        use_tracer(None)
    spans = exporter.get_finished_spans()
    [tick] = [span for span in spans if span.name == "tick renew_subscriptions"]
    renewals = [span for span in spans if span.name == "renew subscription"]
    traces = {f"{span.context.trace_id:032x}" for span in renewals if span.context}
    assert len(traces) == 2
    assert all(span.parent is None for span in renewals)
    linked = [[link.context.span_id for link in span.links] for span in renewals]
    assert tick.context is not None
    assert linked == [[tick.context.span_id]] * 2
    events = await story.events(*[one["id"] for one in made])
    stored = {row.traceparent.split("-")[1] for row in events if row.type.endswith("renewed.v1")}
    assert stored == traces


async def test_a_canceled_one_ends_at_its_instant(story: Story) -> None:
    async with story.client() as client:
        made = await story.subscription(client)
        path = f"/v1/subscriptions/{made['id']}/cancellation"
        canceled = await client.post(path, json={"at_period_end": False}, headers=key())
        assert canceled.status_code == 200
        ends_at = canceled.json()["ends_at"]
        assert isinstance(story.clock, FixedClock)
        story.clock.now = instant(ends_at)
        while await story.job().run_once():
            pass
        over = await shown(client, made)
        assert (over["status"], over["ended_at"], over["end_reason"]) == ("ended", ends_at, "canceled")


async def test_the_audit_finds_nothing_wrong_and_tells_every_boundary(story: Story) -> None:
    async with story.client() as client:
        clock = await story.test_clock(client, "2025-02-28T05:00:00Z")
        made = await story.subscription(client, test_clock_id=clock["id"], ends_on="2025-02-28")
        await hear_of_clock(story, clock["id"], clock["now"])
        await story.job().run_once()
        renewed = await story.subscription(client, test_clock_id=clock["id"])
        await story.job().run_once()
    async with story.service.client(None, "operate") as operator:
        report = (await operator.get("/v1/subscriptions-operations/audit")).json()
        told = [
            thing
            for bucket, _, _ in report["facts"]["boundaries"]["buckets"]
            for thing in (
                await operator.get("/v1/subscriptions-operations/audit/boundaries", params={"bucket": bucket})
            ).json()["data"]
        ]
    failing = {check["name"]: check["problems"] for check in report["checks"] if not check["ok"]}
    assert failing.keys() <= {"outbox_stale"}, failing  # nobody publishes here
    assert len(told) == report["facts"]["boundaries"]["count"]
    assert sorted(thing for thing in told if thing.split()[0] in (made["id"], renewed["id"])) == sorted(
        f"{id} {instant}T05:00:00.000000Z"
        for id in (made["id"], renewed["id"])
        for instant in ("2025-01-31", "2025-02-28")
    )


@pytest.mark.parametrize(
    ("check", "damage"),
    [
        ("periods_tile", "UPDATE billing_period SET start_at = start_at + interval '1 s' WHERE index = 1"),
        (
            "first_period_starts_at_the_start",
            "UPDATE subscription SET starts_at = starts_at - interval '1 s'",
        ),
        (
            "last_period_is_the_current_or_holds_the_end",
            "UPDATE subscription SET period_index = 2, period_end = period_end + interval '1 day'",
        ),
        (
            "nothing_is_overdue",
            "UPDATE test_clock SET now = '2025-04-30'",
        ),
        (
            "dunning_is_what_the_invoices_say",
            "UPDATE subscription SET dunning = 'past_due', state = 'past_due'",
        ),
        ("state_is_what_its_facts_make_it", "UPDATE subscription SET state = 'paused'"),
        (
            "segments_of_an_item_do_not_overlap",
            """INSERT INTO item_segment SELECT (jsonb_populate_record(segment, '{"ordinal": 99}')).*
               FROM item_segment AS segment WHERE kind = 'usage' AND tenant = :tenant""",
        ),
        ("waiting_changes_are_counted", "UPDATE subscription SET boundary_changes = 1"),
        ("bindings_fit_their_item", "UPDATE subject_binding SET meter = 'landings'"),
    ],
)
async def test_the_audit_finds_what_is_wrong(story: Story, check: str, damage: str) -> None:
    async with story.client() as client:
        clock = await story.test_clock(client, "2025-02-28T05:00:00Z")
        made = await story.subscription(client, test_clock_id=clock["id"])
        await story.bind(client, a_binding_of(usage_item(made)))
        await hear_of_clock(story, clock["id"], clock["now"])
        await story.job().run_once()
    where = "AND" if "WHERE" in damage else "WHERE"
    await story.as_admin(f"{damage} {where} tenant = :tenant", tenant=story.tenant)
    try:
        async with story.service.client(None, "operate") as operator:
            report = (await operator.get("/v1/subscriptions-operations/audit")).json()
        [found] = [each for each in report["checks"] if each["name"] == check]
        assert not found["ok"]
        assert any(made["id"] in problem or "bnd_" in problem for problem in found["problems"])
    finally:
        await story.as_admin(
            "UPDATE subscription SET state = 'canceled', period_index = NULL, ended_at = now(), due_at = NULL "
            "WHERE tenant = :tenant",
            tenant=story.tenant,
        )
        await story.as_admin("DELETE FROM billing_period WHERE tenant = :tenant", tenant=story.tenant)
        await story.as_admin("DELETE FROM subject_binding WHERE tenant = :tenant", tenant=story.tenant)
        await story.as_admin("DELETE FROM item_segment WHERE tenant = :tenant", tenant=story.tenant)
        await story.as_admin("DELETE FROM revenue_movement WHERE tenant = :tenant", tenant=story.tenant)
