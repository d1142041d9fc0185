"""What a correction says: the original period, the events, the difference, and whether it is still to be billed."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest

from libs.common.contracts.catalog import LateUsagePolicy, LateUsageV1
from libs.common.contracts.metering import UsageCorrectedV1
from libs.common.contracts.subscriptions import BillingPeriodV1
from libs.common.periods import Period
from tests.integration.metering.harness import SOURCE, Metering, Story, client_of, flight, utc

PATH = "/v1/usage-window-corrections"


async def closed_with(metering: Metering, story: Story, *events: dict[str, Any]) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound(), story.renewed(1))
    await metering.send(*events)
    await metering.tick()


async def void(metering: Metering, *ids: str) -> None:
    voids = [{"source": SOURCE, "id": id, "reason": "never flown"} for id in ids]
    answer = await metering.client.post("/v1/usage-events/voids", json={"voids": voids})
    assert (answer.status_code, answer.json().get("voided")) == (200, len(ids)), answer.text


async def amend(metering: Metering, *events: dict[str, Any]) -> None:
    amendments = [{"event": event, "reason": "misread"} for event in events]
    answer = await metering.client.post("/v1/usage-events/amendments", json={"amendments": amendments})
    assert (answer.status_code, answer.json().get("amended")) == (200, len(events)), answer.text


async def said(metering: Metering) -> list[dict[str, Any]]:
    """All corrections by now, with what goes without saying."""
    await metering.tick()
    told = await metering.said(UsageCorrectedV1)
    return [UsageCorrectedV1.model_validate(each).model_dump(mode="json") for each in told]


def events_of(correction: dict[str, Any]) -> list[tuple[str, str]]:
    assert all(event["source"] == SOURCE for event in correction["events"])
    return [(event["event_id"], event["cause"]) for event in correction["events"]]


def difference(correction: dict[str, Any]) -> list[tuple[str, int]]:
    return [(found["quantity"], found["event_count"]) for found in correction["differences"]]


async def test_a_correction_names_the_events_of_its_own_window_and_no_neighbours(
    metering: Metering, story: Story
) -> None:
    """Of events in one bucket, those on the other side of the window's end changed another period."""
    other = Story(metering.tenant)
    cut = utc("2025-01-20T10:07:00")
    await metering.define()
    await metering.hear(story.started(), story.bound(end="2025-01-20T10:07:00"), story.ended(0, cut))
    await metering.hear(other.started(), other.bound(start="2025-01-20T10:07:00"), other.renewed(1))
    await metering.tick()
    await metering.send(
        flight("after", "2025-01-20T10:07:00Z", 40),
        flight("before", "2025-01-20T10:06:59.999999Z", 5),
        flight("elsewhere", "2025-01-20T10:06:00Z", 100, subject="N9"),
        flight("first", "2025-01-02T00:00:00Z", 2),
    )
    found = {correction["subscription_id"]: correction for correction in await said(metering)}
    mine, others = found[story.subscription_id], found[other.subscription_id]
    assert events_of(mine) == [("first", "late"), ("before", "late")]
    assert (difference(mine), mine["changed_event_count"]) == ([("7", 2)], 2)
    assert (mine["period_index"], mine["window_end"]) == (0, "2025-01-20T10:07:00Z")
    assert (events_of(others), difference(others)) == ([("after", "late")], [("40", 1)])


async def test_what_is_late_voided_and_amended_is_told_with_its_cause(
    metering: Metering, story: Story
) -> None:
    first, second = flight("a", "2025-01-05T00:00:00Z", 10), flight("b", "2025-01-06T00:00:00Z", 20)
    await closed_with(metering, story, first, second)
    await metering.send(flight("c", "2025-01-07T00:00:00Z", 3))
    [late] = await said(metering)
    await void(metering, "a")
    [_, voided] = await said(metering)
    await amend(metering, {**second, "data": {"minutes": 21}})
    [_, _, amended] = await said(metering)
    assert [events_of(told) for told in (late, voided, amended)] == [
        [("c", "late")],
        [("a", "voided")],
        [("b", "amended")],
    ]
    assert [difference(told) for told in (late, voided, amended)] == [[("3", 1)], [("-10", -1)], [("1", 0)]]
    assert [told["revision"] for told in (late, voided, amended)] == [1, 2, 3]


