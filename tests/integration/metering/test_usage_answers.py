"""Answers in pages and as CSV, the events behind them, and as of when they are true."""

from __future__ import annotations

import asyncio
import csv
import io
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.integration.metering.harness import READ, Metering, Story, client_of, flight, utc

DAY = {"from": "2025-01-01T00:00:00Z", "to": "2025-01-02T00:00:00Z"}
WEEKS = {"from": "2025-01-01T00:00:00Z", "to": "2025-01-15T00:00:00Z"}
CARRIERS = ["AA", "UA", None, "=1+1"]


async def all_of(metering: Metering, path: str, limit: int, **wanted: Any) -> list[dict[str, Any]]:
    """The items of all pages, by their links."""
    found: list[dict[str, Any]] = []
    answer = await metering.client.get(path, params={**wanted, "limit": limit})
    while True:
        assert answer.status_code == 200, answer.text
        told = answer.json()
        found += told["data"]
        assert (told["next_cursor"] is None) == ("next" not in answer.links)
        if told["next_cursor"] is None:
            return found
        answer = await metering.client.get(answer.links["next"]["url"])


async def weeks_of_flights(metering: Metering, seed: int) -> list[tuple[datetime, str | None, int]]:
    rng = random.Random(seed)
    start = utc("2025-01-01")
    flights = [
        (start + timedelta(minutes=rng.randrange(14 * 1_440)), rng.choice(CARRIERS), rng.randrange(1, 90))
        for _ in range(60)
    ]
    await metering.send(
        *(
            flight(str(n), at.isoformat(), data={"minutes": minutes, **({"carrier": c} if c else {})})
            for n, (at, c, minutes) in enumerate(flights)
        )
    )
    return flights


async def test_pages_put_together_are_the_whole_answer(metering: Metering) -> None:
    await metering.define(group_by=["carrier"])
    flights = await weeks_of_flights(metering, 1)
    for more in (
        {"window": "hour", "zone": "Asia/Kathmandu"},
        {"window": "minute", "fill": "none"},
        {"window": "day", "group_by": "carrier"},
        {"window": "week", "group_by": "carrier", "fill": "zero", "zone": "America/New_York"},
        {"window": "day", "filter": ["carrier:AA", "carrier:"]},
    ):
        wanted = {"meter": "minutes", "subject": "N1", **WEEKS, **more}
        whole = await all_of(metering, "/v1/usage", 5_000, **wanted)
        assert (
            await all_of(metering, "/v1/usage", 7, **wanted) == whole if more["window"] != "minute" else whole
        )
        counted = [f for f in flights if "filter" not in more or f[1] in ("AA", None)]
        assert sum(int(row["quantity"]) for row in whole) == sum(minutes for _, _, minutes in counted)
        for row in whole:
            start, end = (datetime.fromisoformat(row[name]) for name in ("from", "to"))
            by_hand = [
                minutes
                for at, carrier, minutes in counted
                if start <= at < end and row["group"] in ({}, {"carrier": carrier})
            ]
            assert (row["quantity"], row["event_count"]) == (str(sum(by_hand)), len(by_hand))


async def test_a_cursor_keeps_the_time_and_is_good_for_its_question_only(metering: Metering) -> None:
    await metering.define()
    wanted = {"meter": "minutes", "subject": "N1", "window": "day", "limit": "3"}
    first = await metering.get("/v1/usage", **wanted)
    cursor = first["next_cursor"]
    second = await metering.get("/v1/usage", **wanted, cursor=cursor)
    assert second["data"][0]["from"] == first["data"][-1]["to"]
    for other in (
        {"window": "week"},
        {"subject": "N2"},
        {"zone": "Asia/Kathmandu"},
        {"fill": "none"},
        {"from": "2025-01-01T00:00:00Z"},
    ):
        told = await metering.get("/v1/usage", status=400, **{**wanted, **other}, cursor=cursor)
        assert told["code"] == "cursor_invalid"
    told = await metering.get("/v1/usage/events", status=400, meter="minutes", subject="N1", cursor=cursor)
    assert told["code"] == "cursor_invalid"


