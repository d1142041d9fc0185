"""What operators ask: the audit, dead letters, and what a test clock waits for."""

from __future__ import annotations

from typing import Any

import asyncpg
from sqlalchemy import text

from libs.common.access.tenancy import APP
from libs.common.ids import new_id
from libs.common.messaging.bus import Delivery
from libs.common.persistence.session import asyncpg_dsn
from services.catalog.bootstrap import build
from tests.integration.catalog.asking import FEE, PRODUCT, a_plan_body, make, publish
from tests.integration.catalog.test_events import consumer_of
from tests.support.postgres import PostgresForTests
from tests.support.service_under_test import ServiceUnderTest, new_tenant, service_under_test

PATH = "/v1/catalog-operations"


async def a_dead_letter(catalog: ServiceUnderTest, *, value: bytes = b'{"broken": true}') -> str:
    """A message that no handler can read, after all its tries."""
    message_id = new_id("evt")
    headers = {"ce_id": message_id, "ce_type": "perennial.catalog.tenant.changed.v1", "ce_tenant": "t"}
    delivery = Delivery(
        topic="perennial.catalog.v1", partition=0, offset=7, key="t/x", headers=headers, value=value
    )
    failures = consumer_of(catalog).failures
    for _ in range(5):
        await failures.put(delivery, ValueError("cannot be read"))
    return message_id


async def checks_of(catalog: ServiceUnderTest) -> dict[str, dict[str, Any]]:
    async with catalog.client(None, "operate") as operator:
        answer = await operator.get(f"{PATH}/audit")
    assert answer.status_code == 200, answer.text
    report = answer.json()
    assert report["service"] == "catalog"
    assert report["ok"] == all(check["ok"] for check in report["checks"])
    return {check["name"]: check for check in report["checks"]}


async def test_the_audit_recomputes_every_digest_and_finds_a_forged_price(
    postgres: PostgresForTests, tmp_path: Any
) -> None:
    odd = [
        FEE,
        {**FEE, "code": "tiny", "unit_amount": "0.000000000001"},
        {**FEE, "code": "zeros", "unit_amount": "10.500"},
        {**FEE, "code": "huge", "unit_amount": "123456789012345678.123456789012"},
        {**FEE, "code": "words", "description": "Flugzeug – 飛行機 ✈"},
    ]
    async with service_under_test(postgres, "catalog", build, folder=tmp_path) as catalog:
        for tenant in (new_tenant(), new_tenant()):
            async with catalog.client(tenant, "catalog:read", "catalog:write") as client:
                await make(client, "/v1/products", PRODUCT)
                plan = await make(client, "/v1/plans", a_plan_body(*odd))
                await publish(client, plan["id"])
        checks = await checks_of(catalog)
        assert all(check["ok"] for check in checks.values()), checks
        assert checks["plan_version_digest"]["checked_count"] == 2
        assert checks["plan_version_told"]["checked_count"] == 2

        owner = await asyncpg.connect(asyncpg_dsn(catalog.database.admin_dsn))
        try:
            await owner.execute("ALTER TABLE price DISABLE TRIGGER ALL")
            await owner.execute(
                """UPDATE price SET terms = terms || '{"unit_amount": "1"}'
                   WHERE code = 'huge' AND tenant = $1""",
                tenant,
            )
            await owner.execute("DELETE FROM outbox WHERE tenant = $1", tenant)
            await owner.execute("UPDATE plan SET published_number = 2 WHERE tenant = $1", tenant)
        finally:
            await owner.close()
        checks = await checks_of(catalog)
        for name in ("plan_version_digest", "plan_version_told", "plan_version_numbers"):
            assert (checks[name]["ok"], checks[name]["problem_count"]) == (False, 1), name
        assert plan["id"] in checks["plan_version_numbers"]["problems"][0]


async def test_the_audit_looks_at_overlays_and_at_what_is_sold(
    postgres: PostgresForTests, tmp_path: Any
) -> None:
    async with service_under_test(postgres, "catalog", build, folder=tmp_path) as catalog:
        tenant = new_tenant()
        async with catalog.client(tenant, "catalog:read", "catalog:write") as client:
            await make(client, "/v1/products", PRODUCT)
            plan = await make(client, "/v1/plans", a_plan_body())
            await publish(client, plan["id"])
            body = {"plan": "power", "prices": [{"code": "aircraft", "unit_amount": "1100"}]}
            made = [
                await make(client, "/v1/plan-overlays", {**body, "customer_id": new_id("cus")}) for _ in "12"
            ]
            await client.post(f"/v1/plan-overlays/{made[0]['id']}/withdrawal")
            await client.post(f"/v1/plans/{plan['id']}/versions/1/withdrawal")
        checks = await checks_of(catalog)
        assert all(check["ok"] for check in checks.values()), checks
        assert checks["plan_overlay_fits"]["checked_count"] == 2
        assert checks["plan_overlay_told"]["checked_count"] == 2

        owner = await asyncpg.connect(asyncpg_dsn(catalog.database.admin_dsn))
        try:
            await owner.execute(
                """UPDATE plan_overlay SET overrides = jsonb_set(overrides, '{0,changes,unit_amount}', '"-1"')
                   WHERE id = $1""",
                made[1]["id"],
            )
            await owner.execute("DELETE FROM outbox WHERE type LIKE '%plan_overlay.withdrawn%'")
            await owner.execute("""UPDATE plan SET off_sale = '{"2": "withdrawn"}'""")
        finally:
            await owner.close()
        checks = await checks_of(catalog)
        for name in ("plan_overlay_fits", "plan_overlay_told", "plan_version_sales"):
            assert (checks[name]["ok"], checks[name]["problem_count"]) == (False, 1), name
        assert made[1]["id"] in checks["plan_overlay_fits"]["problems"][0]
        assert made[0]["id"] in checks["plan_overlay_told"]["problems"][0]


