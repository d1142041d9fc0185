"""Sellers and payment methods over HTTP, with real tokens and a real database."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from libs.common.ids import new_id
from tests.integration.billing.workbench import Workbench
from tests.support.billing import Story
from tests.support.service_under_test import ServiceUnderTest

BOTH = ("billing:read", "billing:write")
SELLER: dict[str, Any] = {"code": "main", "name": "Engines Inc.", "country": "US"}


def once(key: str = "1") -> dict[str, str]:
    return {"idempotency-key": key}


def pointers(answer: httpx.Response) -> list[str]:
    return [error["pointer"] for error in answer.json()["errors"]]


async def test_a_seller_is_made_once_for_each_key(billing: ServiceUnderTest, tenant: str) -> None:
    async with billing.client(tenant, *BOTH) as client:
        answer = await client.post("/v1/sellers", json=SELLER, headers=once())
        again = await client.post("/v1/sellers", json=SELLER, headers=once())
        other_body = await client.post("/v1/sellers", json={**SELLER, "name": "x"}, headers=once())
        same_code = await client.post("/v1/sellers", json=SELLER, headers=once("2"))
        second = await client.post("/v1/sellers", json={**SELLER, "code": "nl"}, headers=once("3"))
        shown = await client.get(answer.headers["location"])
        unchanged = await client.get(answer.headers["location"], headers={"if-none-match": '"1"'})
        listed = (await client.get("/v1/sellers")).json()["data"]
    made = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    assert (made["number_prefix"], made["payment_terms_days"], made["is_default"]) == ("INV-", 14, True)
    assert again.content == answer.content
    assert other_body.status_code == 422
    assert (same_code.status_code, same_code.json()["code"]) == (409, "seller_code_taken")
    assert pointers(same_code) == ["/code"]
    assert second.json()["is_default"] is False
    assert (shown.json(), unchanged.status_code) == (made, 304)
    assert listed == [made, second.json()]


async def test_the_first_seller_issues_what_waited(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = Story(tenant, metered=False)
    await bench.hear(story.started())
    async with billing.client(tenant, *BOTH) as client:
        await client.post("/v1/sellers", json=SELLER, headers=once())
        await bench.jobs()[0].run_once()
        (invoice,) = (await client.get("/v1/invoices")).json()["data"]
    assert (invoice["status"], invoice["number"]) == ("finalized", "INV-000001")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({**SELLER, "id": "sel_mine"}, "/id"),
        ({**SELLER, "is_default": True}, "/is_default"),
        ({**SELLER, "country": "usa"}, "/country"),
        ({**SELLER, "number_prefix": "inv 1"}, "/number_prefix"),
        ({**SELLER, "payment_terms_days": -1}, "/payment_terms_days"),
        ({**SELLER, "payment_terms_days": "14"}, "/payment_terms_days"),
        ({k: v for k, v in SELLER.items() if k != "name"}, "/name"),
    ],
)
async def test_a_wrong_field_of_a_seller_is_pointed_at(
    billing: ServiceUnderTest, tenant: str, body: dict[str, Any], pointer: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        answer = await client.post("/v1/sellers", json=body, headers=once())
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert pointers(answer) == [pointer]


async def test_a_payment_method_is_added_and_shown(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = Story(tenant)
    await bench.know_tenant(tenant)
    await bench.know_customer(story)
    body = {"customer_id": story.customer.customer_id}
    async with billing.client(tenant, *BOTH) as client:
        answer = await client.post("/v1/payment-methods", json=body, headers=once())
        again = await client.post("/v1/payment-methods", json=body, headers=once())
        newer = await client.post(
            "/v1/payment-methods", json={**body, "behaviour": "fails_once"}, headers=once("2")
        )
        shown = (await client.get(answer.headers["location"])).json()
        listed = (await client.get("/v1/payment-methods", params=body)).json()["data"]
    assert (answer.status_code, again.content) == (201, answer.content)
    assert (answer.json()["gateway"], answer.json()["behaviour"]) == ("sandbox", "succeeds")
    assert shown == {**answer.json(), "is_default": False, "version": 2}
    assert listed == [shown, newer.json()]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"customer_id": "cus_x"}, "/customer_id"),
        ({"gateway": "bank"}, "/gateway"),
        ({"behaviour": "explodes"}, "/behaviour"),
        ({"is_default": True}, "/is_default"),
    ],
)
async def test_a_wrong_field_of_a_payment_method_is_pointed_at(
    billing: ServiceUnderTest, tenant: str, changes: dict[str, Any], pointer: str
) -> None:
    body = {"customer_id": new_id("cus"), **changes}
    async with billing.client(tenant, *BOTH) as client:
        answer = await client.post("/v1/payment-methods", json=body, headers=once())
    assert (answer.status_code, pointers(answer)) == (422, [pointer])


async def test_a_customer_made_a_moment_ago_is_waited_for(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = Story(tenant)
    body = {"customer_id": story.customer.customer_id}
    async with billing.client(tenant, *BOTH) as client:
        asking = asyncio.create_task(client.post("/v1/payment-methods", json=body, headers=once()))
        await asyncio.sleep(0.1)
        await bench.know_tenant(tenant)
        await asyncio.sleep(0.1)
        await bench.know_customer(story)
        assert (await asking).status_code == 201


async def test_the_sandbox_gateway_is_for_sandboxes(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = Story(tenant)
    await bench.know_tenant(tenant, "live")
    await bench.know_customer(story)
    async with billing.client(tenant, *BOTH) as client:
        answer = await client.post(
            "/v1/payment-methods", json={"customer_id": story.customer.customer_id}, headers=once()
        )
    assert (answer.status_code, answer.json()["code"], pointers(answer)) == (
        422,
        "sandbox_only",
        ["/gateway"],
    )


async def test_the_ledger_is_listed_in_pages(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    await bench.hear(*[Story(tenant, metered=False).started() for _ in range(3)])
    async with billing.client(tenant, "billing:read") as client:
        pages = [await client.get("/v1/ledger-entries", params={"limit": 7})]
        while (following := pages[-1].json()["next_cursor"]) is not None:
            pages.append(await client.get("/v1/ledger-entries", params={"limit": 7, "cursor": following}))
        receivable = await client.get("/v1/ledger-entries", params={"account": "accounts_receivable"})
    entries = [entry for page in pages for entry in page.json()["data"]]
    assert (len(pages), len(entries), len({entry["id"] for entry in entries})) == (2, 12, 12)
    assert [entry["amount"]["amount"] for entry in receivable.json()["data"]] == ["2400.00"] * 3


async def test_a_payment_method_is_removed_and_the_newest_other_follows(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    """Whether there is one to collect from is told when that changes, and in the order in which it did."""
    story = Story(tenant)
    customer_id = story.customer.customer_id
    await bench.know_tenant(tenant)
    await bench.know_customer(story)
    path = "/v1/payment-methods"
    async with billing.client(tenant, *BOTH) as client:
        made = [
            (await client.post(path, json={"customer_id": customer_id}, headers=once(str(key)))).json()["id"]
            for key in range(2)
        ]
        unnamed = await client.delete(f"{path}/{made[1]}")
        stale = await client.delete(f"{path}/{made[1]}", headers={"if-match": '"9"'})
        removed = await client.delete(f"{path}/{made[1]}", headers={"if-match": '"1"'})
        left = (await client.get(path, params={"customer_id": customer_id})).json()["data"]
        again = [
            await client.get(f"{path}/{made[1]}"),
            await client.delete(f"{path}/{made[1]}", headers={"if-match": "*"}),
        ]
        await client.delete(f"{path}/{made[0]}", headers={"if-match": "*"})
        await client.post(path, json={"customer_id": customer_id}, headers=once("3"))
    assert (unnamed.status_code, stale.status_code, removed.status_code) == (428, 412, 204)
    assert [(method["id"], method["is_default"]) for method in left] == [(made[0], True)]
    assert [answer.status_code for answer in again] == [404, 404]
    told = [row for row in await bench.told(tenant) if "payment_method" in row["type"]]
    assert [(row["aggregate_id"], row["aggregate_version"]) for row in told] == [
        (customer_id, 1),
        (customer_id, 4),
        (customer_id, 5),
    ]
    assert [b'"has_payment_method":true' in row["data"] for row in told] == [True, False, True]


async def test_two_methods_that_are_removed_at_once_leave_none(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = Story(tenant)
    await bench.know_customer(story)
    methods = [await bench.add_method(story) for _ in range(3)]
    async with billing.client(tenant, *BOTH) as client:
        answers = await asyncio.gather(
            *[
                client.delete(f"/v1/payment-methods/{method.id}", headers={"if-match": "*"})
                for method in methods
            ]
        )
    assert [answer.status_code for answer in answers] == [204] * 3
    told = [row["data"] for row in await bench.told(tenant) if "payment_method" in row["type"]]
    assert [b'"has_payment_method":true' in data for data in told] == [True, False]