async def test_an_export_is_the_answer(metering: Metering) -> None:
    await metering.define(group_by=["carrier"])
    await weeks_of_flights(metering, 2)
    wanted = {"meter": "minutes", "subject": "N1", "window": "day", "group_by": "carrier", **WEEKS}
    rows = await all_of(metering, "/v1/usage", 5_000, **wanted)
    for asked in ({"params": {**wanted, "format": "csv", "limit": 2}}, {"headers": {"accept": "text/csv"}}):
        answer = await metering.client.get("/v1/usage", **{"params": wanted, **asked})  # type: ignore[arg-type]
        assert answer.headers["content-type"] == "text/csv; header=present; charset=utf-8"
        assert answer.headers["content-disposition"] == 'attachment; filename="usage-minutes.csv"'
        exported = list(csv.DictReader(io.StringIO(answer.text, newline=""), strict=True))
        assert [
            (row["from"], row["group.carrier"].removeprefix("'") or None, row["quantity"], row["event_count"])
            for row in exported
        ] == [
            (row["from"], row["group"]["carrier"], row["quantity"], str(row["event_count"])) for row in rows
        ]
        assert {row["is_complete"] for row in exported} == {"true"}
        assert "'=1+1" in answer.text
    told = await metering.client.get(
        "/v1/usage", params={**wanted, "meter": "none"}, headers={"accept": "text/csv"}
    )
    assert (told.status_code, told.json()["code"]) == (404, "meter_not_found")
    told = await metering.client.get(
        "/v1/usage", params={**wanted, "format": "json"}, headers={"accept": "text/csv"}
    )
    assert told.json()["data"] == rows


async def test_an_answer_says_what_it_has_seen(metering: Metering) -> None:
    await metering.define()
    await metering.send(flight("a", "2025-01-01T10:00:00Z"))
    before = datetime.now(UTC)
    told = await metering.get("/v1/usage", meter="minutes", subject="N1", **DAY)
    assert before - timedelta(seconds=1) <= datetime.fromisoformat(told["as_of"]) <= datetime.now(UTC)
    assert told["position"]["usage_topic"] == {}
    xmin, xmax, _ = told["position"]["snapshot"].split(":")
    assert int(xmin) <= int(xmax)
    assert (told["is_complete"], told["filled_until"]) == (True, None)
    async with metering.admin() as admin:
        await admin.execute(
            "UPDATE meter SET filled_at = NULL, filled_until = '2025-01-01T06:00:00Z' WHERE tenant = $1",
            metering.tenant,
        )
    for path in ("/v1/usage", "/v1/usage/events"):
        told = await metering.get(path, meter="minutes", subject="N1", **DAY)
        assert (told["is_complete"], told["filled_until"]) == (False, "2025-01-01T06:00:00Z")
        night = {**DAY, "to": "2025-01-01T06:00:00Z"}
        assert (await metering.get(path, meter="minutes", subject="N1", **night))["is_complete"]


async def test_all_of_an_answer_is_read_at_one_instant(metering: Metering) -> None:
    """What is committed after the answer's position was taken is not in it, whatever is read later."""
    await metering.define()
    units = metering.service.parts.api_units
    wanted = {"subject": "N1", "item_ids": None, "asset_id": None, "dimensions": (), "filters": {}}
    bounds = [utc("2025-01-01"), utc("2025-01-02")]
    async with units.open(metering.tenant, "test", snapshot=True) as uow:
        position = await uow.reads.position()
        await metering.send(flight("a", "2025-01-01T10:00:00Z"))
        versions = await uow.reads.list_meter_versions("minutes")
        assert (
            await uow.reads.sum_usage(versions, bounds, **wanted, zone="UTC", until=bounds[-1], rows_max=1)
            == []
        )
        assert await uow.reads.position() == position
    assert await metering.usage(subject="N1") == [("60", 1)]


async def test_the_events_behind_a_figure_add_up_to_it(metering: Metering, story: Story) -> None:
    await metering.define(group_by=["carrier"])
    await weeks_of_flights(metering, 3)
    await metering.hear(story.started(), story.bound("N1", end="2025-01-10"))
    for whose in (
        {"subject": "N1"},
        {"item_id": story.item_id},
        {"customer_id": story.customer_id, "subject": "N1", "filter": ["carrier:AA", "carrier:"]},
        {"item_id": story.item_id, "filter": "carrier:none"},
    ):
        wanted = {"meter": "minutes", **WEEKS, **whose}
        [row] = (await metering.get("/v1/usage", **wanted))["data"]
        events = await all_of(metering, "/v1/usage/events", 7, **wanted)
        assert (str(sum(int(e["value"]) for e in events)), len(events)) == (
            row["quantity"],
            row["event_count"],
        )
        assert [e["time"] for e in events] == sorted(e["time"] for e in events)
        assert all(e["group"] == {"carrier": e["data"].get("carrier")} for e in events)
        assert all((e["level"], e["member"], e["operation"]) == (None, None, None) for e in events)