async def test_an_event_that_is_amended_into_another_period_corrects_both(
    metering: Metering, story: Story
) -> None:
    moved = flight("a", "2025-01-05T00:00:00Z", 10)
    await closed_with(metering, story, moved)
    await metering.hear(story.renewed(2))
    await metering.tick()
    await amend(metering, {**moved, "time": "2025-02-05T00:00:00Z"})
    told = {c["period_index"]: (difference(c), events_of(c)) for c in await said(metering)}
    assert told == {0: ([("-10", -1)], [("a", "amended")]), 1: ([("10", 1)], [("a", "amended")])}


async def test_what_comes_back_says_the_difference_each_time_and_is_listed_in_order(
    metering: Metering, story: Story
) -> None:
    await closed_with(metering, story, flight("a", "2025-01-05T00:00:00Z", 10))
    await void(metering, "a")
    await metering.tick()
    await amend(metering, flight("a", "2025-01-05T00:00:00Z", 10))
    await metering.tick()
    await void(metering, "a")
    corrections = await said(metering)
    assert [(c["revision"], difference(c)) for c in corrections] == [
        (1, [("-10", -1)]),
        (2, [("10", 1)]),
        (3, [("-10", -1)]),
    ]
    [window] = (await metering.get("/v1/usage-windows", state="closed"))["data"]
    listed = await metering.get(f"/v1/usage-windows/{window['id']}/corrections", limit=2)
    rest = await metering.get(f"/v1/usage-windows/{window['id']}/corrections", cursor=listed["next_cursor"])
    shown = [*listed["data"], *rest["data"]]
    assert [(c["revision"], c["events"]) for c in shown] == [
        (1, [{"source": SOURCE, "id": "a", "cause": "voided"}]),
        (2, [{"source": SOURCE, "id": "a", "cause": "amended"}]),
        (3, [{"source": SOURCE, "id": "a", "cause": "voided"}]),
    ]
    assert [c["before"] for c in shown[1:]] == [c["totals"] for c in shown[:-1]]
    assert (shown[-1]["customer_id"], shown[-1]["window_id"]) == (story.customer_id, window["id"])


async def test_what_came_and_was_taken_back_before_anybody_counted_is_no_correction(
    metering: Metering, story: Story
) -> None:
    await closed_with(metering, story, flight("a", "2025-01-05T00:00:00Z", 10))
    await metering.send(flight("b", "2025-01-06T00:00:00Z", 1), flight("c", "2025-01-07T00:00:00Z", 2))
    await void(metering, "b", "c")
    assert await said(metering) == []
    assert await metering.count("late_usage") == 0
    await metering.send(flight("d", "2025-01-08T00:00:00Z", 5))
    await void(metering, "a")
    [correction] = await said(metering)
    assert (difference(correction), events_of(correction)) == ([("-5", 0)], [("a", "voided"), ("d", "late")])
    # Of one event, what was done with it last.
    await void(metering, "d")
    await amend(metering, flight("d", "2025-01-08T00:00:00Z", 6))
    [_, correction] = await said(metering)
    assert (difference(correction), events_of(correction)) == ([("1", 0)], [("d", "amended")])


async def test_the_first_hundred_events_are_named_and_all_are_counted(
    metering: Metering, story: Story
) -> None:
    await closed_with(metering, story)
    late = [flight(str(n), f"2025-01-05T{n // 60:02}:{n % 60:02}:00Z", 1) for n in range(130)]
    await metering.send(*late[60:])
    await metering.send(*late[:60])
    [correction] = await said(metering)
    assert events_of(correction) == [(str(n), "late") for n in range(100)]
    assert (correction["changed_event_count"], difference(correction)) == (130, [("130", 130)])