async def test_a_dead_letter_is_listed_shown_and_redriven(catalog: ServiceUnderTest) -> None:
    message_id = await a_dead_letter(catalog)
    assert not (await checks_of(catalog))["dead_letters"]["ok"]
    async with catalog.client(None, "operate") as operator:
        listed = await operator.get(f"{PATH}/dead-letters", params={"status": "dead"})
        assert message_id in [letter["message_id"] for letter in listed.json()["data"]]
        shown = (await operator.get(f"{PATH}/dead-letters/{message_id}")).json()
        assert (shown["status"], shown["attempts"], shown["offset"]) == ("dead", 5, 7)
        assert shown["error"] == "ValueError: cannot be read"
        assert (shown["data"], shown["data_base64"]) == ({"broken": True}, None)
        assert shown["headers"]["ce_id"] == message_id

        redriven = await operator.post(f"{PATH}/dead-letters/{message_id}/redrive")
        assert (redriven.status_code, redriven.json()["status"]) == (202, "retrying")
        assert redriven.json()["attempts"] == 0
        retrying = await operator.get(f"{PATH}/dead-letters", params={"status": "retrying"})
        assert message_id in [letter["message_id"] for letter in retrying.json()["data"]]
        for path in (f"{PATH}/dead-letters/evt_none", f"{PATH}/dead-letters/a/b/c"):
            assert (await operator.get(path)).json()["code"] == "dead_letter_not_found"
        assert (await operator.post(f"{PATH}/dead-letters/evt_none/redrive")).status_code == 404
    assert (await checks_of(catalog))["dead_letters"]["ok"]


async def test_what_is_not_json_is_shown_as_bytes(catalog: ServiceUnderTest) -> None:
    message_id = await a_dead_letter(catalog, value=b"\xff\xfe")
    async with catalog.client(None, "operate") as operator:
        shown = (await operator.get(f"{PATH}/dead-letters/{message_id}")).json()
        await operator.post(f"{PATH}/dead-letters/{message_id}/redrive")
    assert (shown["data"], shown["data_base64"]) == (None, "//4=")


async def test_a_redrive_says_who_did_it(catalog: ServiceUnderTest) -> None:
    message_id = await a_dead_letter(catalog)
    async with catalog.client(None, "operate", token_id="tok_on_call") as operator:
        await operator.post(f"{PATH}/dead-letters/{message_id}/redrive")
    async with catalog.parts.audit_database.engine.connect() as connection:
        wanted = text("SELECT actor, action FROM change_log WHERE aggregate_id = :id")
        (change,) = (await connection.execute(wanted, {"id": message_id})).all()
    assert tuple(change) == ("token:tok_on_call", "dead_letter.redriven")


async def test_a_clock_shows_what_it_waits_for(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, "clocks:read") as client:
        unknown = await client.get(f"{PATH}/clock-dues/clk_1")
        async with catalog.parts.worker_database.transaction(APP, tenant) as connection:
            told = "INSERT INTO known_clock (tenant, id, now, version) VALUES (:tenant, :id, :now, 1)"
            await connection.execute(
                text(told.replace(":now", "'2013-01-01Z'")), {"tenant": tenant, "id": f"clk_{tenant}"}
            )
        known = (await client.get(f"{PATH}/clock-dues/clk_{tenant}")).json()
    async with catalog.client(new_tenant(), "clocks:read") as stranger:
        foreign = await stranger.get(f"{PATH}/clock-dues/clk_{tenant}")
    assert known == {
        "clock_now": "2013-01-01T00:00:00Z",
        "earliest_due_at": None,
        "busy": 0,
        "unpublished": 0,
        "last_position": 0,
    }
    for answer in (unknown, foreign):
        assert (answer.status_code, answer.json()["code"]) == (404, "test_clock_not_heard_of")


async def test_operations_are_for_operators_only(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, "catalog:read", "catalog:write", "clocks:read") as client:
        answers = [
            await client.get(f"{PATH}/audit"),
            await client.get(f"{PATH}/dead-letters"),
            await client.get(f"{PATH}/dead-letters/evt_1"),
            await client.post(f"{PATH}/dead-letters/evt_1/redrive"),
        ]
    assert [answer.status_code for answer in answers] == [403] * 4
    async with catalog.client(None, "operate") as operator:
        assert (await operator.get(f"{PATH}/clock-dues/clk_1")).status_code == 403