async def test_what_was_taken_back_or_put_right_is_behind_no_figure(metering: Metering) -> None:
    await metering.define()
    await metering.send(*(flight(id, "2025-01-01T10:00:00Z", n) for n, id in enumerate(["a", "b", "c"], 1)))
    source, reason = flight("a", "")["source"], "the clock was wrong"
    for path, body in (
        ("voids", {"voids": [{"source": source, "id": "a", "reason": reason}]}),
        (
            "amendments",
            {"amendments": [{"event": flight("b", "2025-01-01T11:00:00Z", 20), "reason": reason}]},
        ),
    ):
        answer = await metering.client.post(f"/v1/usage-events/{path}", json=body)
        assert answer.status_code == 200, answer.text
    wanted = {"meter": "minutes", "subject": "N1", **DAY}
    events = await all_of(metering, "/v1/usage/events", 1, **wanted)
    assert [(e["id"], e["time"], e["value"]) for e in events] == [
        ("c", "2025-01-01T10:00:00Z", "3"),
        ("b", "2025-01-01T11:00:00Z", "20"),
    ]
    assert await metering.usage(subject="N1") == [("23", 2)]


async def test_each_event_is_shown_as_the_version_of_its_time_has_measured_it(metering: Metering) -> None:
    meter = await metering.define(group_by=["carrier"])
    answer = await metering.client.post(
        f"/v1/meters/{meter['id']}/versions",
        json={
            "event_type": "flight.landed",
            "aggregation": "sum",
            "value": "/hours",
            "group_by": ["gate"],
            "effective_from": "2025-01-05T00:00:00Z",
        },
    )
    assert answer.status_code == 201, answer.text
    data = {"minutes": 30, "hours": "0.5", "carrier": "AA", "gate": "A1"}
    await metering.send(*(flight(str(n), f"2025-01-0{n}T10:00:00Z", data=data) for n in (4, 5)))
    wanted = {"meter": "minutes", "subject": "N1", **WEEKS}
    events = await all_of(metering, "/v1/usage/events", 1, **wanted)
    assert [(e["value"], e["group"]) for e in events] == [("30", {"carrier": "AA"}), ("0.5", {"gate": "A1"})]
    rows = await all_of(metering, "/v1/usage", 5, **wanted, group_by=["gate", "carrier"])
    assert [(row["quantity"], row["group"]) for row in rows] == [
        ("0.5", {"gate": "A1", "carrier": None}),
        ("30", {"gate": None, "carrier": "AA"}),
    ]
    events = await all_of(metering, "/v1/usage/events", 5, **wanted, filter="gate:")
    assert [e["value"] for e in events] == ["30"]


def level(id: str, at: str, gigabytes: str, volume: str = "v1", subject: str = "N1") -> dict[str, Any]:
    data = {"gigabytes": gigabytes, "volume": volume}
    return flight(id, at, type="disk.changed", subject=subject, data=data)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"level": "absolute", "per": "hour"},
            [(None, "v1", "5", "36000", "50"), ("b", "v1", "2", "28800", "16"), ("d", "v1", "7", "21600", "42"),
             (None, "v2", "3", "43200", "36"), ("c", "v2", "1", "43200", "12")],
        ),
        (
            {"level": "change", "per": "window"},
            [(None, "v1", "5", "36000", "2.083333333333"), ("b", "v1", "7", "28800", "2.333333333334"),
             ("d", "v1", "14", "21600", "3.5"), (None, "v2", "3", "43200", "1.5"), ("c", "v2", "4", "43200", "2")],
        ),
    ],
)  # fmt: skip
async def test_the_steps_of_a_level_add_up_to_its_figure(
    metering: Metering, options: dict[str, Any], expected: list[tuple[str | None, str, str, str, str]]
) -> None:
    await metering.define(
        event_type="disk.changed",
        aggregation="time_weighted",
        value="/gigabytes",
        group_by=["volume"],
        **options,
    )
    await metering.send(
        level("a", "2024-12-31T23:50:00Z", "5"),
        level("b", "2025-01-01T10:00:00Z", "2"),
        level("c", "2025-01-01T12:00:00Z", "1", "v2"),
        level("before", "2024-12-01T00:00:00Z", "3", "v2"),
        level("d", "2025-01-01T18:00:00Z", "7"),
        level("other", "2025-01-01T18:00:00Z", "70", subject="N2"),
        level("after", "2025-01-02T00:00:00Z", "9"),
    )
    wanted = {"meter": "minutes", "subject": "N1", **DAY}
    steps = await all_of(metering, "/v1/usage/events", 2, **wanted)
    told = [(s["id"], s["group"]["volume"], s["level"], s["seconds"], s["contribution"]) for s in steps]
    assert sorted(told, key=lambda step: (step[1], step[0] or "")) == sorted(
        expected, key=lambda step: (step[1], step[0] or "")
    )
    assert [s["time"] for s in steps] == sorted(s["time"] for s in steps)
    assert steps[0]["time"] == "2025-01-01T00:00:00Z"
    [row] = (await metering.get("/v1/usage", **wanted))["data"]
    assert sum(Decimal(s["contribution"]) for s in steps) == Decimal(row["quantity"])
    assert row["event_count"] == len([s for s in steps if s["id"] is not None]) == 3
    [row] = (await metering.get("/v1/usage", **wanted, filter="volume:v2"))["data"]
    steps = await all_of(metering, "/v1/usage/events", 50, **wanted, filter="volume:v2")
    assert {s["group"]["volume"] for s in steps} == {"v2"}
    assert sum(Decimal(s["contribution"]) for s in steps) == Decimal(row["quantity"])