async def test_every_event_is_named_however_many_notes_there_are(metering: Metering, story: Story) -> None:
    """More notes than are claimed at a time are answered by one correction, which names all of them."""
    await closed_with(metering, story)
    await metering.send(flight("a", "2025-01-05T00:00:00Z", 1))
    async with metering.admin() as admin:
        await admin.execute(
            """INSERT INTO late_usage (id, tenant, window_id, due_at, cause, event_keys)
               SELECT 'late_' || n, tenant, window_id, due_at - interval '1 day', NULL, NULL
               FROM late_usage, generate_series(1, 600) n WHERE tenant = $1""",
            metering.tenant,
        )
    [correction] = await said(metering)
    assert events_of(correction) == [("a", "late")]
    assert await metering.count("late_usage") == 0


async def test_corrections_without_events_name_none(metering: Metering, story: Story) -> None:
    await metering.define()
    await metering.send(flight("a", "2025-01-20T00:00:00Z", 2))
    await metering.hear(story.started(), story.renewed(1))
    await metering.tick()
    await metering.hear(story.bound())
    [correction] = await said(metering)
    assert (events_of(correction), correction["changed_event_count"]) == ([], 0)
    assert difference(correction) == [("2", 1)]


async def test_a_change_of_a_level_corrects_every_later_window_and_is_named_there(
    metering: Metering, story: Story
) -> None:
    await metering.define(aggregation="time_weighted", level="change", per="window")
    await metering.hear(story.started(), story.bound(), story.renewed(1), story.renewed(2))
    await metering.tick()
    await metering.send(flight("up", "2025-01-16T12:00:00Z", 4))
    told = {c["period_index"]: (difference(c)[0][0], events_of(c)) for c in await said(metering)}
    assert told == {0: ("2", [("up", "late")]), 1: ("4", [("up", "late")])}


class Case(NamedTuple):
    name: str
    days: int | None
    now: str
    is_billable: bool
    policy: LateUsagePolicy = "next_invoice"


# The period of March ends on the 31st at 22:00 UTC, in Amsterdam's 1 April; clocks went forward on 30 March.
CASES = [
    Case("no_end", None, "2026-03-31T22:00", True),
    Case("the_day_itself", 0, "2025-04-01T21:59:59", True, "note_at_once"),
    Case("the_day_after", 0, "2025-04-01T22:00", False, "note_at_once"),
    Case("one_day", 1, "2025-04-02T21:59", True, "draft_only"),
    Case("one_day_over", 1, "2025-04-02T22:00", False, "draft_only"),
    Case("35_days", 35, "2025-05-06T21:59:59", True),
    Case("35_days_over", 35, "2025-05-06T22:00", False),
]


class DutchStory(Story):
    """Months of Amsterdam."""

    def period(self, index: int, end: Any = None) -> BillingPeriodV1:
        utc_period = super().period(index)
        local = Period.between(utc_period.start_on, utc_period.end_on, "Europe/Amsterdam")
        return utc_period.model_copy(update={"start": local.start, "end": end or local.end})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_late_usage_is_billed_for_so_many_days_by_the_clock_of_the_subscription(
    metering: Metering, case: Case
) -> None:
    story = DutchStory(metering.tenant, clock=f"clk_{case.name}_{metering.tenant}")
    story.zone, story.late_usage = "Europe/Amsterdam", LateUsageV1(policy=case.policy, window_days=case.days)
    await metering.define()
    await metering.hear(story.clock_moved("2025-04-01T00:00", 1), story.started(), story.bound())
    await metering.hear(*(story.renewed(index) for index in (1, 2, 3)))
    await metering.tick()
    await metering.send(
        flight("in time", "2025-03-31T21:59:59Z", 1), flight("in april", "2025-03-31T22:00:00Z", 2)
    )
    [first] = await said(metering)
    assert (first["policy"], first["is_billable"], difference(first)) == (case.policy, True, [("1", 1)])
    assert first["window_end"] == "2025-03-31T22:00:00Z"
    await metering.hear(story.clock_moved(case.now, 2))
    await metering.tick()
    await void(metering, "in time")
    second = (await said(metering))[-1]
    assert (second["policy"], second["is_billable"]) == (case.policy, case.is_billable)
    assert (difference(second), events_of(second)) == ([("-1", -1)], [("in time", "voided")])
    told = await metering.get(PATH, subscription_id=story.subscription_id, is_billable=case.is_billable)
    assert second["revision"] in [correction["revision"] for correction in told["data"]]
    assert len((await metering.get(PATH, is_billable=False))["data"]) == (0 if case.is_billable else 1)


