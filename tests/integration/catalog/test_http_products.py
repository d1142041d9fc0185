"""Products over HTTP, with real tokens and a real database."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.integration.catalog.asking import PRODUCT, make, pointers
from tests.integration.catalog.test_events import sent_by
from tests.support.service_under_test import ServiceUnderTest, new_tenant

BOTH = ("catalog:read", "catalog:write")


async def test_a_product_lives_from_making_to_archival(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        answer = await client.post("/v1/products", json={**PRODUCT, "external_id": "sku-1"})
        made = answer.json()
        assert answer.status_code == 201
        assert answer.headers["location"] == f"/v1/products/{made['id']}"
        assert answer.headers["etag"] == '"1"'
        assert made["id"].startswith("prd_")
        assert made["created_at"].endswith("Z")

        shown = await client.get(answer.headers["location"])
        assert shown.json() == made
        unchanged = await client.get(answer.headers["location"], headers={"if-none-match": '"1"'})
        assert unchanged.status_code == 304

        changed = await client.patch(
            answer.headers["location"],
            json={"name": "Minutes aloft", "unit": None},
            headers={"if-match": '"1"'},
        )
        assert changed.status_code == 200
        assert changed.headers["etag"] == '"2"'
        assert changed.json() == {**made, "name": "Minutes aloft", "unit": None, "version": 2}

        archived = await client.post(f"{answer.headers['location']}/archival")
        again = await client.post(f"{answer.headers['location']}/archival")
        assert archived.status_code == 200
        assert archived.json()["archived_at"] is not None
        assert again.json() == archived.json()


async def test_tax_category_and_gtin_come_and_go(catalog: ServiceUnderTest, tenant: str) -> None:
    told = {"tax_category": "reduced", "gtin": "4006381333931"}
    async with catalog.client(tenant, *BOTH) as client:
        made = await make(client, "/v1/products", {**PRODUCT, **told})
        assert {name: made[name] for name in told} == told
        found = await client.get("/v1/products", params={"gtin": "4006381333931"})
        assert found.json()["data"] == [made]
        none = await client.get("/v1/products", params={"gtin": "96385074"})
        assert none.json()["data"] == []
        path = f"/v1/products/{made['id']}"
        kept = await client.patch(path, json={"name": "x"}, headers={"if-match": '"1"'})
        assert {name: kept.json()[name] for name in told} == told
        taken = await client.patch(path, json=dict.fromkeys(told), headers={"if-match": '"2"'})
        assert {name: taken.json()[name] for name in told} == dict.fromkeys(told)
    events = [json.loads(delivery.value)["product"] for delivery in await sent_by(catalog, tenant)]
    assert [(event["product_version"], event.get("gtin")) for event in events] == [
        (1, "4006381333931"),
        (2, "4006381333931"),
        (3, None),
    ]


async def test_the_same_key_makes_one_product_and_gets_the_same_answer(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        headers = {"idempotency-key": "one"}
        first = await client.post("/v1/products", json=PRODUCT, headers=headers)
        again = await client.post("/v1/products", json=PRODUCT, headers=headers)
        other = await client.post("/v1/products", json={**PRODUCT, "code": "other"}, headers=headers)
        listed = await client.get("/v1/products")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"
    assert other.status_code == 422
    assert len(listed.json()["data"]) == 1


async def test_two_at_once_with_one_code_make_one(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        answers = await asyncio.gather(*[client.post("/v1/products", json=PRODUCT) for _ in range(4)])
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    (refused, *_) = [answer for answer in answers if answer.status_code == 409]
    assert refused.json()["code"] == "product_code_taken"
    assert pointers(refused) == ["/code"]


async def test_two_tenants_may_use_one_code(catalog: ServiceUnderTest) -> None:
    for tenant in (new_tenant(), new_tenant()):
        async with catalog.client(tenant, *BOTH) as client:
            await make(client, "/v1/products", PRODUCT)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({**PRODUCT, "color": "blue"}, "/color"),
        ({**PRODUCT, "id": "prd_mine"}, "/id"),
        ({**PRODUCT, "kind": "thing"}, "/kind"),
        ({**PRODUCT, "code": "Not A Code"}, "/code"),
        ({**PRODUCT, "name": ""}, "/name"),
        ({**PRODUCT, "unit": "x" * 41}, "/unit"),
        ({**PRODUCT, "metadata": {"a": 1}}, "/metadata/a"),
        ({**PRODUCT, "tax_category": "x" * 65}, "/tax_category"),
        ({**PRODUCT, "tax_category": "low rate"}, "/tax_category"),
        ({**PRODUCT, "gtin": "4006381333932"}, "/gtin"),
        ({**PRODUCT, "gtin": "123"}, "/gtin"),
        ({**PRODUCT, "gtin": 4006381333931}, "/gtin"),
        ({k: v for k, v in PRODUCT.items() if k != "name"}, "/name"),
    ],
)
async def test_a_wrong_field_is_pointed_at(
    catalog: ServiceUnderTest, tenant: str, body: dict[str, Any], pointer: str
) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        answer = await client.post("/v1/products", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert pointers(answer) == [pointer]


@pytest.mark.parametrize("field", ["name", "description", "metadata"])
async def test_what_cannot_be_taken_away_cannot_be_null(
    catalog: ServiceUnderTest, tenant: str, field: str
) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        made = await make(client, "/v1/products", PRODUCT)
        answer = await client.patch(
            f"/v1/products/{made['id']}", json={field: None}, headers={"if-match": '"1"'}
        )
    assert answer.status_code == 422
    assert pointers(answer) == [f"/{field}"]


async def test_a_version_must_be_named_and_be_the_newest(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        path = f"/v1/products/{(await make(client, '/v1/products', PRODUCT))['id']}"
        unnamed = await client.patch(path, json={"name": "x"})
        passed = await client.patch(path, json={"name": "x"}, headers={"if-match": '"2"'})
        archived = await client.post(f"{path}/archival", headers={"if-match": '"2"'})
        shown = await client.get(path)
    assert (unnamed.status_code, passed.status_code, archived.status_code) == (428, 412, 412)
    assert shown.json()["version"] == 1


async def test_another_tenants_product_is_not_there(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        path = f"/v1/products/{(await make(client, '/v1/products', PRODUCT))['id']}"
    async with catalog.client(new_tenant(), *BOTH) as stranger:
        answers = [
            await stranger.get(path),
            await stranger.patch(path, json={"name": "x"}, headers={"if-match": "*"}),
            await stranger.post(f"{path}/archival"),
        ]
        listed = await stranger.get("/v1/products", params={"code": PRODUCT["code"]})
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert listed.json()["data"] == []


async def test_scopes_say_what_may_be_done(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, "catalog:read") as reader:
        assert (await reader.post("/v1/products", json=PRODUCT)).status_code == 403
        assert (await reader.get("/v1/products")).status_code == 200
    async with catalog.client(tenant, "catalog:write") as writer:
        assert (await writer.get("/v1/products")).status_code == 403
    async with catalog.client(tenant, "catalog:read", customer="cus_1") as portal:
        assert (await portal.get("/v1/products")).status_code == 403
    async with catalog.client(None, "operate", "catalog:read") as operator:
        assert (await operator.get("/v1/products")).json()["code"] == "tenant_needed"


async def test_lists_come_in_pages_and_narrow(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        made = [
            await make(
                client, "/v1/products", {**PRODUCT, "code": f"p{n}", "kind": kind, "external_id": f"e{n}"}
            )
            for n, kind in enumerate(["goods", "service", "goods", "digital", "goods"])
        ]
        await client.post(f"/v1/products/{made[0]['id']}/archival")

        async def codes(**filters: Any) -> list[str]:
            answer = await client.get("/v1/products", params=filters)
            assert answer.status_code == 200, answer.text
            return [product["code"] for product in answer.json()["data"]]

        assert await codes() == ["p0", "p1", "p2", "p3", "p4"]
        assert await codes(kind="goods") == ["p0", "p2", "p4"]
        assert await codes(code="p3") == ["p3"]
        assert await codes(external_id="e1") == ["p1"]
        assert await codes(archived="true") == ["p0"]
        assert await codes(archived="false", kind="goods") == ["p2", "p4"]
        assert await codes(created_from=made[3]["created_at"]) == ["p3", "p4"]
        assert await codes(created_to=made[3]["created_at"]) == ["p0", "p1", "p2"]

        seen: list[str] = []
        path: str | None = "/v1/products?limit=2&kind=goods"
        while path:
            answer = await client.get(path)
            seen += [product["code"] for product in answer.json()["data"]]
            path = answer.links.get("next", {}).get("url")
        assert seen == ["p0", "p2", "p4"]