async def test_the_weight_of_each_change_by_day(metering: Metering) -> None:
    await metering.define(
        event_type="disk.changed",
        aggregation="time_weighted",
        value="/gigabytes",
        level="change",
        per="window",
        by_day=True,
    )
    await metering.send(
        level("a", "2025-01-03T10:00:00Z", "7"),
        level("b", "2025-01-08T23:30:00Z", "-2"),  # 9 January in Zurich
    )
    wanted = {"meter": "minutes", "subject": "N1", "zone": "Europe/Zurich"}
    range_ = {"from": "2024-12-31T23:00:00Z", "to": "2025-01-14T23:00:00Z"}
    steps = await all_of(metering, "/v1/usage/events", 50, **wanted, **range_)
    assert [(s["id"], s["days"], s["seconds"], s["contribution"]) for s in steps] == [
        ("a", 12, None, "6"),
        ("b", 6, None, "-0.857142857143"),
    ]
    [row] = (await metering.get("/v1/usage", **wanted, **range_))["data"]
    assert row["quantity"] == "5.142857142857"


async def test_what_is_counted_once_is_named_with_its_operation(metering: Metering) -> None:
    await metering.define(aggregation="unique", value="/user", operation="/does", keeps=True)

    def seat(id: str, at: str, user: str, does: str) -> dict[str, Any]:
        return flight(id, at, data={"user": user, "does": does})

    await metering.send(
        seat("a", "2024-12-05T00:00:00Z", "ann", "add"),
        seat("b", "2024-12-06T00:00:00Z", "bob", "add"),
        seat("c", "2024-12-07T00:00:00Z", "bob", "remove"),
        seat("d", "2025-01-01T10:00:00Z", "cleo", "add"),
        seat("e", "2025-01-01T11:00:00Z", "ann", "remove"),
        seat("f", "2025-01-01T12:00:00Z", "dan", "add"),
        seat("g", "2025-01-02T12:00:00Z", "eve", "add"),
    )
    wanted = {"meter": "minutes", "subject": "N1", **DAY}
    events = await all_of(metering, "/v1/usage/events", 2, **wanted)
    assert [(e["id"], e["member"], e["operation"]) for e in events] == [
        ("a", "ann", "add"),  # there when the day began
        ("d", "cleo", "add"),
        ("e", "ann", "remove"),
        ("f", "dan", "add"),
    ]
    [row] = (await metering.get("/v1/usage", **wanted))["data"]
    assert (row["quantity"], row["event_count"]) == ("2", 3)


