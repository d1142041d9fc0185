"""Usage windows from the first period to the last: opened, due, closed once, and corrected when more comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from libs.common.clock import SystemClock
from libs.common.contracts.metering import UsageCorrectedV1, UsageWindowClosedV1
from services.metering.entrypoints.scheduler import jobs
from tests.integration.metering.harness import BusAsKnown, Metering, Story, flight, utc


def totals(event: dict[str, Any], name: str = "totals") -> list[tuple[str, str, int]]:
    return [(t["item_id"], t["quantity"], t["event_count"]) for t in event[name]]


async def only_window(metering: Metering, **wanted: str) -> dict[str, Any]:
    [window] = (await metering.get("/v1/usage-windows", **wanted))["data"]
    return dict(window)


async def test_a_period_is_opened_ended_and_closed_with_its_usage(metering: Metering, story: Story) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound())
    assert (await only_window(metering))["state"] == "open"
    await metering.send(
        flight("before", "2024-12-31T23:59:59.999999Z", 1),
        flight("first", "2025-01-01T00:00:00Z", 10),
        flight("last", "2025-01-31T23:59:59.999999Z", 20),
        flight("after", "2025-02-01T00:00:00Z", 100),
        flight("other", "2025-01-10T00:00:00Z", 1000, subject="N2"),
    )
    await metering.tick()
    assert await metering.said(UsageWindowClosedV1) == []
    await metering.hear(story.renewed(1))
    await metering.tick()

    [closed] = await metering.said(UsageWindowClosedV1)
    assert totals(closed) == [(story.item_id, "30", 2)]
    assert (closed["period_index"], closed["window_end"]) == (0, "2025-02-01T00:00:00Z")
    assert closed["subscription_id"] == story.subscription_id
    window = await only_window(metering, state="closed")
    assert window["totals"] == [
        {
            "item_id": story.item_id,
            "meter": "minutes",
            "quantity": "30",
            "event_count": 2,
            "price_id": None,
            "estimated_quantity": "0",
            "true_ups": [],
        }
    ]
    assert (await only_window(metering, state="open"))["period_index"] == 1


async def test_a_window_without_usage_or_binding_or_meter_says_zero(metering: Metering, story: Story) -> None:
    await metering.hear(story.started(), story.renewed(1))
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    assert totals(closed) == [(story.item_id, "0", 0)]


async def test_a_meter_defined_after_the_window_closed_corrects_it(metering: Metering, story: Story) -> None:
    await metering.send(flight("a", "2025-01-02T00:00:00Z", 5))
    await metering.hear(story.started(), story.bound(), story.renewed(1))
    await metering.tick()
    await metering.define()
    await metering.tick()
    [corrected] = await metering.said(UsageCorrectedV1)
    assert (totals(corrected, "before"), totals(corrected)) == (
        [(story.item_id, "0", 0)],
        [(story.item_id, "5", 1)],
    )


async def test_an_ended_subscription_closes_its_cut_window(metering: Metering, story: Story) -> None:
    await metering.define()
    await metering.send(flight("in", "2025-01-09T23:00:00Z", 1), flight("out", "2025-01-10T00:00:00Z", 2))
    await metering.hear(story.started(), story.bound(), story.ended(0, utc("2025-01-10")))
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    assert (closed["window_end"], totals(closed)) == ("2025-01-10T00:00:00Z", [(story.item_id, "1", 1)])
    assert (await only_window(metering))["state"] == "closed"


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2)])
async def test_the_order_in_which_events_are_heard_does_not_matter(
    metering: Metering, story: Story, order: tuple[int, ...]
) -> None:
    await metering.define()
    await metering.send(flight("a", "2025-01-05T00:00:00Z", 1), flight("b", "2025-02-05T00:00:00Z", 2))
    events = [story.started(), story.renewed(1), story.bound(), story.ended(1)]
    for place in order:
        await metering.hear(events[place])
        await metering.tick()
    await metering.tick()
    windows = (await metering.get("/v1/usage-windows"))["data"]
    told = {w["period_index"]: (w["state"], [t["quantity"] for t in w["totals"]]) for w in windows}
    assert told == {0: ("closed", ["1"]), 1: ("closed", ["2"])}
    assert len(await metering.said(UsageWindowClosedV1)) == 2


async def test_the_same_message_twice_changes_nothing(metering: Metering, story: Story) -> None:
    events = [story.started(), story.bound(), story.renewed(1)]
    deliveries = [metering.delivery(event, f"{event.TYPE}-{story.subscription_id}") for event in events]
    await metering.consumer.apply(deliveries)
    await metering.tick()
    await metering.consumer.apply(deliveries)
    await metering.hear(*events)  # under other message ids: handlers alone must hold
    await metering.tick()
    assert len(await metering.said(UsageWindowClosedV1)) == 1
    assert await metering.count("usage_window") == 2


async def test_usage_counts_where_the_subject_was_bound_at_that_time(metering: Metering) -> None:
    """A subject moves from one item to another; the binding may be heard after the events that it explains."""
    await metering.define()
    await metering.send(*(flight(str(day), f"2025-01-{day:02}T12:07:00Z", 1) for day in range(1, 31)))
    one, two = Story(metering.tenant), Story(metering.tenant)
    first = one.bound("N1", "2025-01-01")
    await metering.hear(one.started(), two.started(), first)
    await metering.hear(one.released(first, "2025-01-10T12:07:00"), two.bound("N1", "2025-01-10T12:07:00"))
    await metering.hear(one.renewed(1), two.renewed(1))
    await metering.tick()
    told = {t[0]: t[1] for event in await metering.said(UsageWindowClosedV1) for t in totals(event)}
    assert told == {one.item_id: "9", two.item_id: "21"}


async def test_an_older_version_of_a_binding_that_comes_late_is_ignored(
    metering: Metering, story: Story
) -> None:
    await metering.define()
    await metering.send(flight("a", "2025-01-20T00:00:00Z", 1))
    bound = story.bound()
    await metering.hear(story.released(bound, "2025-01-10"), bound, story.started(), story.renewed(1))
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    assert totals(closed) == [(story.item_id, "0", 0)]


async def test_a_window_waits_for_the_bindings_that_were_said_before_it_was_due(
    metering: Metering, story: Story
) -> None:
    await metering.define()
    await metering.send(flight("a", "2025-01-05T00:00:00Z", 7))
    metering.bus.ends = {0: 10, 1: 5}
    metering.bus.handled = {0: 10, 1: 4}
    await metering.hear(story.started(), story.renewed(1))
    await metering.tick()
    assert (await only_window(metering, state="due"))["closed_at"] is None
    metering.bus.ends = {0: 99, 1: 99}  # what is said later is not waited for
    await metering.tick()
    assert await metering.said(UsageWindowClosedV1) == []
    await metering.hear(story.bound())
    metering.bus.handled = {0: 10, 1: 5}
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    assert totals(closed) == [(story.item_id, "7", 1)]
    assert await metering.said(UsageCorrectedV1) == []


async def test_waiting_for_the_bus_is_no_busy_loop(metering: Metering, story: Story) -> None:
    metering.bus.ends = {0: 1}
    await metering.hear(story.started(), story.renewed(1))
    await metering.tick()
    assert sum([await job.run_once() for job in metering.jobs]) == 0


async def test_a_late_event_corrects_its_window_once(metering: Metering, story: Story) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound(), story.renewed(1))
    await metering.send(flight("a", "2025-01-05T00:00:00Z", 1))
    await metering.tick()
    late = flight("late", "2025-01-06T00:00:00Z", 2)
    for _ in range(3):
        await metering.send(late)
        await metering.tick()
    await metering.send(
        flight("current", "2025-02-06T00:00:00Z", 4), flight("none", "2025-01-06T00:00:00Z", 9, "N9")
    )
    await metering.tick()
    [corrected] = await metering.said(UsageCorrectedV1)
    assert (corrected["revision"], totals(corrected, "before"), totals(corrected)) == (
        1,
        [(story.item_id, "1", 1)],
        [(story.item_id, "3", 2)],
    )
    assert len(await metering.said(UsageWindowClosedV1)) == 1
    assert (await only_window(metering, state="closed"))["revision"] == 1
    assert await metering.count("late_usage") == 0


async def test_a_late_binding_and_its_withdrawal_correct_the_window(metering: Metering, story: Story) -> None:
    await metering.define()
    await metering.send(flight("a", "2025-01-20T00:00:00Z", 2))
    await metering.hear(story.started(), story.renewed(1))
    await metering.tick()
    bound = story.bound()
    await metering.hear(bound)
    await metering.tick()
    await metering.hear(story.released(bound, "2025-01-10"))
    await metering.tick()
    said = [(c["revision"], totals(c)[0][1]) for c in await metering.said(UsageCorrectedV1)]
    assert said == [(1, "2"), (2, "0")]


async def test_late_usage_of_a_window_that_is_due_is_in_its_first_answer(
    metering: Metering, story: Story
) -> None:
    await metering.define()
    metering.bus.ends = {0: 1}
    await metering.hear(story.started(), story.bound(), story.renewed(1))
    await metering.tick()
    await metering.send(flight("a", "2025-01-20T00:00:00Z", 2))
    metering.bus.handled = {0: 1}
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    assert totals(closed) == [(story.item_id, "2", 1)]
    assert await metering.said(UsageCorrectedV1) == []


async def test_two_schedulers_close_a_window_once(metering: Metering) -> None:
    await metering.define()
    stories = [Story(metering.tenant) for _ in range(20)]
    for number, story in enumerate(stories):
        await metering.hear(story.started(), story.bound(f"N{number}"), story.renewed(1))
    await metering.send(*(flight(str(n), "2025-01-05T00:00:00Z", n, f"N{n}") for n in range(20)))
    bus = BusAsKnown()
    schedulers = [
        metering.jobs,
        jobs(metering.units, SystemClock(), bus),
        jobs(metering.units, SystemClock(), bus),
    ]

    async def work(scheduler: Any) -> None:
        for _ in range(6):
            for job in scheduler:
                await job.run_once()

    await asyncio.gather(*(work(scheduler) for scheduler in schedulers))
    closed = await metering.said(UsageWindowClosedV1)
    assert len(closed) == len({event["window_id"] for event in closed}) == 20
    assert sorted(int(totals(event)[0][1]) for event in closed) == list(range(20))


async def test_usage_that_streams_in_while_windows_close_is_never_lost(metering: Metering) -> None:
    """Whoever stores while a window closes is either in its totals or in a correction."""
    await metering.define()
    stories = [Story(metering.tenant) for _ in range(5)]
    for number, story in enumerate(stories):
        await metering.hear(story.started(), story.bound(f"N{number}"))

    async def stream(sender: int) -> None:
        for n in range(20):
            batch = [
                flight(f"{sender}-{n}-{s}", f"2025-01-{n + 1:02}T00:00:00Z", 1, f"N{s}") for s in range(5)
            ]
            await metering.send(*batch)

    async def schedule(done: asyncio.Event) -> None:
        while not done.is_set():
            for job in metering.jobs:
                await job.run_once()
            await asyncio.sleep(0)

    async def renew() -> None:
        for story in stories:
            await asyncio.sleep(0.02)
            await metering.hear(story.renewed(1))

    done = asyncio.Event()
    scheduler = asyncio.create_task(schedule(done))
    await asyncio.gather(renew(), *(stream(sender) for sender in range(4)))
    done.set()
    await scheduler
    await metering.tick()
    windows = (await metering.get("/v1/usage-windows", state="closed"))["data"]
    assert [w["totals"][0]["quantity"] for w in windows] == ["80"] * 5
    last = {e["window_id"]: totals(e)[0][1] for e in await metering.said(UsageWindowClosedV1)}
    last |= {e["window_id"]: totals(e)[0][1] for e in await metering.said(UsageCorrectedV1)}
    assert list(last.values()) == ["80"] * 5


async def test_a_test_clock_decides_when_its_window_is_due(metering: Metering) -> None:
    story = Story(metering.tenant, clock="clk_1" + metering.tenant)
    await metering.define()
    await metering.hear(story.clock_moved("2025-01-01T00:00:00", 1))
    await metering.hear(story.started(), story.bound(), story.renewed(1))
    await metering.tick()
    assert await metering.said(UsageWindowClosedV1) == []
    async with metering.service.client(metering.tenant, "clocks:read") as client:
        dues = (await client.get(f"/v1/metering-operations/clock-dues/{story.clock}")).json()
    assert dues["earliest_due_at"] == "2025-02-01T01:00:00Z"
    await metering.hear(story.clock_moved("2025-02-01T01:00:00", 2))
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    assert (closed["test_clock"], closed["occurred_at"]) == (story.clock, "2025-02-01T01:00:00Z")


async def test_late_usage_keeps_its_clock_busy_until_it_is_told(metering: Metering) -> None:
    story = Story(metering.tenant, clock="clk_2" + metering.tenant)
    await metering.define()
    await metering.hear(story.clock_moved("2025-02-01T01:00:00", 1))
    await metering.hear(story.started(), story.bound(), story.renewed(1))
    await metering.tick()
    await metering.send(flight("late", "2025-01-06T00:00:00Z", 2))
    async with metering.service.client(metering.tenant, "clocks:read") as client:
        dues = (await client.get(f"/v1/metering-operations/clock-dues/{story.clock}")).json()
    assert dues["busy"] == 1
    await metering.tick()
    [corrected] = await metering.said(UsageCorrectedV1)
    assert corrected["test_clock"] == story.clock


async def test_the_events_behind_a_total_are_listed_and_add_up(metering: Metering, story: Story) -> None:
    await metering.define(filter={"/kind": ["paid"]})
    events = [
        flight(
            f"{n}",
            f"2025-01-{n % 28 + 1:02}T00:00:00Z",
            subject=f"N{n % 3}",
            data={"minutes": n, "kind": "paid"},
        )
        for n in range(50)
    ]
    free = flight("free", "2025-01-05T00:00:00Z", data={"minutes": 1000, "kind": "free"})
    await metering.send(*events, free)
    await metering.hear(
        story.started(), story.bound("N0"), story.bound("N1", end="2025-01-10"), story.renewed(1)
    )
    await metering.tick()
    window = await only_window(metering, state="closed")
    listed: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await metering.get(f"/v1/usage-windows/{window['id']}/events", limit=7, **cursor)
        listed += page["data"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    expected = [
        e for e in events if e["subject"] == "N0" or (e["subject"] == "N1" and e["time"] < "2025-01-10")
    ]
    assert sorted(e["id"] for e in listed) == sorted(e["id"] for e in expected)
    assert [e["time"] for e in listed] == sorted(e["time"] for e in listed)
    assert sum(int(e["value"]) for e in listed) == int(window["totals"][0]["quantity"])


async def test_a_row_that_fails_waits_and_others_go_on(metering: Metering) -> None:
    await metering.define()
    good, bad = Story(metering.tenant), Story(metering.tenant)
    await metering.hear(good.started(), good.renewed(1), bad.started(), bad.renewed(1))
    async with metering.admin() as admin:
        await admin.execute(
            """UPDATE usage_window SET totals = '[{"broken": true}]' WHERE subscription_id = $1 AND period_index = 0""",
            bad.subscription_id,
        )
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    assert closed["subscription_id"] == good.subscription_id
    async with metering.admin() as admin:
        row = await admin.fetchrow(
            "SELECT attempts, last_error FROM usage_window WHERE subscription_id = $1 AND attempts > 0",
            bad.subscription_id,
        )
    assert row is not None
    assert "KeyError" in row["last_error"]
