"""A whole catalog as one document, over HTTP and on a real database."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest_asyncio

from libs.common.documents.yaml_reading import read_yaml
from libs.common.persistence.session import asyncpg_dsn
from libs.common.web import calls
from tests.integration.catalog.asking import pointers
from tests.support.service_under_test import ServiceUnderTest, new_tenant

DOCUMENT: dict[str, Any] = {
    "perennial_catalog": 1,
    "products": [
        {"code": "luminaire", "name": "Luminaire", "kind": "goods", "unit": "luminaire"},
        {"code": "service", "name": "Service", "kind": "service"},
    ],
    "features": [{"code": "sensors", "name": "Sensors", "kind": "switch"}],
    "plans": [
        {
            "code": "light",
            "name": "Light",
            "currency": "EUR",
            "interval": {"unit": "month"},
            "prices": [
                {
                    "code": "luminaires",
                    "product": "luminaire",
                    "kind": "recurring",
                    "model": "per_unit",
                    "unit_amount": "3.20",
                }
            ],
            "features": [{"feature": "sensors"}],
        },
        {
            "code": "help",
            "name": "Help",
            "kind": "add_on",
            "for_plans": ["light"],
            "currency": "EUR",
            "interval": {"unit": "month"},
            "prices": [
                {
                    "code": "help",
                    "product": "service",
                    "kind": "one_time",
                    "model": "flat",
                    "unit_amount": "50",
                }
            ],
        },
    ],
    "coupons": [
        {"code": "half", "name": "Half", "percent": "50", "duration": "once", "products": ["luminaire"]}
    ],
}
COUNTED = ("outbox", "change_log", "plan_version", "price")


@pytest_asyncio.fixture
async def client(catalog: ServiceUnderTest, tenant: str) -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(catalog, tenant) as client:
        yield client


def a_client(catalog: ServiceUnderTest, tenant: str) -> httpx.AsyncClient:
    return catalog.client(tenant, "catalog:read", "catalog:write")


def a_document(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(DOCUMENT), **changes}


async def ask(client: httpx.AsyncClient, document: Any, **query: str) -> httpx.Response:
    return await client.post("/v1/catalog-imports", json=document, params=query)


async def imported(client: httpx.AsyncClient, document: Any, **query: str) -> dict[str, Any]:
    """Done, and not only tried."""
    answer = await ask(client, document, dry_run="false", **query)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    assert told["applied"]
    return told


async def exported(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/v1/catalog-export")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def actions(told: dict[str, Any]) -> dict[str, str]:
    return {f"{thing['kind']} {thing['code']}": thing["action"] for thing in told["things"]}


@asynccontextmanager
async def rows_of(catalog: ServiceUnderTest) -> AsyncIterator[asyncpg.Connection[Any]]:
    """The tables, past all policies."""
    connection = await asyncpg.connect(asyncpg_dsn(catalog.database.admin_dsn))
    try:
        yield connection
    finally:
        await connection.close()


async def counts(catalog: ServiceUnderTest, tenant: str) -> dict[str, int]:
    async with rows_of(catalog) as connection:
        return {
            table: await connection.fetchval(f"SELECT count(*) FROM {table} WHERE tenant = $1", tenant)
            for table in COUNTED
        }


async def test_a_dry_run_tells_what_an_import_does_and_changes_nothing(
    catalog: ServiceUnderTest, client: httpx.AsyncClient, tenant: str
) -> None:
    told = (await ask(client, DOCUMENT)).json()  # a dry run, unless it is said otherwise
    assert not told["applied"]
    assert set(actions(told).values()) == {"create"}
    assert set((await counts(catalog, tenant)).values()) == {0}
    assert (await client.get("/v1/products")).json()["data"] == []
    done = await imported(client, DOCUMENT)
    assert done == {**told, "applied": True}
    versions = {thing["code"]: thing["version"] for thing in done["things"] if thing["kind"] == "plan"}
    assert versions == {"light": 1, "help": 1}


async def test_a_second_import_changes_nothing_and_says_nothing(
    catalog: ServiceUnderTest, client: httpx.AsyncClient, tenant: str
) -> None:
    await imported(client, DOCUMENT)
    before = await counts(catalog, tenant)
    assert before == {"outbox": 6, "change_log": 8, "plan_version": 2, "price": 2}
    again = await imported(client, DOCUMENT)
    assert again["words"] == "Nothing changes."
    assert set(actions(again).values()) == {"unchanged"}
    assert await counts(catalog, tenant) == before


async def test_a_document_in_quarters_is_kept_in_months_and_is_the_same_the_next_time(
    client: httpx.AsyncClient,
) -> None:
    written = a_document()
    written["plans"][0]["interval"] = {"unit": "quarter"}
    written["plans"][0]["prices"][0]["interval"] = {"unit": "half_year"}
    written["plans"][1]["interval"] = {"unit": "half_year", "count": 2}
    await imported(client, written)
    light, help = sorted((await exported(client))["plans"], key=lambda plan: plan["code"], reverse=True)
    assert light["interval"] == {"unit": "month", "count": 3}
    assert light["prices"][0]["interval"] == {"unit": "month", "count": 6}
    assert help["interval"] == {"unit": "month", "count": 12}
    assert set(actions(await imported(client, written)).values()) == {"unchanged"}


async def test_what_changes_is_told_with_its_place_and_both_values(client: httpx.AsyncClient) -> None:
    await imported(client, DOCUMENT)
    changed = a_document()
    changed["plans"][0]["prices"][0]["unit_amount"] = "3.28"
    changed["products"][1]["name"] = "Our service"
    changed["coupons"][0]["redemptions_max"] = 10
    told = await imported(client, changed)
    assert told["counts"]["update"] == 4  # a price's words come from its product, hence the add-on's as well
    light = next(thing for thing in told["things"] if thing["code"] == "light")
    assert (light["action"], light["version"], light["pointer"]) == ("update", 2, "/plans/0")
    (change,) = light["changes"]
    assert change["pointer"] == "/plans/0/prices/0/unit_amount"
    assert (change["before"], change["after"]) == ("3.2", "3.28")
    assert "2.5 % more" in change["words"]


async def test_one_fault_and_nothing_is_changed_and_every_fault_is_told_at_once(
    catalog: ServiceUnderTest, client: httpx.AsyncClient, tenant: str
) -> None:
    wrong = a_document()
    wrong["products"][0]["gtin"] = "123"
    wrong["products"].append({"code": "service", "name": "Again", "kind": "service"})
    wrong["features"].append({"code": "count", "name": "Count", "kind": "metered"})
    wrong["plans"][0]["prices"][0]["unit_amout"] = wrong["plans"][0]["prices"][0].pop("unit_amount")
    wrong["plans"][1]["prices"][0] |= {"model": "graduated", "product": "nothing"}
    wrong["coupons"][0]["plans"] = ["light", "dark"]
    for dry_run in ("true", "false"):
        answer = await ask(client, wrong, dry_run=dry_run)
        assert answer.status_code == 422
        assert answer.json()["code"] == "catalog_invalid"
        assert sorted(pointers(answer)) == [
            "/coupons/0/plans/1",
            "/features/1/meter",
            "/plans/0/prices/0/unit_amout",
            "/plans/1/prices/0/product",
            "/plans/1/prices/0/tiers",
            "/plans/1/prices/0/unit_amount",
            "/products/0/gtin",
            "/products/2/code",
        ]
        assert "did you mean unit_amount?" in answer.text
    assert set((await counts(catalog, tenant)).values()) == {0}


async def test_an_archived_product_or_a_fixed_term_is_refused_with_its_place(
    client: httpx.AsyncClient,
) -> None:
    await imported(client, DOCUMENT)
    product = (await client.get("/v1/products", params={"code": "luminaire"})).json()["data"][0]
    await client.post(f"/v1/products/{product['id']}/archival")
    changed = a_document()
    changed["products"][0]["name"] = "Another"
    changed["products"][1]["kind"] = "goods"
    changed["plans"][1]["interval"] = {"unit": "year"}
    answer = await ask(client, changed)
    assert pointers(answer) == ["/products/0", "/products/1/kind", "/plans/1/interval"]
    assert "another code" in answer.json()["errors"][0]["detail"]


async def test_what_is_not_in_the_document_stays_unless_it_is_pruned(
    catalog: ServiceUnderTest, client: httpx.AsyncClient, tenant: str
) -> None:
    await imported(client, DOCUMENT)
    rest = a_document(features=[], coupons=[], plans=[copy.deepcopy(DOCUMENT["plans"][0])])
    rest["products"].pop()
    rest["plans"][0].pop("features")
    left = await imported(client, rest)
    assert left["counts"] == {**dict.fromkeys(left["counts"], 0), "update": 1, "unchanged": 1}
    pruned = await imported(client, rest, prune="true")
    assert actions(pruned) == {
        "product luminaire": "unchanged",
        "plan light": "unchanged",
        "coupon half": "archive",
        "plan help": "withdraw",
        "feature sensors": "archive",
        "product service": "archive",
    }
    assert all(thing["pointer"] is None for thing in pruned["things"] if thing["action"] != "unchanged")
    assert (await imported(client, rest, prune="true"))["words"] == "Nothing changes."
    (version,) = (await client.get(f"/v1/plans/{await id_of(client, 'help')}/versions")).json()["data"]
    assert version["status"] == "withdrawn"


async def test_with_prune_nothing_may_be_named_that_is_not_in_the_document(
    client: httpx.AsyncClient,
) -> None:
    await imported(client, DOCUMENT)
    answer = await ask(client, a_document(products=[], features=[]), prune="true")
    assert sorted(pointers(answer)) == [
        "/coupons/0/products/0",
        "/plans/0/features/0/feature",
        "/plans/0/prices/0/product",
        "/plans/1/prices/0/product",
    ]


async def test_a_plan_that_was_withdrawn_is_put_on_sale_again(client: httpx.AsyncClient) -> None:
    await imported(client, DOCUMENT)
    path = f"/v1/plans/{await id_of(client, 'light')}/versions/1"
    assert (await client.post(f"{path}/withdrawal")).status_code == 200
    told = await imported(client, DOCUMENT)
    assert {**actions(told), "plan light": ""} == {
        **dict.fromkeys(actions(told), "unchanged"),
        "plan light": "",
    }
    light = next(thing for thing in told["things"] if thing["code"] == "light")
    assert (light["action"], light["version"]) == ("reinstate", 1)
    assert (await client.get(path)).json()["status"] == "on_sale"


async def test_an_export_comes_back_unchanged_and_makes_the_same_catalog_elsewhere(
    catalog: ServiceUnderTest, client: httpx.AsyncClient
) -> None:
    await imported(client, DOCUMENT)
    told = await exported(client)
    assert [plan["code"] for plan in told["plans"]] == ["help", "light"]
    assert told["plans"][1]["prices"][0] == {**DOCUMENT["plans"][0]["prices"][0], "unit_amount": "3.2"}
    assert (await imported(client, told, prune="true"))["words"] == "Nothing changes."
    async with a_client(catalog, new_tenant()) as elsewhere:
        await imported(elsewhere, told)
        assert await exported(elsewhere) == told
        assert (await imported(elsewhere, DOCUMENT))["words"] == "Nothing changes."


async def test_an_export_can_be_yaml(client: httpx.AsyncClient) -> None:
    await imported(client, DOCUMENT)
    answer = await client.get("/v1/catalog-export", headers={"accept": "application/yaml"})
    assert answer.headers["content-type"].startswith("application/yaml")
    assert answer.headers["vary"] == "accept"
    read = read_yaml(answer.content).value
    assert read["plans"][1]["prices"][0]["unit_amount"] == "3.2"
    assert [plan["code"] for plan in read["plans"]] == ["help", "light"]


async def test_meters_of_a_document_are_taken_for_known_only_in_a_dry_run(
    catalog: ServiceUnderTest, client: httpx.AsyncClient, tenant: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(calls, "AWAIT_S", 0.1)
    metered = a_document(
        meters=[{"code": "hours", "event_type": "lit", "aggregation": "sum", "value": "/h", "unit": "h"}]
    )
    metered["plans"][0]["prices"][0] |= {"kind": "usage", "meter": "hours"}
    assert actions((await ask(client, metered)).json())["meter hours"] == "define"
    answer = await ask(client, metered, dry_run="false")
    assert (answer.status_code, answer.json()["code"]) == (422, "catalog_meter_unknown")
    assert pointers(answer) == ["/meters/0"]
    async with rows_of(catalog) as connection:
        await connection.execute(
            "INSERT INTO known_meter (tenant, code, meter_id, aggregation, unit, version) "
            "VALUES ($1, 'hours', 'mtr_1', 'sum', 'h', 1)",
            tenant,
        )
    assert actions(await imported(client, metered))["meter hours"] == "unchanged"
    metered["meters"][0] |= {"aggregation": "max", "unit": "hour"}
    answer = await ask(client, metered)
    assert pointers(answer) == ["/meters/0/aggregation"]
    assert "never changes" in answer.json()["errors"][0]["detail"]


async def test_the_same_document_twice_at_once_makes_everything_once(
    catalog: ServiceUnderTest, client: httpx.AsyncClient, tenant: str
) -> None:
    answers = await asyncio.gather(*(ask(client, DOCUMENT, dry_run="false") for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    refused = [answer.json()["code"] for answer in answers if answer.status_code == 409]
    assert set(refused) <= {"catalog_changed_meanwhile"}
    assert await counts(catalog, tenant) == {"outbox": 6, "change_log": 8, "plan_version": 2, "price": 2}


async def test_what_is_no_document_is_refused_where_it_is_none(client: httpx.AsyncClient) -> None:
    for document, wrong in (
        ([], [""]),
        ({"perennial_catalog": 2}, ["/perennial_catalog"]),
        ({"products": {}}, ["/perennial_catalog", "/products"]),
        ({"perennial_catalog": 1, "prodcts": []}, ["/prodcts"]),
        ({"perennial_catalog": 1, "plans": [None, 7]}, ["/plans/0", "/plans/1"]),
    ):
        answer = await ask(client, document)
        assert answer.status_code == 422, answer.text
        assert sorted(pointers(answer)) == wrong
    twice = b'{"perennial_catalog": 1, "products": [], "products": []}'
    answer = await client.post(
        "/v1/catalog-imports", content=twice, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422
    assert "products" in answer.json()["errors"][0]["detail"]


async def test_a_document_may_be_long_but_not_endless(client: httpx.AsyncClient) -> None:
    products = [{"code": f"p{n}", "name": "P", "kind": "goods"} for n in range(1_000)]
    long = await ask(client, a_document(products=[*DOCUMENT["products"], *products]))
    assert long.json()["counts"]["create"] == 1_006
    endless = [{"code": f"p{n}", "name": "P", "kind": "goods"} for n in range(5_001)]
    answer = await ask(client, {"perennial_catalog": 1, "products": endless})
    assert pointers(answer) == [""]
    assert "5000" in answer.text


async def id_of(client: httpx.AsyncClient, code: str) -> str:
    id: str = (await client.get("/v1/plans", params={"code": code})).json()["data"][0]["id"]
    return id
