"""Coupons and their redemptions over HTTP, with real tokens and a real database."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import text

from libs.common.access.tenancy import APP
from libs.common.ids import new_id
from libs.common.persistence.session import asyncpg_dsn
from libs.common.web import calls
from services.catalog.bootstrap import build
from services.catalog.domain.known_customer import KnownSubscription
from tests.integration.catalog.asking import PRODUCT, a_plan_body, make, make_plan, pointers
from tests.integration.catalog.test_events import sent_by
from tests.integration.catalog.test_operations import checks_of
from tests.support.postgres import PostgresForTests
from tests.support.service_under_test import ServiceUnderTest, new_tenant, service_under_test

BOTH = ("catalog:read", "catalog:write")
COUPONS, REDEMPTIONS = "/v1/coupons", "/v1/coupon-redemptions"
SPRING: dict[str, Any] = {"code": "spring", "name": "Spring", "percent": "25", "duration": "forever"}


async def know_customers(catalog: ServiceUnderTest, tenant: str, count: int = 1) -> list[str]:
    ids = [new_id("cus") for _ in range(count)]
    async with catalog.parts.worker_units.open(tenant, "test") as uow:
        for id in ids:
            uow.known_customers.put(id)
    return ids


async def redeem(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post(REDEMPTIONS, json=body, headers={"idempotency-key": new_id("key")})


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_coupon_lives_from_making_to_archival(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        await make_plan(client)
        (product,) = (await client.get("/v1/products")).json()["data"]
        written = {
            "code": "welcome",
            "name": "Ten dinars",
            "amount": {"amount": "10.500", "currency": "KWD"},
            "duration": "periods",
            "periods": 3,
            "plans": ["power"],
            "stacking_order": 7,
            "redemptions_max": 500,
            "redemptions_per_customer_max": 1,
            "valid_from": "2025-03-01T01:00:00+01:00",
            "valid_until": "2025-06-01T00:00:00Z",
            "metadata": {"campaign": "spring"},
        }
        answer = await client.post(COUPONS, json={**written, "products": [PRODUCT["code"], product["id"]]})
        made = answer.json()
        path = answer.headers["location"]
        assert (answer.status_code, path) == (201, f"{COUPONS}/{made['id']}"), answer.text
        assert made == {
            **written,
            "id": made["id"],
            "percent": None,
            "product_ids": [product["id"]],
            "valid_from": "2025-03-01T00:00:00Z",
            "version": 1,
            "created_at": made["created_at"],
            "archived_at": None,
        }
        assert (await client.get(path)).json() == made
        assert (await client.get(path, headers={"if-none-match": '"1"'})).status_code == 304

        body = {"percent": "12.50", "amount": None, "duration": "once", "periods": None, "products": []}
        changed = await client.patch(path, json=body, headers={"if-match": '"1"'})
        assert changed.json() == {
            **made,
            "percent": "12.5",
            "amount": None,
            "duration": "once",
            "periods": None,
            "product_ids": [],
            "version": 2,
        }
        archived = await client.post(f"{path}/archival")
        assert (await client.post(f"{path}/archival")).json() == archived.json()
        refused = await client.patch(path, json={"name": "x"}, headers={"if-match": "*"})
        assert refusal(refused) == (409, "coupon_archived")
    sent = [d for d in await sent_by(catalog, tenant) if d.headers["ce_type"].endswith("coupon.changed.v1")]
    told = [json.loads(delivery.value)["coupon"] for delivery in sent]
    assert [coupon["coupon_version"] for coupon in told] == [1, 2, 3]
    assert (told[0]["amount"], told[0]["currency"]) == ("10.500", "KWD")
    assert told[2]["is_archived"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"percent": "0"}, "/percent"),
        ({"percent": "100.1"}, "/percent"),
        ({"percent": "-1"}, "/percent"),
        ({"percent": "0.0000001"}, "/percent"),
        ({"percent": 25}, "/percent"),
        ({"percent": None}, "/percent"),
        ({"amount": {"amount": "5.00", "currency": "EUR"}}, "/percent"),
        ({"percent": None, "amount": {"amount": "5.001", "currency": "EUR"}}, "/amount"),
        ({"percent": None, "amount": {"amount": "5.5", "currency": "JPY"}}, "/amount"),
        ({"percent": None, "amount": {"amount": "5", "currency": "XAU"}}, "/amount/currency"),
        ({"percent": None, "amount": {"amount": "5"}}, "/amount/currency"),
        ({"percent": None, "amount": {"amount": "0.00", "currency": "EUR"}}, "/amount/amount"),
        ({"duration": "periods"}, "/periods"),
        ({"periods": 2}, "/periods"),
        ({"duration": "monthly"}, "/duration"),
        ({"products": ["other"]}, "/products/0"),
        ({"plans": ["other"]}, "/plans/0"),
        ({"plans": ["Not A Code"]}, "/plans/0"),
        ({"stacking_order": -1}, "/stacking_order"),
        ({"redemptions_max": 0}, "/redemptions_max"),
        ({"redemptions_max": True}, "/redemptions_max"),
        ({"valid_from": "2025-06-01T00:00:00Z", "valid_until": "2025-06-01T00:00:00Z"}, "/valid_until"),
        ({"valid_from": "2025-06-01T00:00:00"}, "/valid_from"),
        ({"colour": "blue"}, "/colour"),
    ],
)
async def test_a_wrong_field_is_pointed_at(
    catalog: ServiceUnderTest, tenant: str, changes: dict[str, Any], pointer: str
) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        answer = await client.post(COUPONS, json={**SPRING, **changes})
        assert (answer.status_code, pointers(answer)) == (422, [pointer]), answer.text
        assert (await client.get(COUPONS)).json()["data"] == []


async def test_every_fault_is_listed_at_once(catalog: ServiceUnderTest, tenant: str) -> None:
    body = {**SPRING, "percent": "120", "products": ["x", "y"], "plans": ["z"], "periods": 3}
    async with catalog.client(tenant, *BOTH) as client:
        answer = await client.post(COUPONS, json=body)
    assert pointers(answer) == ["/products/0", "/products/1", "/plans/0", "/percent", "/periods"]
    assert answer.json()["code"] == "coupon_invalid"


async def test_two_at_once_with_one_code_make_one(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        answers = await asyncio.gather(*[client.post(COUPONS, json=SPRING) for _ in range(4)])
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert (refused.json()["code"], pointers(refused)) == ("coupon_code_taken", ["/code"])


async def test_what_a_redeemed_coupon_is_worth_is_fixed(catalog: ServiceUnderTest, tenant: str) -> None:
    (customer_id,) = await know_customers(catalog, tenant)
    async with catalog.client(tenant, *BOTH) as client:
        coupon = await make(client, COUPONS, SPRING)
        path, any_version = f"{COUPONS}/{coupon['id']}", {"if-match": "*"}
        for _ in range(3):
            assert (await redeem(client, coupon="SPRING", customer_id=customer_id)).status_code == 201
        fixed = await client.patch(path, json={"percent": "30"}, headers=any_version)
        assert (refusal(fixed), pointers(fixed)) == ((422, "coupon_terms_fixed"), ["/percent"])
        low = await client.patch(path, json={"redemptions_max": 2}, headers=any_version)
        assert (refusal(low), pointers(low)) == ((422, "coupon_limit_too_low"), ["/redemptions_max"])
        body = {"name": "S", "redemptions_max": 3, "redemptions_per_customer_max": 3}
        changed = await client.patch(path, json=body, headers={"if-match": '"1"'})
        assert (changed.status_code, changed.json()["version"]) == (200, 2)
        full = await redeem(client, coupon_id=coupon["id"], customer_id=customer_id)
        assert refusal(full) == (409, "coupon_exhausted")


async def test_a_redemption_lives_from_redeeming_to_withdrawal(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    one, two = await know_customers(catalog, tenant, 2)
    subscription = KnownSubscription(new_id("sub"), one, None)
    async with catalog.parts.worker_units.open(tenant, "test") as uow:
        uow.known_customers.put_subscription(subscription)
    async with catalog.client(tenant, *BOTH) as client:
        coupon = await make(client, COUPONS, {**SPRING, "redemptions_per_customer_max": 1})
        body = {"coupon": "Spring", "customer_id": one, "subscription_id": subscription.id}
        headers = {"idempotency-key": "one"}
        answer = await client.post(REDEMPTIONS, json=body, headers=headers)
        made = answer.json()
        path = answer.headers["location"]
        assert (answer.status_code, path) == (201, f"{REDEMPTIONS}/{made['id']}"), answer.text
        assert made == {
            "id": made["id"],
            "coupon_id": coupon["id"],
            "coupon_version": 1,
            "customer_id": one,
            "subscription_id": subscription.id,
            "version": 1,
            "redeemed_at": made["redeemed_at"],
            "withdrawn_at": None,
        }
        again = await client.post(REDEMPTIONS, json=body, headers=headers)
        assert (again.content, again.headers["idempotent-replayed"]) == (answer.content, "true")
        twice = await redeem(client, coupon="spring", customer_id=one)
        assert refusal(twice) == (409, "coupon_exhausted_for_customer")
        other = (await redeem(client, coupon_id=coupon["id"], customer_id=two)).json()

        assert (await client.get(path)).json() == made
        stale = await client.post(f"{path}/withdrawal", headers={"if-match": '"2"'})
        assert stale.status_code == 412
        withdrawn = await client.post(f"{path}/withdrawal", headers={"if-match": '"1"'})
        assert withdrawn.json() == {**made, "version": 2, "withdrawn_at": withdrawn.json()["withdrawn_at"]}
        assert withdrawn.json()["withdrawn_at"] is not None
        assert (await client.post(f"{path}/withdrawal")).json() == withdrawn.json()
        anew = (await redeem(client, coupon="spring", customer_id=one)).json()

        async def ids(**filters: str) -> list[str]:
            answer = await client.get(REDEMPTIONS, params=filters)
            return [redemption["id"] for redemption in answer.json()["data"]]

        assert await ids() == [made["id"], other["id"], anew["id"]]
        assert await ids(coupon_id=coupon["id"], customer_id=one) == [made["id"], anew["id"]]
        assert await ids(subscription_id=subscription.id) == [made["id"]]
        assert await ids(withdrawn="true") == [made["id"]]
        assert await ids(withdrawn="false") == [other["id"], anew["id"]]
        assert await ids(coupon_id=new_id("cpn")) == []
    sent = [(d.headers["ce_type"].removeprefix("perennial.catalog."), json.loads(d.value)) for d in
            await sent_by(catalog, tenant)]  # fmt: skip
    assert [name for name, _ in sent] == [
        "coupon.changed.v1",
        "coupon.redeemed.v1",
        "coupon.redeemed.v1",
        "coupon.redemption_withdrawn.v1",
        "coupon.redeemed.v1",
    ]
    assert sent[1][1]["coupon"]["percent"] == "25"
    assert sent[3][1]["redemption_id"] == made["id"]


async def test_twenty_at_once_meet_the_limits(catalog: ServiceUnderTest, tenant: str) -> None:
    customers = await know_customers(catalog, tenant, 10)
    limits = {"redemptions_max": 5, "redemptions_per_customer_max": 1}
    async with catalog.client(tenant, *BOTH) as client:
        coupon = await make(client, COUPONS, {**SPRING, **limits})
        answers = await asyncio.gather(
            *[redeem(client, coupon="spring", customer_id=customer) for customer in customers * 2]
        )
        assert Counter(answer.status_code for answer in answers) == {201: 5, 409: 15}
        codes = {answer.json()["code"] for answer in answers if answer.status_code == 409}
        assert codes <= {"coupon_exhausted", "coupon_exhausted_for_customer"}
        redeemers = [answer.json()["customer_id"] for answer in answers if answer.status_code == 201]
        assert len(set(redeemers)) == 5
        available = (await client.get(f"{COUPONS}/{coupon['id']}/availability")).json()
    assert available == {
        "coupon_id": coupon["id"],
        "redeemable": False,
        "refusal": "coupon_exhausted",
        "redeemed_count": 5,
        "customer_redeemed_count": None,
    }


async def test_only_what_is_there_and_valid_can_be_redeemed(
    catalog: ServiceUnderTest, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "AWAIT_S", 0.0)
    (customer_id,) = await know_customers(catalog, tenant)
    async with catalog.client(tenant, *BOTH) as client:
        await make(client, COUPONS, {**SPRING, "code": "later", "valid_from": "2199-01-01T00:00:00Z"})
        await make(client, COUPONS, {**SPRING, "code": "past", "valid_until": "2001-01-01T00:00:00Z"})
        gone = await make(client, COUPONS, {**SPRING, "code": "gone"})
        await client.post(f"{COUPONS}/{gone['id']}/archival")
        await make(client, COUPONS, SPRING)
        expected: list[tuple[dict[str, Any], tuple[int, str]]] = [
            ({"coupon": "later"}, (422, "coupon_not_valid_yet")),
            ({"coupon": "past"}, (422, "coupon_expired")),
            ({"coupon": "gone"}, (409, "coupon_archived")),
            ({"coupon": "none"}, (404, "coupon_not_found")),
            ({"coupon_id": new_id("cpn")}, (404, "coupon_not_found")),
            ({"coupon": "spring", "customer_id": new_id("cus")}, (404, "customer_not_found")),
            ({"coupon": "spring", "subscription_id": new_id("sub")}, (404, "subscription_not_found")),
        ]
        for body, refused in expected:
            answer = await redeem(client, **{"customer_id": customer_id, **body})
            assert refusal(answer) == refused, body
            assert "coupon_id" in body or answer.json()["remedy"]
        unnamed = await redeem(client, customer_id=customer_id)
        both = await redeem(client, customer_id=customer_id, coupon="spring", coupon_id=gone["id"])
        assert [answer.status_code for answer in (unnamed, both)] == [422, 422]
        keyless = await client.post(REDEMPTIONS, json={"coupon": "spring", "customer_id": customer_id})
        assert keyless.status_code == 400
        assert (await client.get(REDEMPTIONS)).json()["data"] == []


async def test_a_customer_who_is_heard_of_meanwhile_is_waited_for(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    late = new_id("cus")
    async with catalog.client(tenant, *BOTH) as client:
        await make(client, COUPONS, SPRING)
        asked = asyncio.create_task(redeem(client, coupon="spring", customer_id=late))
        await asyncio.sleep(0.1)
        async with catalog.parts.worker_units.open(tenant, "test") as uow:
            uow.known_customers.put(late)
        assert (await asked).status_code == 201


async def test_another_tenants_coupons_are_not_there(
    catalog: ServiceUnderTest, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "AWAIT_S", 0.0)
    (customer_id,) = await know_customers(catalog, tenant)
    async with catalog.client(tenant, *BOTH) as client:
        coupon = await make(client, COUPONS, SPRING)
        made = (await redeem(client, coupon="spring", customer_id=customer_id)).json()
    other = new_tenant()
    (theirs,) = await know_customers(catalog, other)
    async with catalog.client(other, *BOTH) as stranger:
        coupon_path, path = f"{COUPONS}/{coupon['id']}", f"{REDEMPTIONS}/{made['id']}"
        answers = [
            await stranger.get(coupon_path),
            await stranger.get(f"{coupon_path}/availability"),
            await stranger.patch(coupon_path, json={"name": "x"}, headers={"if-match": "*"}),
            await stranger.post(f"{coupon_path}/archival"),
            await stranger.get(path),
            await stranger.post(f"{path}/withdrawal"),
            await redeem(stranger, coupon="spring", customer_id=theirs),
            await redeem(stranger, coupon_id=coupon["id"], customer_id=theirs),
        ]
        assert [answer.status_code for answer in answers] == [404] * len(answers)
        await make(stranger, COUPONS, SPRING)
        assert refusal(await redeem(stranger, coupon="spring", customer_id=customer_id)) == (
            404,
            "customer_not_found",
        )
        assert (await stranger.get(REDEMPTIONS)).json()["data"] == []


async def test_a_coupon_for_a_plan_of_another_tenant_is_refused(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    async with catalog.client(new_tenant(), *BOTH) as stranger:
        await make(stranger, "/v1/products", PRODUCT)
        await make(stranger, "/v1/plans", a_plan_body())
    async with catalog.client(tenant, *BOTH) as client:
        answer = await client.post(
            COUPONS, json={**SPRING, "plans": ["power"], "products": [PRODUCT["code"]]}
        )
    assert pointers(answer) == ["/products/0", "/plans/0"]


async def test_who_did_what_is_noted(catalog: ServiceUnderTest, tenant: str) -> None:
    (customer_id,) = await know_customers(catalog, tenant)
    async with catalog.client(tenant, *BOTH, token_id="tok_shop") as client:
        await make(client, COUPONS, SPRING)
        made = (await redeem(client, coupon="spring", customer_id=customer_id)).json()
        await client.post(f"{REDEMPTIONS}/{made['id']}/withdrawal")
    async with catalog.parts.worker_database.transaction(APP, tenant) as connection:
        wanted = text("SELECT actor, action, aggregate_version FROM change_log ORDER BY position")
        found = [tuple(row) for row in (await connection.execute(wanted)).all()]
    assert found == [
        ("token:tok_shop", "coupon.created", 1),
        ("token:tok_shop", "coupon.redeemed", 1),
        ("token:tok_shop", "coupon.redemption_withdrawn", 2),
    ]


async def test_the_audit_counts_redemptions_once_more(postgres: PostgresForTests, tmp_path: Any) -> None:
    async with service_under_test(postgres, "catalog", build, folder=tmp_path) as catalog:
        tenant = new_tenant()
        one, two = await know_customers(catalog, tenant, 2)
        async with catalog.client(tenant, *BOTH) as client:
            await make(client, COUPONS, {**SPRING, "code": "never-redeemed"})
            coupon = await make(client, COUPONS, SPRING)
            for customer_id in (one, two, two):
                made = (await redeem(client, coupon="spring", customer_id=customer_id)).json()
            await client.post(f"{REDEMPTIONS}/{made['id']}/withdrawal")
        check = (await checks_of(catalog))["coupon_redemptions"]
        assert (check["ok"], check["checked_count"]) == (True, 2)

        for statement, problem_count in (
            ("UPDATE coupon SET redeemed_count = 3 WHERE id = $1", 1),
            ("UPDATE coupon_customer SET redeemed_count = 2 WHERE coupon_id = $1", 3),
            ("DELETE FROM coupon_customer WHERE coupon_id = $1", 3),
            ("UPDATE coupon_redemption SET withdrawn_at = now() WHERE coupon_id = $1", 1),
        ):
            admin = await asyncpg.connect(asyncpg_dsn(catalog.database.admin_dsn))
            try:
                await admin.execute(statement, coupon["id"])
            finally:
                await admin.close()
            check = (await checks_of(catalog))["coupon_redemptions"]
            assert (check["ok"], check["problem_count"]) == (False, problem_count), statement
