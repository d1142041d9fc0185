"""Plans over HTTP, with real tokens and a real database."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from libs.common.contracts.metering import MeterDefinedV1
from libs.common.web import calls
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
    usage_price,
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
        assert [
            (tier["up_to"], tier["unit_amount"], tier["flat_amount"])
            for tier in first["plan_version"]["prices"][1]["tiers"]
        ] == [("100000", "5.2", None), ("500000", "4.75", None), (None, "4.35", None)]

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
        "/prices/1/code",
        "/prices/1/unit_amount",
        "/prices/1/unit_amount",
        "/prices/2/tiers/1/up_to",
        "/prices/2/tiers/2/up_to",
        "/prices/3/meter",
        "/prices/3/unit_amount",
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


async def test_a_quarter_is_three_months(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        plan = await make_plan(client, interval={"unit": "quarter"})
        wrong = await client.post("/v1/plans", json=a_plan_body(interval={"unit": "fortnight"}))
    assert plan["draft"]["interval"] == {"unit": "month", "count": 3}
    assert (wrong.status_code, pointers(wrong)) == (422, ["/interval/unit"])
    assert "quarter" in wrong.text


async def test_what_is_patched_changes_and_the_rest_stays(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        plan = await make_plan(client, external_id="crm-1", metadata={"a": "b"}, description="Words")
        path = f"/v1/plans/{plan['id']}"

        async def patch(version: int | None, **changes: Any) -> httpx.Response:
            headers = {"if-match": f'"{version}"'} if version else {}
            return await client.patch(path, json=changes, headers=headers)

        unnamed, passed = await patch(None, name="Other"), await patch(9, name="Other")
        assert (unnamed.status_code, passed.status_code) == (428, 412)
        named = (await patch(1, name="Other")).json()
        assert named == {
            **plan,
            "version": 2,
            "draft": {**plan["draft"], "name": "Other"},
        }
        assert (await patch(2)).json() == named
        taken = (await patch(2, description=None, external_id=None, metadata=None)).json()
        assert (taken["draft"]["description"], taken["external_id"], taken["metadata"]) == ("", None, {})
        trial = {"interval": {"unit": "day", "count": 14}, "amount": None, "requires_payment_method": False}
        tried = (await patch(3, trial=trial, prices=[{**FEE, "unit_amount": "7"}])).json()
        assert tried["draft"]["trial"] == trial
        assert [price["unit_amount"] for price in tried["draft"]["prices"]] == ["7"]
        late = {"policy": "note_at_once", "window_days": 35}
        assert (await patch(4, trial=None, late_usage=late)).json()["draft"]["late_usage"] == late
        put_back = (await patch(5, late_usage=None)).json()["draft"]
        assert (put_back["trial"], put_back["late_usage"]) == (
            None,
            {"policy": "next_invoice", "window_days": None},
        )

        nothing = await patch(6, name=None, prices=None, currency=None)
        assert (nothing.status_code, pointers(nothing)) == (422, ["/name", "/currency", "/prices"])
        wrong = await patch(6, currency="EUR")
        assert (wrong.json()["code"], pointers(wrong)) == ("plan_invalid", ["/currency"])


async def test_a_draft_that_is_replaced_keeps_kind_currency_and_interval_and_nothing_else(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    body = a_plan_body(kind="add_on", description="Words", trial={"interval": {"unit": "day", "count": 7}})
    async with catalog.client(tenant, *BOTH) as client:
        await make(client, "/v1/products", PRODUCT)
        plan = await make(client, "/v1/plans", body)
        replaced = await client.put(
            f"/v1/plans/{plan['id']}/draft",
            json={"name": "Power", "prices": [FEE]},
            headers={"if-match": '"1"'},
        )
    changed = {"name": "Power", "description": "", "trial": None}
    assert replaced.json()["draft"] == {**plan["draft"], **changed}
    assert replaced.json()["draft"]["kind"] == "add_on"


async def test_a_plan_may_have_every_part_and_every_way_to_charge(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    """What is written comes back in the draft, in the version, and in another plan made from what was shown."""
    await hear_of_meter(catalog, tenant)
    async with catalog.client(tenant, *BOTH) as client:
        await make(client, "/v1/products", PRODUCT)
        await make(client, "/v1/features", {"code": "seats", "name": "Seats", "kind": "limit"})
        base = await make(client, "/v1/plans", a_plan_body(code="base"))
        made = await make(client, "/v1/plans", EVERYTHING)
        version = (await publish(client, made["id"]))["plan_version"]
        shown = (await client.get(f"/v1/plans/{made['id']}/versions/1")).json()
        rewritten = rewritable(made["draft"])
        again = await client.put(f"/v1/plans/{made['id']}/draft", json=rewritten, headers={"if-match": "*"})
        assert (await publish(client, made["id"]))["outcome"] == "unchanged"
    assert base["draft"]["kind"] == "base"
    assert again.status_code == 200, again.text
    assert again.json()["draft"] == made["draft"]
    assert shown == version
    for name, part in made["draft"].items():
        if name != "prices":
            assert version[name] == part, name
    assert [without(price, "id") for price in version["prices"]] == made["draft"]["prices"]
    for written, drafted in zip(EVERYTHING["prices"], made["draft"]["prices"], strict=True):
        for name, value in written.items():
            if name not in ("product", "interval", "tiers", "allowance_interval", "unit_amount"):
                assert drafted[name] == value, (written["code"], name)
    assert len({price["id"] for price in version["prices"]}) == len(EVERYTHING["prices"])


def without(thing: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in thing.items() if name not in names}


def rewritable(draft: dict[str, Any]) -> dict[str, Any]:
    """A draft as it was shown, without what says only where something came from."""
    grants = [without(grant, "feature_id", "kind", "meter") for grant in draft["features"]]
    return {**draft, "features": grants}


EVERYTHING: dict[str, Any] = a_plan_body(
    FEE,
    {**FEE, "currency": "EUR", "unit_amount": "1100"},
    {**FEE, "code": "by-second", "proration": "second", "timing": "arrears", "interval": {"unit": "year"}},
    {"code": "setup", "product": "flying-minutes", "kind": "one_time", "model": "flat", "unit_amount": "99"},
    MINUTES,
    {**MINUTES, "code": "volume", "model": "volume", "charges_first_flat_at_zero": False},
    {
        **usage_price("blocks", "package"),
        "unit_amount": "5",
        "package_size": "100",
        "package_rounding": "down",
        "included_quantity": "12",
        "allowance_interval": {"unit": "year"},
        "rollover": {"cap": "3", "periods": 2},
        "minimum_amount": "1",
        "maximum_amount": "9",
    },
    {
        **usage_price("percent", "percentage"),
        "rate_percent": "2.9",
        "fixed_amount_per_event": "0.3",
        "free_events": 3,
        "free_amount": "100",
        "minimum_amount_per_event": "0.5",
        "maximum_amount_per_event": "5",
    },
    {
        **usage_price("rates", "graduated_percentage"),
        "tiers": [{"up_to": "10", "rate_percent": "3", "cap_amount": "1"}, {"rate_percent": "2"}],
    },
    {
        **usage_price("matrix", "matrix"),
        "dimensions": ["region", "size"],
        "cells": [
            {"values": ["eu", "*"], "unit_amount": "1"},
            {"values": ["*", "*"], "unit_amount": "2"},
        ],
    },
    {**usage_price("dynamic", "dynamic"), "unit_amount": "1.2"},
    {**usage_price("peak", "capacity"), "unit_amount": "1", "capacity_basis": "peak"},
    {**usage_price("reckoned", "expression"), "expression": "max(quantity * 0.5, event_count)"},
    {**usage_price("later", "per_unit"), "unit_amount": "1", "phase": "then", "tax_behavior": "inclusive"},
    code="everything",
    kind="add_on",
    for_plans=["base"],
    description="All of it",
    phases=[
        {"code": "ramp", "name": "Ramp", "periods": 3},
        {"code": "then", "name": "Then", "periods": None},
    ],
    trial={"interval": {"unit": "week", "count": 2}, "amount": "9", "requires_payment_method": True},
    commitments=[
        {
            "code": "least",
            "description": "At least",
            "currency": "USD",
            "price_codes": ["minutes", "volume"],
            "per": "year",
            "minimum_amount": "100",
        }
    ],
    features=[{"feature": "seats", "limit": "5"}],
)


async def test_the_examples_of_the_document_do_what_they_show(catalog: ServiceUnderTest, tenant: str) -> None:
    document = catalog.service.app.openapi()
    await hear_of_meter(catalog, tenant)

    async with catalog.client(tenant, *BOTH) as client:

        async def send(method: str, path: str, **values: str) -> httpx.Response:
            told = document["paths"][path][method]["requestBody"]["content"]["application/json"]
            headers = {"if-match": "*"} if method != "post" else {}
            address = path.format(**values)
            answer = await client.request(method, address, json=told["example"], headers=headers)
            assert answer.is_success, f"{method} {path}: {answer.text}"
            return answer

        await make(client, "/v1/products", PRODUCT)
        id = (await send("post", "/v1/plans")).json()["id"]
        await publish(client, id)
        await send("post", "/v1/plan-overlays")
        await send("patch", "/v1/plans/{plan_id}", plan_id=id)
        await send("put", "/v1/plans/{plan_id}/draft", plan_id=id)
        published = await send("post", "/v1/plans/{plan_id}/publications", plan_id=id)
    assert published.json()["plan_version"]["number"] == 2


ODD = (
    b'"a\\u0000b"',
    b'"a\\ud800b"',
    b'"\\u202e"',
    b'"9e9"',
    b'"' + b"9" * 19 + b'.5"',
    b"1e400",
    b"-1",
    b"{}",
    b"null",
)


async def test_nothing_odd_anywhere_in_a_plan_leads_to_an_error_of_ours(
    catalog: ServiceUnderTest, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "AWAIT_S", 0.0)  # no news will come of what was made up
    await hear_of_meter(catalog, tenant)
    tried = 0
    async with catalog.client(tenant, *BOTH) as client:
        await make(client, "/v1/products", PRODUCT)
        await make(client, "/v1/features", {"code": "seats", "name": "Seats", "kind": "limit"})
        await make(client, "/v1/plans", a_plan_body(code="base"))
        for number, place in enumerate(places_in(EVERYTHING)):
            for odd in ODD:
                body = put_at({**EVERYTHING, "code": f"odd-{number}-{tried}"}, place, "@odd@")
                content = json.dumps(body).encode().replace(b'"@odd@"', odd)
                answer = await client.post(
                    "/v1/plans", content=content, headers={"content-type": "application/json"}
                )
                assert answer.status_code < 500, f"{odd!r} at {place}: {answer.text}"
                if answer.status_code == 201:
                    published = await client.post(f"/v1/plans/{answer.json()['id']}/publications")
                    assert published.status_code == 200, f"{odd!r} at {place}: {published.text}"
                tried += 1
    assert tried > 1_000


def places_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places_in(part, (*place, name))
    else:
        yield place


def put_at(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    copied = json.loads(json.dumps(body))
    inner = copied
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return copied


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
            await stranger.patch(path, json={"name": "x"}, headers={"if-match": "*"}),
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