async def test_usage_of_an_asset_is_that_of_its_subjects_while_they_were_bound_with_it(
    metering: Metering, story: Story
) -> None:
    other = Story(metering.tenant)
    await metering.define()
    engine = story.bound("N1", end="2025-01-10")
    swapped = story.bound("N2", "2025-01-10")
    resold = other.bound("N1", "2025-01-20")
    with_asset = [
        bound.model_copy(update={"binding": bound.binding.model_copy(update={"asset_id": asset})})
        for bound, asset in ((engine, "ast_1"), (swapped, "ast_2"), (resold, "ast_1"))
    ]
    await metering.hear(story.started(), other.started(), *with_asset)
    await metering.send(
        flight("a", "2025-01-05T00:00:00Z", 1),
        flight("b", "2025-01-15T00:00:00Z", 2),
        flight("c", "2025-01-15T00:00:00Z", 4, "N2"),
        flight("d", "2025-01-25T00:00:00Z", 8),
    )
    assert await metering.usage(asset_id="ast_1") == [("9", 2)]
    assert await metering.usage(asset_id="ast_2") == [("4", 1)]
    assert await metering.usage(asset_id="ast_1", customer_id=story.customer_id) == [("1", 1)]
    assert await metering.usage(asset_id="ast_1", subject="N2") == [("0", 0)]
    events = await all_of(
        metering,
        "/v1/usage/events",
        1,
        meter="minutes",
        asset_id="ast_1",
        **{**WEEKS, "to": "2025-02-01T00:00:00Z"},
    )
    assert [e["id"] for e in events] == ["a", "d"]
    async with client_of(metering, READ, customer=other.customer_id) as portal:
        wanted = {"meter": "minutes", **WEEKS, "to": "2025-02-01T00:00:00Z"}
        told = (await portal.get("/v1/usage", params={**wanted, "asset_id": "ast_1"})).json()
        assert [row["quantity"] for row in told["data"]] == ["8"]
        events = (await portal.get("/v1/usage/events", params={**wanted, "asset_id": "ast_1"})).json()
        assert [e["id"] for e in events["data"]] == ["d"]
        for path in ("/v1/usage", "/v1/usage/events"):
            assert (await portal.get(path, params={**wanted, "asset_id": "ast_2"})).status_code == 404
            exported = await portal.get(path, params={**wanted, "asset_id": "ast_2", "format": "csv"})
            assert exported.status_code == 404


async def test_a_balance_is_what_was_said_and_what_is_now(metering: Metering, story: Story) -> None:
    other = Story(metering.tenant)
    await metering.define()
    await metering.hear(story.started(), other.started(), story.bound("N1"), other.bound("N2"))
    await metering.send(flight("a", "2025-01-05T00:00:00Z", 7))
    await metering.tick()
    wanted = {"item_id": story.item_id}

    async def said() -> dict[str, Any]:
        await asyncio.sleep(0.1)
        await metering.tick()
        [balance] = (await metering.get("/v1/usage-balances", **wanted))["data"]
        told: dict[str, Any] = balance
        return told

    async with asyncio.timeout(10):
        while (balance := await said())["said_quantity"] != "7":
            pass
    assert (balance["quantity"], balance["event_count"], balance["is_complete"]) == ("7", 1, True)
    assert (balance["period_start"], balance["period_index"]) == ("2025-01-01T00:00:00Z", 0)
    await metering.send(flight("b", "2025-01-06T00:00:00Z", 5))
    [balance] = (await metering.get("/v1/usage-balances", **wanted))["data"]
    assert (balance["quantity"], balance["said_quantity"]) == ("12", "7")
    assert {b["item_id"] for b in await all_of(metering, "/v1/usage-balances", 1)} == {
        story.item_id,
        other.item_id,
    }
    assert (await metering.get("/v1/usage-balances", item_id="si_none"))["data"] == []
    async with client_of(metering, READ, customer=other.customer_id) as portal:
        own = (await portal.get("/v1/usage-balances")).json()["data"]
        assert [b["item_id"] for b in own] == [other.item_id]
        for foreign in (
            wanted,
            {"customer_id": story.customer_id},
            {"subscription_id": story.subscription_id},
        ):
            assert (await portal.get("/v1/usage-balances", params=foreign)).json()["data"] == []


async def test_the_export_of_a_customer_is_his_own(metering: Metering, story: Story) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound("N1", end="2025-01-10"))
    await metering.send(flight("a", "2025-01-05T00:00:00Z", 1), flight("b", "2025-01-12T00:00:00Z", 2))
    async with client_of(metering, READ, customer=story.customer_id) as portal:
        told: httpx.Response = await portal.get(
            "/v1/usage", params={"meter": "minutes", "subject": "N1", **WEEKS, "format": "csv"}
        )
        assert [row["quantity"] for row in csv.DictReader(io.StringIO(told.text, newline=""))] == ["1"]
