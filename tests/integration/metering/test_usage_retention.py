"""Raw events go after their time; identities, sums and totals stay, and no figure is ever wrong for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest_asyncio

from libs.common.clock import SystemClock
from services.metering.adapters.usage_retention import drop_months, keep_from
from services.metering.bootstrap import build
from services.metering.entrypoints.scheduler import MonthsExpiry, UsageExpiry
from tests.integration.metering.harness import (
    Metering,
    Story,
    audited,
    codes,
    flight,
    statuses,
    utc,
)
from tests.support.postgres import PostgresForTests
from tests.support.service_under_test import new_tenant, service_under_test

AT_ONCE = timedelta(0)
WHOLE = {"subject": "N1"}


def days_ago(count: int, at: str = "10:00:00") -> str:
    return f"{(datetime.now(UTC) - timedelta(days=count)).date()}T{at}Z"


async def keep(metering: Metering, days: int | None, version: int = 0) -> dict[str, Any]:
    answer = await metering.client.put(
        "/v1/usage-retention", json={"raw_kept_days": days}, headers={"if-match": f'"{version}"'}
    )
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def forget(metering: Metering) -> None:
    """As if whoever began before it was known had ended."""
    async with metering.admin() as admin:
        await admin.execute("UPDATE usage_retention SET due_at = 'epoch' WHERE tenant = $1", metering.tenant)
    await UsageExpiry(metering.units, SystemClock(), rested=AT_ONCE).run_once()


async def test_a_tenant_keeps_raw_events_for_so_many_days(metering: Metering) -> None:
    await metering.define(group_by=["kind"])
    await metering.define("worked-out", value=None, value_expression='event("/minutes") * 2')
    old = [flight(f"old {n}", days_ago(20 + n), data={"minutes": n, "kind": "a"}) for n in range(5)]
    await metering.send(*old, flight("new", days_ago(1), data={"minutes": 100, "kind": "b"}))
    shown = await metering.get("/v1/usage-retention")
    assert shown == {"version": 0, "raw_kept_days": None, "kept_from": None}
    told = await keep(metering, 10)
    assert told == {"version": 1, "raw_kept_days": 10, "kept_from": days_ago(10, "00:00:00")}
    await forget(metering)
    assert (await metering.count("usage_event"), await metering.count("usage_measurement")) == (1, 1)
    assert await metering.count("usage_key") == 6
    assert await metering.usage(**WHOLE) == [("110", 6)]
    assert await metering.usage(meter="worked-out", **WHOLE) == [("220", 6)]
    # A repeat is a repeat for ever, another payload a conflict, and nothing new comes in.
    again = await metering.send(
        old[3], {**old[2], "data": {"minutes": 7, "kind": "a"}}, flight("x", days_ago(20))
    )
    assert statuses(again) == ["duplicate", "conflict", "rejected"]
    assert codes(again["results"][2]) == [("raw_events_gone", "/time")]
    assert await metering.usage(**WHOLE) == [("110", 6)]
    assert await audited(metering) == []


async def test_what_cuts_a_bucket_that_is_gone_is_refused(metering: Metering) -> None:
    await metering.define()
    await metering.send(flight("a", days_ago(20, "10:07:00"), 5), flight("b", days_ago(1, "10:07:00"), 7))
    await keep(metering, 10)
    await forget(metering)
    kept_from = days_ago(10, "00:00:00")
    wanted = {"meter": "minutes", **WHOLE}
    refused = await metering.get(
        "/v1/usage", 422, **{**wanted, "from": days_ago(20, "10:05:00"), "to": days_ago(1)}
    )
    assert (refused["code"], kept_from in refused["detail"]) == ("raw_events_gone", True)
    refused = await metering.get(
        "/v1/usage/events", 422, **{**wanted, "from": days_ago(20), "to": days_ago(1)}
    )
    assert refused["code"] == "raw_events_gone"
    assert await metering.usage(**{**WHOLE, "from": days_ago(20), "to": days_ago(1, "10:15:00")}) == [
        ("12", 2)
    ]
    assert await metering.usage(**{**WHOLE, "from": days_ago(1, "10:05:00")}) == [("7", 1)]


async def test_what_a_window_needs_is_kept(metering: Metering, story: Story) -> None:
    """It has not closed, hence nothing it counts goes, however old."""
    await metering.define()
    await metering.hear(story.started(), story.bound())
    await metering.send(flight("before", "2024-12-05T10:07:00Z", 1), flight("in", "2025-01-05T10:07:00Z", 5))
    assert (await keep(metering, 10))["kept_from"] == "2025-01-01T00:00:00Z"
    await forget(metering)
    assert await metering.count("usage_event") == 1
    await metering.hear(story.ended(0))
    await metering.tick()
    await forget(metering)
    await forget(metering)
    assert (await metering.get("/v1/usage-retention"))["kept_from"] == days_ago(10, "00:00:00")
    assert await metering.count("usage_event") == 0
    [window] = (await metering.get("/v1/usage-windows"))["data"]
    assert window["totals"][0]["quantity"] == "5"
    assert await audited(metering) == []


async def test_a_closed_window_that_needs_what_is_gone_says_so_and_holds_nothing_back(
    metering: Metering, story: Story
) -> None:
    """It is told once, stays as it was said, and alerts until a person has seen to it."""
    other = Story(metering.tenant)
    await metering.define()
    bound = story.bound()
    await metering.hear(story.started(), bound, other.started())
    await metering.send(flight("a", "2025-01-05T10:07:00Z", 5))
    await metering.hear(story.ended(0), other.ended(0))
    await metering.tick()
    await keep(metering, 10)
    for _ in range(2):
        await forget(metering)
    assert await metering.count("usage_event") == 0
    # The subject left in the midst of a quarter hour of which only the sum is known; nothing of the other one's changed.
    await metering.hear(story.released(bound, "2025-01-05T10:08:00"), other.bound("N2"))
    await metering.tick()
    assert await metering.count("late_usage") == 0
    windows = {w["subscription_id"]: w for w in (await metering.get("/v1/usage-windows"))["data"]}
    window = windows[story.subscription_id]
    assert (window["totals"][0]["quantity"], window["revision"]) == ("5", 0)
    assert f"raw events are kept from {days_ago(10, '00:00:00')} on" in window["recount_refusal"]["told"]
    assert windows[other.subscription_id]["recount_refusal"] is None
    [finding] = await audited(metering)
    assert ("recounts_refused" in finding, window["id"] in finding) == (True, True)
    path = f"/v1/usage-windows/{window['id']}/recount-refusal/dismissal"
    answer = await metering.client.post(path, json={"reason": "Given back by hand."})
    assert (answer.status_code, answer.json()["recount_refusal"]["reason"]) == (200, "Given back by hand.")
    again = await metering.client.post(path, json={"reason": "Given back by hand."})
    assert (again.status_code, again.json()["code"]) == (409, "no_recount_refused")
    assert await audited(metering) == []


async def test_what_is_gone_does_not_come_back(metering: Metering) -> None:
    await keep(metering, 10)
    told = await keep(metering, None, version=1)
    assert (told["version"], told["kept_from"]) == (2, days_ago(10, "00:00:00"))
    answer = await metering.client.put(
        "/v1/usage-retention", json={"raw_kept_days": 5}, headers={"if-match": '"1"'}
    )
    assert answer.status_code == 412
    assert (await metering.client.put("/v1/usage-retention", json={"raw_kept_days": 5})).status_code == 428


async def test_a_void_or_an_amendment_of_what_is_gone_is_refused(metering: Metering) -> None:
    await metering.define(aggregation="time_weighted")
    await metering.send(flight("a", days_ago(20), 5), flight("b", days_ago(1), 7))
    await keep(metering, 10)
    from_there = {"subject": "N1", "from": days_ago(20), "to": days_ago(18)}
    before = await metering.usage(**from_there)
    reference = {"source": flight("a", days_ago(20))["source"], "reason": "wrong"}
    for _ in range(2):  # whether its raw event is still there or not
        voids = {"voids": [{**reference, "id": "a"}]}
        told = (await metering.client.post("/v1/usage-events/voids", json=voids)).json()
        assert [r["status"] for r in told["results"]] == ["rejected"], told
        moved = {"event": flight("b", days_ago(20, "12:00:00"), 9), "reason": "wrong"}
        told = (
            await metering.client.post("/v1/usage-events/amendments", json={"amendments": [moved]})
        ).json()
        assert [r["status"] for r in told["results"]] == ["rejected"], told
        await forget(metering)
    assert await metering.usage(**from_there) == before
    assert await audited(metering) == []


async def test_a_meter_that_comes_later_begins_where_events_are_kept(metering: Metering) -> None:
    await metering.send(flight("a", days_ago(20), 5), flight("b", days_ago(1), 7))
    await keep(metering, 10)
    first = await metering.define()
    assert await metering.usage(**WHOLE) == [("7", 1)]
    body = {
        "event_type": "flight.landed",
        "aggregation": "sum",
        "value": "/minutes",
        "effective_from": days_ago(15),
    }
    refused = await metering.client.post(f"/v1/meters/{first['id']}/versions", json=body)
    assert (refused.status_code, refused.json()["code"]) == (409, "meter_version_too_early")
    assert await audited(metering) == []


@pytest_asyncio.fixture
async def alone(postgres: PostgresForTests, tmp_path: Any) -> AsyncIterator[Metering]:
    """A database of its own, since whole months go."""
    async with service_under_test(postgres, "metering", build, folder=tmp_path) as service:
        metering = Metering(service, new_tenant())
        async with metering.client:
            yield metering


async def months(metering: Metering) -> list[str]:
    """Of events; the month in which they arrive is there as well, whether any happened in it or not."""
    async with metering.admin() as admin:
        found = await admin.fetch(
            "SELECT relname FROM pg_class WHERE relname ~ '^usage_event_[0-9]{4}_[0-9]{2}$' ORDER BY 1"
        )
    now = f"{datetime.now(UTC):%Y_%m}"
    return [month for row in found if (month := row["relname"].removeprefix("usage_event_")) != now]


async def test_whole_months_go_for_everybody(alone: Metering) -> None:
    await alone.define()
    await alone.define("worked-out", value=None, value_expression='event("/minutes") * 2')
    old = [flight(f"{n}", f"2024-{n:02}-05T10:07:00Z", n) for n in range(1, 7)]
    await alone.send(*old, flight("ancient", "1999-05-05T00:00:00Z", 1000))
    database = alone.service.parts.worker_database
    story = Story(alone.tenant)  # a window of January 2025 that has not closed
    await alone.hear(story.started(), story.bound())
    await keep_from(database, utc("2024-04-20"))
    assert await drop_months(database, timedelta(hours=1)) == 0  # others may not know of it yet
    assert await drop_months(database, AT_ONCE) == 3
    assert await months(alone) == ["2024_04", "2024_05", "2024_06"]
    assert await alone.usage(**{**WHOLE, "from": "1990-01-01T00:00:00Z"}) == [("1021", 7)]
    assert (await alone.count("usage_event"), await alone.count("usage_measurement")) == (3, 3)
    again = await alone.send(old[0], {**old[1], "data": {"minutes": 7}}, flight("x", "2024-02-01T00:00:00Z"))
    assert statuses(again) == ["duplicate", "conflict", "rejected"]
    assert (await alone.get("/v1/usage-retention"))["kept_from"] == "2024-04-01T00:00:00Z"
    assert await audited(alone) == []
    # As the scheduler does it: what the open window needs stays.
    expiry = MonthsExpiry(alone.units, SystemClock(), 30, rested=AT_ONCE)
    await expiry.run_once()
    await MonthsExpiry(alone.units, SystemClock(), 30, rested=AT_ONCE).run_once()
    assert (await alone.get("/v1/usage-retention"))["kept_from"] == "2025-01-01T00:00:00Z"
    assert await months(alone) == []
    assert await audited(alone) == []
