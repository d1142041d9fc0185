"""Plan overlays over HTTP and in their rows: one customer's own amounts, without a copy of the plan."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from libs.common.ids import new_id
from tests.integration.catalog.asking import FEE, PRODUCT, a_plan_body, make, make_plan, pointers, publish
from tests.support.service_under_test import ServiceUnderTest, new_tenant

BOTH = ("catalog:read", "catalog:write")
PATH = "/v1/plan-overlays"
CHEAPER = {"code": "aircraft", "unit_amount": "1100.00"}


def an_overlay(**changes: Any) -> dict[str, Any]:
    return {"customer_id": new_id("cus"), "plan": "power", "prices": [CHEAPER], **changes}


async def a_published_plan(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    plan = await make_plan(client, **changes)
    version: dict[str, Any] = (await publish(client, plan["id"]))["plan_version"]
    return version


async def test_an_overlay_is_made_shown_listed_and_withdrawn(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        version = await a_published_plan(client)
        body = an_overlay(term={"unit": "year", "count": 3}, description="By word of mouth")
        made = await client.post(PATH, json=body)
        assert made.status_code == 201, made.text
        overlay, path = made.json(), made.headers["location"]
        assert path == f"{PATH}/{overlay['id']}"
        assert (overlay["plan_version_id"], overlay["number"], overlay["plan"]) == (version["id"], 1, "power")
        assert overlay["overrides"] == [{"code": "aircraft", "currency": "USD", "unit_amount": "1100"}]
        assert (overlay["term"], overlay["description"]) == (body["term"], "By word of mouth")
        (price,) = overlay["prices"]
        (original,) = version["prices"]
        assert price == {**original, "id": price["id"], "unit_amount": "1100"}
        assert price["id"] != original["id"]
        assert overlay["words"] == (
            "The price aircraft in USD: the unit amount goes from 1200 to 1100, 8.33 % less."
        )

        other = await make(client, PATH, an_overlay(plan=None, plan_version_id=version["id"]))
        assert (await client.get(path)).json() == overlay

        async def listed(**filters: Any) -> list[str]:
            found = (await client.get(PATH, params=filters)).json()["data"]
            return [overlay["id"] for overlay in found]

        assert await listed() == [overlay["id"], other["id"]]
        assert await listed(customer_id=overlay["customer_id"]) == [overlay["id"]]
        assert await listed(plan_id=overlay["plan_id"]) == [overlay["id"], other["id"]]
        assert await listed(plan_id=new_id("pln")) == []

        wrong = await client.post(f"{path}/withdrawal", headers={"if-match": '"9"'})
        assert wrong.status_code == 412
        withdrawn = await client.post(f"{path}/withdrawal", headers={"if-match": made.headers["etag"]})
        assert withdrawn.status_code == 200
        assert withdrawn.json()["withdrawn_at"]
        assert (await client.post(f"{path}/withdrawal")).json() == withdrawn.json()
        assert await listed(withdrawn=True) == [overlay["id"]]
        assert await listed(withdrawn=False) == [other["id"]]
        assert (await client.get(f"{PATH}/{new_id('ovl')}")).json()["code"] == "plan_overlay_not_found"


async def test_a_customer_has_one_overlay_of_a_version_at_a_time(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        await a_published_plan(client)
        body = an_overlay()
        answers = await asyncio.gather(*[client.post(PATH, json=body) for _ in range(4)])
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
        refused = next(answer for answer in answers if answer.status_code == 409).json()
        assert refused["code"] == "plan_overlay_exists"
        made = next(answer for answer in answers if answer.status_code == 201).json()
        await client.post(f"{PATH}/{made['id']}/withdrawal")
        assert (await client.post(PATH, json=body)).status_code == 201


async def test_what_was_overridden_may_be_taken_away_and_is_stored_as_it_was_written(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    fee = {**FEE, "minimum_amount": "5", "maximum_amount": "9"}
    euros = {**FEE, "currency": "EUR"}
    prices = [
        {**CHEAPER, "minimum_amount": None, "maximum_amount": "20"},
        {"code": "aircraft", "currency": "EUR", "unit_amount": "0.000000000001"},
    ]
    async with catalog.client(tenant, *BOTH) as client:
        await make(client, "/v1/products", PRODUCT)
        plan = await make(client, "/v1/plans", a_plan_body(fee, euros))
        await publish(client, plan["id"])
        made = await make(client, PATH, an_overlay(prices=prices))
        shown = (await client.get(f"{PATH}/{made['id']}")).json()
    assert shown == made
    assert [(p["currency"], p["unit_amount"], p["minimum_amount"]) for p in made["prices"]] == [
        ("USD", "1100", None),
        ("EUR", "0.000000000001", None),
    ]
    assert made["overrides"] == [
        {
            "code": "aircraft",
            "currency": "USD",
            "unit_amount": "1100",
            "minimum_amount": None,
            "maximum_amount": "20",
        },
        {"code": "aircraft", "currency": "EUR", "unit_amount": "0.000000000001"},
    ]


async def test_every_fault_of_an_overlay_is_listed(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        version = await a_published_plan(client)
        prices = [
            {"code": "other", "unit_amount": "1"},
            {"code": "aircraft", "unit_amount": "-1", "tiers": [{"up_to": "5", "unit_amount": "1"}]},
        ]
        faulty = await client.post(PATH, json=an_overlay(prices=prices, term={"unit": "year", "count": 11}))
        assert (faulty.status_code, faulty.json()["code"]) == (422, "plan_overlay_invalid")
        assert pointers(faulty) == [
            "/term/count",
            "/prices/0/code",
            "/prices/1/tiers",
            "/prices/1/unit_amount",
        ]
        for body, status, code in (
            (an_overlay(plan="other"), 404, "plan_not_found"),
            (an_overlay(plan=None, plan_version_id=new_id("plv")), 404, "plan_version_not_found"),
            (an_overlay(plan_version_id=version["id"]), 422, "invalid_body"),
            (an_overlay(plan=None), 422, "invalid_body"),
            (an_overlay(prices=[{"code": "aircraft", "tiers": None}]), 422, "invalid_body"),
            (an_overlay(prices=[{"code": "aircraft", "model": "flat"}]), 422, "invalid_body"),
            (an_overlay(customer_id="somebody"), 422, "invalid_body"),
        ):
            answer = await client.post(PATH, json=body)
            assert (answer.status_code, answer.json()["code"]) == (status, code), body
        await client.post(f"/v1/plans/{version['plan_id']}/versions/1/withdrawal")
        unsold = await client.post(PATH, json=an_overlay())
        assert (unsold.status_code, unsold.json()["code"]) == (409, "plan_not_on_sale")
        named = await client.post(PATH, json=an_overlay(plan=None, plan_version_id=version["id"]))
        assert named.status_code == 201


async def test_another_tenants_overlay_is_not_there(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        version = await a_published_plan(client)
        made = await make(client, PATH, an_overlay())
    async with catalog.client(new_tenant(), *BOTH) as stranger:
        answers = [
            await stranger.get(f"{PATH}/{made['id']}"),
            await stranger.post(f"{PATH}/{made['id']}/withdrawal"),
            await stranger.post(PATH, json=an_overlay()),
            await stranger.post(PATH, json=an_overlay(plan=None, plan_version_id=version["id"])),
        ]
        assert (await stranger.get(PATH)).json()["data"] == []
    assert [answer.status_code for answer in answers] == [404] * 4
