"""Plans over HTTP, with real tokens and a real database."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from libs.common.contracts.metering import MeterDefinedV1
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.entrypoints.event_handlers import on_meter_defined
from tests.integration.catalog.asking import (
    FEE,
    MINUTES,
    PRODUCT,
    a_plan_body,
    make,
    make_plan,
    pointers,
    publish,
)
from tests.support.catalog import NOW
from tests.support.service_under_test import ServiceUnderTest, new_tenant

BOTH = ("catalog:read", "catalog:write")


async def hear_of_meter(catalog: ServiceUnderTest, tenant: str, code: str = "flying-minutes") -> None:
    event = MeterDefinedV1(
        tenant=tenant, occurred_at=NOW, meter_id="mtr_1", code=code, aggregation="sum", unit="minute"
    )
    uow: CatalogUnitOfWork
    async with catalog.parts.worker_units.open(tenant, "event:test") as uow:
        await on_meter_defined(event, uow)


async def test_a_plan_lives_from_draft_to_retirement(catalog: ServiceUnderTest, tenant: str) -> None:
    await hear_of_meter(catalog, tenant)
    async with catalog.client(tenant, *BOTH) as client:
        product = await make(client, "/v1/products", PRODUCT)
        made = await client.post("/v1/plans", json=a_plan_body(FEE, MINUTES, external_id="crm-1"))
        plan, path = made.json(), made.headers["location"]
        assert made.status_code == 201
        assert (plan["status"], plan["published_number"], plan["plan_version_id"]) == ("draft", None, None)
        fee, minutes = plan["draft"]["prices"]
        assert (fee["product_id"], fee["timing"], fee["unit_amount"]) == (product["id"], "advance", "1200")
        assert (minutes["timing"], minutes["unit"], minutes["description"]) == (
            "arrears",
            "minute",
            "Flying minutes",
        )

        first = await publish(client, plan["id"])
        again = await publish(client, plan["id"])
        assert (first["outcome"], again["outcome"]) == ("published", "unchanged")
        assert again["plan_version"] == first["plan_version"]
        assert first["plan_version"]["prices"][1]["tiers"] == [
            {"up_to": "100000", "unit_amount": "5.2", "flat_amount": None},
            {"up_to": "500000", "unit_amount": "4.75", "flat_amount": None},
            {"up_to": None, "unit_amount": "4.35", "flat_amount": None},
        ]

        draft = {"name": "Power", "prices": [{**FEE, "unit_amount": "1300"}]}
        unnamed = await client.put(f"{path}/draft", json=draft)
        passed = await client.put(f"{path}/draft", json=draft, headers={"if-match": '"1"'})
        replaced = await client.put(f"{path}/draft", json=draft, headers={"if-match": '"2"'})
        assert (unnamed.status_code, passed.status_code, replaced.status_code) == (428, 412, 200)
        assert replaced.json()["plan_version_id"] == first["plan_version"]["id"]

        second = await publish(client, plan["id"])
        assert (second["outcome"], second["plan_version"]["number"]) == ("published", 2)
        versions = (await client.get(f"{path}/versions")).json()["data"]
        assert versions == [first["plan_version"], second["plan_version"]]
        shown = await client.get(f"{path}/versions/1")
        assert shown.json() == first["plan_version"]
        kept = await client.get(f"{path}/versions/1", headers={"if-none-match": shown.headers["etag"]})
        assert kept.status_code == 304
        assert (await client.get(f"{path}/versions/3")).json()["code"] == "plan_version_not_found"

        retired = await client.post(f"{path}/retirement")
        assert (retired.json()["status"], retired.status_code) == ("retired", 200)
        assert (await client.post(f"{path}/retirement")).json() == retired.json()
        assert (await client.post(f"{path}/publications")).json()["code"] == "plan_retired"
        assert (await client.get(path)).json() == retired.json()


async def test_every_fault_of_a_plan_is_listed(catalog: ServiceUnderTest, tenant: str) -> None:
    body = a_plan_body(
        {**FEE, "product": "no-such", "timing": "arrears"},
        {**FEE, "unit_amount": "-0.0000000000001"},
        {
            **MINUTES,
            "meter": "no-such",
            "tiers": [
                {"up_to": "500", "unit_amount": "1"},
                {"up_to": "100", "unit_amount": "1"},
                {"up_to": "900", "unit_amount": "1"},
            ],
        },
        {
            "code": "odd",
            "product": PRODUCT["code"],
            "kind": "usage",
            "model": "package",
            "package_size": "10",
        },
        currency="XYZ",
    )
    async with catalog.client(tenant, *BOTH) as client:
        await make(client, "/v1/products", PRODUCT)
        answer = await client.post("/v1/plans", json=body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "plan_invalid"
    assert pointers(answer) == [
        "/prices/0/product",
        "/currency",
        "/prices/0/timing",
        "/prices/1/code",
        "/prices/1/unit_amount",
        "/prices/1/unit_amount",
        "/prices/2/tiers/1/up_to",
        "/prices/2/tiers/2/up_to",
        "/prices/3/model",
        "/prices/3/unit_amount",
        "/prices/3/meter",
        "/prices/2/meter",
    ]
    assert all(error["detail"] for error in answer.json()["errors"])


async def test_a_meter_that_is_heard_of_a_moment_later_is_waited_for(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        await make(client, "/v1/products", PRODUCT)
        asked = asyncio.create_task(client.post("/v1/plans", json=a_plan_body(MINUTES)))
        await asyncio.sleep(0.3)
        assert not asked.done()
        await hear_of_meter(catalog, tenant)
        assert (await asked).status_code == 201


async def test_a_meter_that_is_never_heard_of_is_refused_after_a_bounded_wait(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        await make(client, "/v1/products", PRODUCT)
        await hear_of_meter(catalog, new_tenant())  # another tenant's meter is none
        started = time.monotonic()
        answer = await client.post("/v1/plans", json=a_plan_body(MINUTES))
    assert 2.5 < time.monotonic() - started < 6
    assert (answer.status_code, answer.json()["code"]) == (422, "meter_unknown")
    assert pointers(answer) == ["/prices/0/meter"]


async def test_two_publications_at_once_make_one_version(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        plan = await make_plan(client)
        outcomes = await asyncio.gather(*[publish(client, plan["id"]) for _ in range(4)])
        versions = (await client.get(f"/v1/plans/{plan['id']}/versions")).json()["data"]
    assert sorted(outcome["outcome"] for outcome in outcomes) == ["published", *["unchanged"] * 3]
    assert len(versions) == 1
    assert all(outcome["plan_version"] == versions[0] for outcome in outcomes)


async def test_publishing_with_a_key_gets_the_same_answer_again(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        path = f"/v1/plans/{(await make_plan(client))['id']}"
        headers = {"idempotency-key": "publish-1"}
        first = await client.post(f"{path}/publications", headers=headers)
        again = await client.post(f"{path}/publications", headers=headers)
        passed = await client.post(f"{path}/publications", headers={"if-match": '"1"'})
    assert first.json()["outcome"] == "published"
    assert again.content == first.content
    assert first.headers["etag"] == '"2"'
    assert passed.status_code == 412


async def test_currency_and_interval_are_fixed_once_published(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        plan = await make_plan(client)
        path = f"/v1/plans/{plan['id']}"
        draft: dict[str, Any] = {"name": "Power", "currency": "EUR", "prices": [FEE]}
        before = await client.put(f"{path}/draft", json=draft, headers={"if-match": '"1"'})
        await publish(client, plan["id"])
        after = await client.put(
            f"{path}/draft", json={**draft, "currency": "USD"}, headers={"if-match": '"3"'}
        )
    assert before.json()["draft"]["currency"] == "EUR"
    assert (after.status_code, after.json()["code"]) == (422, "plan_terms_fixed")
    assert pointers(after) == ["/currency"]


async def test_a_plan_code_is_one_tenants_once(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        await make_plan(client)
        answer = await client.post("/v1/plans", json=a_plan_body())
    assert (answer.status_code, answer.json()["code"]) == (409, "plan_code_taken")


async def test_another_tenants_plan_is_not_there(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        path = f"/v1/plans/{(await make_plan(client))['id']}"
        await client.post(f"{path}/publications")
    draft = {"name": "x", "prices": [FEE]}
    async with catalog.client(new_tenant(), *BOTH) as stranger:
        await make(stranger, "/v1/products", PRODUCT)
        answers = [
            await stranger.get(path),
            await stranger.put(f"{path}/draft", json=draft, headers={"if-match": "*"}),
            await stranger.post(f"{path}/publications"),
            await stranger.get(f"{path}/versions"),
            await stranger.get(f"{path}/versions/1"),
            await stranger.post(f"{path}/retirement"),
        ]
        assert (await stranger.get("/v1/plans")).json()["data"] == []
        foreign = await stranger.post("/v1/plans", json=a_plan_body(FEE | {"product": "other"}))
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert pointers(foreign) == ["/prices/0/product"]


async def test_plans_are_listed_by_what_they_are(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        first = await make_plan(client, external_id="crm-1")
        second = await make(client, "/v1/plans", a_plan_body(code="second"))
        await publish(client, second["id"])

        async def ids(**filters: Any) -> list[str]:
            return [plan["id"] for plan in (await client.get("/v1/plans", params=filters)).json()["data"]]

        assert await ids() == [first["id"], second["id"]]
        assert await ids(status="published") == [second["id"]]
        assert await ids(status="draft") == [first["id"]]
        assert await ids(code="second") == [second["id"]]
        assert await ids(external_id="crm-1") == [first["id"]]