async def test_the_terms_are_those_of_the_newest_version_of_the_agreement(
    metering: Metering, story: Story
) -> None:
    story.late_usage = LateUsageV1(policy="draft_only", window_days=0)
    started = story.started()
    story.late_usage = LateUsageV1(policy="note_at_once")
    await metering.define()
    await metering.hear(story.bound(), story.renewed(1), started)
    await metering.tick()
    await metering.send(flight("late", "2025-01-05T00:00:00Z", 1))
    [correction] = await said(metering)
    assert (correction["policy"], correction["is_billable"]) == ("note_at_once", True)


async def test_a_customer_sees_the_corrections_of_his_own_windows(metering: Metering) -> None:
    mine, other = Story(metering.tenant), Story(metering.tenant)
    await metering.define()
    for story, subject in ((mine, "N1"), (other, "N2")):
        await metering.hear(story.started(), story.bound(subject), story.renewed(1))
    await metering.tick()
    await metering.send(
        flight("1", "2025-01-05T00:00:00Z"), flight("2", "2025-01-05T00:00:00Z", subject="N2")
    )
    corrections = {c["subscription_id"]: c for c in await said(metering)}
    async with client_of(metering, "usage:read", customer=mine.customer_id) as portal:
        shown = (await portal.get(PATH)).json()["data"]
        assert [c["subscription_id"] for c in shown] == [mine.subscription_id]
        assert (await portal.get(PATH, params={"customer_id": other.customer_id})).json()["data"] == []
        theirs = corrections[other.subscription_id]["window_id"]
        assert (await portal.get(f"/v1/usage-windows/{theirs}/corrections")).status_code == 404


async def test_a_window_says_what_it_waits_for(metering: Metering, story: Story) -> None:
    await metering.define()
    metering.bus.ends, metering.bus.handled = {0: 3}, {0: 2}
    story.clock = f"clk_waits_{metering.tenant}"
    await metering.hear(story.clock_moved("2025-02-01T00:30:00", 1), story.started(), story.bound())

    async def waits_for() -> list[str]:
        await metering.tick()
        [window, *_] = (await metering.get("/v1/usage-windows"))["data"]
        found: list[str] = (await metering.get(f"/v1/usage-windows/{window['id']}"))["waits_for"]
        return found

    assert await waits_for() == []
    await metering.hear(story.renewed(1))
    assert await waits_for() == ["grace"]
    await metering.hear(story.clock_moved("2025-02-01T01:00:00", 2))
    assert await waits_for() == ["bindings"]
    async with metering.admin() as admin:
        await admin.execute("UPDATE meter SET filled_at = NULL WHERE tenant = $1", metering.tenant)
    metering.bus.handled = {0: 3}
    assert await waits_for() == ["back_fill"]
    async with metering.admin() as admin:
        await admin.execute("UPDATE meter SET filled_at = now() WHERE tenant = $1", metering.tenant)
    assert await waits_for() == []


async def test_two_workers_name_every_event_once(metering: Metering, story: Story) -> None:
    """Whichever of them counts, the corrections together name each event, and come to what is stored."""
    await closed_with(metering, story)
    for n in range(12):
        await metering.send(flight(str(n), f"2025-01-{n + 1:02}T00:00:00Z", 1))
    correct = metering.jobs[0]
    await asyncio.gather(*(correct.run_once() for _ in range(3)))
    corrections = await said(metering)
    named = sorted(name for correction in corrections for name, _ in events_of(correction))
    assert named == sorted(str(n) for n in range(12))
    assert sum(int(difference(correction)[0][0]) for correction in corrections) == 12
