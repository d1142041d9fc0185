"""Customers over HTTP, with real tokens and a real database."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.subscriptions.story import Story, pointers, version
from tests.support.service_under_test import new_tenant


async def test_a_customer_is_made_shown_listed_and_changed(story: Story) -> None:
    async with story.client() as client:
        body = {"name": "AirTran", "external_id": "FL", "country": "US", "currency": "USD"}
        answer = await client.post("/v1/customers", json=body)
        made = answer.json()
        assert answer.status_code == 201
        assert answer.headers["location"] == f"/v1/customers/{made['id']}"
        assert (made["external_id"], made["country"], made["metadata"]) == ("FL", "US", {})
        path = answer.headers["location"]
        assert (await client.get(path)).json() == made
        listed = await client.get("/v1/customers", params={"external_id": "FL"})
        assert listed.json()["data"] == [made]
        nobody = await client.get("/v1/customers", params={"external_id": "DL"})
        assert nobody.json()["data"] == []

        change = {"email": "pay@airtran.example", "country": None}
        assert (await client.patch(path, json=change)).status_code == 428
        changed = await client.patch(path, json=change, headers=version(1))
        assert changed.json() == {**made, **change, "version": 2}
        assert (await client.patch(path, json=change, headers=version(1))).status_code == 412
    assert await story.types(made["id"]) == ["customer.changed", "customer.changed"]


async def test_an_external_id_is_one_customers_only(story: Story) -> None:
    async with story.client() as client:
        await story.customer(client, external_id="FL")
        again = await client.post("/v1/customers", json={"name": "Other", "external_id": "FL"})
        other = await story.customer(client)
        taken = await client.patch(
            f"/v1/customers/{other['id']}", json={"external_id": "FL"}, headers=version(1)
        )
    assert again.status_code == taken.status_code == 409
    assert again.json()["code"] == taken.json()["code"] == "customer_external_id_taken"
    stranger = Story(story.service, new_tenant(), story.clock)
    async with stranger.client() as client:
        await stranger.customer(client, external_id="FL")


async def test_the_same_key_makes_one_customer(story: Story) -> None:
    async with story.client() as client:
        headers = {"idempotency-key": "one"}
        first = await client.post("/v1/customers", json={"name": "Delta"}, headers=headers)
        again = await client.post("/v1/customers", json={"name": "Delta"}, headers=headers)
        listed = await client.get("/v1/customers")
    assert again.content == first.content
    assert len(listed.json()["data"]) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "x", "zone": "Mars/Olympus"}, "/zone"),
        ({"name": "x", "currency": "XQQ"}, "/currency"),
        ({"name": "x", "country": "ZZ"}, "/country"),
        ({"name": "x", "email": "nobody"}, "/email"),
        ({"name": "x", "metadata": {"a b": "c"}}, "/metadata"),
        ({"name": "x", "id": "cus_1"}, "/id"),
    ],
)
async def test_a_wrong_field_is_pointed_at(story: Story, body: dict[str, Any], pointer: str) -> None:
    async with story.client() as client:
        answer = await client.post("/v1/customers", json=body)
    assert answer.status_code == 422
    assert [found for found in pointers(answer) if found.startswith(pointer)]


async def test_another_tenants_customer_is_not_there(story: Story) -> None:
    async with story.client() as client:
        made = await story.customer(client)
    stranger = Story(story.service, new_tenant(), story.clock)
    async with stranger.client() as client:
        shown = await client.get(f"/v1/customers/{made['id']}")
        changed = await client.patch(f"/v1/customers/{made['id']}", json={"name": "x"}, headers=version(1))
        listed = await client.get("/v1/customers")
    assert (shown.status_code, changed.status_code) == (404, 404)
    assert listed.json()["data"] == []


async def test_a_portal_token_sees_its_own_customer(story: Story) -> None:
    async with story.client() as client:
        mine, other = await story.customer(client), await story.customer(client)
    async with story.client("subscriptions:read", customer=mine["id"]) as portal:
        assert (await portal.get(f"/v1/customers/{mine['id']}")).status_code == 200
        assert (await portal.get(f"/v1/customers/{other['id']}")).status_code == 404
        assert (await portal.get("/v1/customers")).status_code == 403


async def test_a_scope_is_needed(story: Story) -> None:
    async with story.client("subscriptions:read") as client:
        answer = await client.post("/v1/customers", json={"name": "x"})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
