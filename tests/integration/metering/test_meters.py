"""Meters over HTTP: what can be defined, what cannot, and how they read events."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.contracts.metering import MeterDefinedV1
from tests.integration.metering.harness import Metering, flight, fresh, ids_of

AT = "2025-01-10T10:00:00Z"


async def test_a_meter_is_defined_shown_listed_and_told(metering: Metering) -> None:
    made = await metering.define(
        group_by=["carrier", "/route/destination"], filter={"/kind": ["paid", "free"]}, unit="minute"
    )
    assert made["group_by"] == ["carrier", "route/destination"]
    assert made["filter"] == {"/kind": ["free", "paid"]}
    assert await metering.get(f"/v1/meters/{made['id']}") == made
    assert ids_of(await metering.get("/v1/meters", code="minutes")) == [made["id"]]
    assert ids_of(await metering.get("/v1/meters", event_type="other")) == []
    [told] = await metering.said(MeterDefinedV1)
    assert (told["code"], told["meter_id"], told["aggregation"], told["unit"]) == (
        "minutes",
        made["id"],
        "sum",
        "minute",
    )


async def test_a_code_is_defined_once(metering: Metering) -> None:
    await metering.define()
    again = await metering.client.post(
        "/v1/meters", json={"code": "minutes", "event_type": "x", "aggregation": "count"}
    )
    assert (again.status_code, again.json()["code"]) == (409, "meter_exists")
    other = Metering(metering.service, fresh())
    async with other.client:
        await other.define()


async def test_an_idempotency_key_makes_a_repeat_the_same_answer(metering: Metering) -> None:
    body = {"code": "m", "event_type": "x", "aggregation": "count"}
    headers = {"idempotency-key": fresh()}
    first = await metering.client.post("/v1/meters", json=body, headers=headers)
    second = await metering.client.post("/v1/meters", json=body, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert first.headers["location"] == f"/v1/meters/{first.json()['id']}"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aggregation": "sum", "value": None}, "invalid_meter"),
        ({"aggregation": "count", "value": "/x"}, "invalid_meter"),
        ({"value": "minutes"}, "invalid_pointer"),
        ({"value": "/a/-1"}, "invalid_pointer"),
        ({"value": "/a/01"}, "invalid_pointer"),
        ({"value": "/a~2"}, "invalid_pointer"),
        ({"group_by": ["a", "/a"]}, "invalid_meter"),
        ({"group_by": list("abcdef")}, "invalid_body"),
        ({"filter": {"/a": []}}, "invalid_body"),
        ({"aggregation": "median"}, "invalid_body"),
        ({"code": "No Code"}, "invalid_body"),
        ({"extra": 1}, "invalid_body"),
        ({"id": "mtr_1"}, "invalid_body"),
    ],
)
async def test_what_is_no_meter_is_refused(metering: Metering, changes: dict[str, Any], code: str) -> None:
    body = {"code": "m", "event_type": "x", "aggregation": "sum", "value": "/x", **changes}
    answer = await metering.client.post("/v1/meters", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


async def test_several_meters_read_one_event_type(metering: Metering) -> None:
    await metering.define()
    await metering.define("flights", aggregation="count")
    await metering.define("longest", aggregation="max")
    await metering.send(*(flight(str(n), AT, n) for n in (3, 9, 5)))
    assert await metering.usage(subject="N1") == [("17", 3)]
    assert await metering.usage(subject="N1", meter="flights") == [("3", 3)]
    assert await metering.usage(subject="N1", meter="longest") == [("9", 3)]


async def test_a_filter_says_what_counts_and_what_it_leaves_out_needs_no_value(metering: Metering) -> None:
    await metering.define(filter={"/cancelled": ["false"], "/class": ["1", "2.5"]})
    told = await metering.send(
        flight("counts", AT, data={"minutes": 1, "cancelled": False, "class": 1.0}),
        flight("counts too", AT, data={"minutes": 2, "cancelled": "false", "class": 2.50}),
        flight("cancelled", AT, data={"cancelled": True, "class": 1}),
        flight("another class", AT, data={"minutes": 8, "cancelled": False, "class": 3}),
        flight("no class", AT, data={"minutes": 16, "cancelled": False}),
    )
    assert told["stored"] == 5
    assert await metering.usage(subject="N1") == [("3", 2)]


async def test_a_dimension_that_cannot_be_one_is_refused_and_a_missing_one_is_null(
    metering: Metering,
) -> None:
    await metering.define(group_by=["carrier"])
    told = await metering.send(
        flight("a", AT, data={"minutes": 1, "carrier": "AA"}),
        flight("b", AT, data={"minutes": 2}),
        flight("c", AT, data={"minutes": 4, "carrier": {"code": "AA"}}),
        flight("d", AT, data={"minutes": 8, "carrier": "x" * 257}),
    )
    assert [r["status"] for r in told["results"]] == ["stored", "stored", "rejected", "rejected"]
    assert told["results"][2]["reasons"][0]["code"] == "dimension_unreadable"
    answer = await metering.get(
        "/v1/usage", meter="minutes", subject="N1", group_by="carrier", **{"from": "2025-01-01T00:00:00Z"}
    )
    groups = {row["group"]["carrier"]: row["quantity"] for row in answer["data"]}
    assert groups == {"AA": "1", None: "2"}


async def test_a_meter_of_another_tenant_is_not_there(metering: Metering) -> None:
    made = await metering.define()
    other = Metering(metering.service, fresh())
    async with other.client:
        assert (await other.get(f"/v1/meters/{made['id']}", status=404))["code"] == "meter_not_found"
        assert (await other.get("/v1/usage", status=404, meter="minutes", subject="N1"))[
            "code"
        ] == "meter_not_found"
