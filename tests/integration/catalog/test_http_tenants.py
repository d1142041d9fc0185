"""Tenants and revoked tokens over HTTP: for operators."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from libs.common.access.caller import OPERATORS
from tests.support.service_under_test import ServiceUnderTest, new_tenant


async def test_an_operator_makes_finds_and_renames_a_tenant(catalog: ServiceUnderTest) -> None:
    async with catalog.client(None, "operate") as operator:
        answer = await operator.post("/v1/tenants", json={"name": "Cloudhop", "mode": "sandbox"})
        made, path = answer.json(), answer.headers["location"]
        assert answer.status_code == 201
        assert (made["name"], made["mode"], made["version"]) == ("Cloudhop", "sandbox", 1)
        assert (await operator.get(path)).json() == made
        unnamed = await operator.patch(path, json={"name": "Other"})
        renamed = await operator.patch(path, json={"name": "Other"}, headers={"if-match": '"1"'})
        forbidden = await operator.patch(path, json={"mode": "live"}, headers={"if-match": '"2"'})
        listed = await operator.get("/v1/tenants", params={"mode": "sandbox", "limit": 200})
    assert (unnamed.status_code, renamed.status_code, forbidden.status_code) == (428, 200, 422)
    assert renamed.json() == {**made, "name": "Other", "version": 2}
    assert renamed.json() in listed.json()["data"]


async def test_a_chosen_id_makes_one_tenant_however_often(catalog: ServiceUnderTest) -> None:
    body = {"id": str(uuid4()), "name": "Cloudhop", "mode": "live"}
    async with catalog.client(None, "operate") as operator:
        answers = await asyncio.gather(*[operator.post("/v1/tenants", json=body) for _ in range(3)])
        again = await operator.post("/v1/tenants", json=body)
        other = await operator.post("/v1/tenants", json={**body, "mode": "sandbox"})
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert (again.status_code, again.json()["id"]) == (201, body["id"])
    assert (other.status_code, other.json()["code"]) == (409, "tenant_exists")


@pytest.mark.parametrize("id", [OPERATORS, "not-a-uuid", 7])
async def test_an_id_that_cannot_be_a_tenants_is_refused(catalog: ServiceUnderTest, id: object) -> None:
    async with catalog.client(None, "operate") as operator:
        answer = await operator.post("/v1/tenants", json={"id": id, "name": "x", "mode": "live"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/id"


async def test_tenants_are_for_operators_only(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, "catalog:read", "catalog:write", "tokens:write") as client:
        answers = [
            await client.post("/v1/tenants", json={"name": "x", "mode": "live"}),
            await client.get("/v1/tenants"),
            await client.get(f"/v1/tenants/{tenant}"),
            await client.patch(f"/v1/tenants/{tenant}", json={"name": "x"}, headers={"if-match": "*"}),
        ]
    assert [answer.status_code for answer in answers] == [403] * 4


async def test_a_revoked_token_is_refused_within_seconds(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, "catalog:read", token_id="tok_stolen") as thief:
        assert (await thief.get("/v1/products")).status_code == 200
        async with catalog.client(tenant, "tokens:write") as owner:
            revoked = await owner.post("/v1/token-revocations", json={"token_id": "tok_stolen"})
        assert revoked.status_code == 201
        for _ in range(60):
            answer = await thief.get("/v1/products")
            if answer.status_code == 401:
                break
            await asyncio.sleep(0.1)
    assert answer.json()["code"] == "token_revoked"


async def test_operators_revoke_for_nobody_in_particular(catalog: ServiceUnderTest) -> None:
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    body = {"token_id": f"tok_{uuid4().hex}", "expires_at": expires_at.isoformat()}
    async with catalog.client(None, "operate") as operator:
        first = await operator.post("/v1/token-revocations", json=body)
        again = await operator.post("/v1/token-revocations", json=body)
        broken = await operator.post("/v1/token-revocations", json={"token_id": "has space"})
    assert (first.status_code, again.status_code, broken.status_code) == (201, 201, 422)
    assert datetime.fromisoformat(first.json()["expires_at"]) == expires_at


async def test_revoking_needs_its_scope(catalog: ServiceUnderTest, tenant: str) -> None:
    async with catalog.client(tenant, "catalog:write") as client:
        answer = await client.post("/v1/token-revocations", json={"token_id": "tok_1"})
    assert answer.status_code == 403
    async with catalog.client(new_tenant(), "tokens:write", customer="cus_1") as portal:
        answer = await portal.post("/v1/token-revocations", json={"token_id": "tok_1"})
    assert answer.json()["code"] == "portal_forbidden"
