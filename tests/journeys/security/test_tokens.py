"""Who asks is proved on every route: no token, no route, however it is asked for."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.common.access.keys import SigningKey
from libs.common.access.scopes import OPERATE, SCOPES
from libs.common.access.token import sign_token
from libs.common.ids import new_id
from tests.journeys.security.routes import Operation
from tests.journeys.security.snapshots import changed, rows_of
from tests.journeys.security.world import World
from tests.support.all_services import TENANT_SCOPES, AllServices

REVOKED_WITHIN_S = 3.0


def base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def claims_of(tenant: str, /, **changes: Any) -> dict[str, Any]:
    """What a good token says."""
    now = int(time.time())
    good = {
        "iss": "perennial",
        "aud": "perennial",
        "iat": now,
        "exp": now + 600,
        "jti": new_id("tok"),
        "tenant": tenant,
        "scope": " ".join(SCOPES),
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(key: SigningKey, claims: Mapping[str, Any], **header: Any) -> str:
    return jwt.encode(dict(claims), key.private_key, algorithm="EdDSA", headers={"kid": key.kid, **header})


def unsigned(claims: Mapping[str, Any]) -> str:
    header = base64url(json.dumps({"alg": "none", "typ": "JWT"}).encode())
    return f"{header}.{base64url(json.dumps(claims).encode())}."


def with_other_payload(bearer: str, claims: Mapping[str, Any]) -> str:
    header, _, signature = bearer.split(".")
    return f"{header}.{base64url(json.dumps(claims).encode())}.{signature}"


def by_mistaken_algorithm(key: SigningKey, claims: Mapping[str, Any]) -> str:
    """The public half taken for a shared secret: the classic confusion."""
    public = key.public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    header = base64url(json.dumps({"alg": "HS256", "typ": "JWT", "kid": key.kid}).encode())
    told = f"{header}.{base64url(json.dumps(claims).encode())}"
    secret = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(told.encode(), public)
    return f"{told}.{base64url(secret)}"


def bad_tokens(everything: AllServices, tenant: str, revoked: str) -> dict[str, str | None]:
    """Name → Authorization header."""
    ours, other = everything.keys.signing_key, SigningKey.generate()
    good = claims_of(tenant)
    ago = datetime.now(UTC) - timedelta(hours=2)
    bearers = {
        "expired": sign_token(ours, tenant=tenant, scopes=TENANT_SCOPES, now=ago, lifetime_s=60),
        "signed by somebody else": signed(other, good),
        "signed by somebody else under our key's name": signed(other, good, kid=ours.kid),
        "unsigned": unsigned(good),
        "payload changed": with_other_payload(signed(ours, good), claims_of(tenant)),
        "signature cut off": signed(ours, good).rsplit(".", 1)[0] + ".",
        "for another audience": signed(ours, claims_of(tenant, aud="somebody")),
        "for nobody": signed(ours, claims_of(tenant, aud=None)),
        "by an unknown issuer": signed(ours, claims_of(tenant, iss="https://evil.example")),
        "by a mistaken algorithm": by_mistaken_algorithm(ours, good),
        "without an end": signed(ours, claims_of(tenant, exp=None)),
        "for years": signed(ours, claims_of(tenant, exp=int(time.time()) + 10**9)),
        "from the future": signed(ours, claims_of(tenant, nbf=int(time.time()) + 600)),
        "without an id": signed(ours, claims_of(tenant, jti=None)),
        "of no tenant": signed(ours, claims_of(tenant, tenant=None, scope="catalog:read")),
        "of a tenant that cannot be": signed(ours, claims_of("00000000-0000-0000-0000-000000000000")),
        "a portal token that operates": signed(ours, claims_of(tenant, customer="cus_1")),
        "no JWT": "x",
        "empty": "",
        "very long": "x" * 20_000,
        "revoked": revoked,
    }
    headers: dict[str, str | None] = {name: f"Bearer {bearer}" for name, bearer in bearers.items()}
    good_one = everything.token(tenant)
    return {
        **headers,
        "none": None,
        "another scheme": f"Basic {base64url(b'admin:admin')}",
        "without its scheme": good_one,
        "two at once": f"Bearer {good_one}, Bearer {good_one}",
    }


async def revoke(everything: AllServices, tenant: str | None, token_id: str) -> None:
    headers = {"idempotency-key": new_id("key")}
    async with everything.client(tenant) as client:
        answer = await client.post("/v1/token-revocations", json={"token_id": token_id}, headers=headers)
    assert answer.status_code == 201, answer.text


async def until_refused(everything: AllServices, bearer: str) -> float:
    """Seconds until every service refuses the token."""
    started = time.monotonic()
    segments = ("catalog", "subscriptions", "metering", "billing")
    async with everything.client_with(bearer) as client:
        while True:
            addresses = [f"/v1/{name}-operations/clock-dues/clk_1" for name in segments]
            statuses = {(await client.get(address)).status_code for address in addresses}
            if statuses == {401}:
                return time.monotonic() - started
            assert time.monotonic() - started < 2 * REVOKED_WITHIN_S, statuses
            await asyncio.sleep(0.05)


async def ask_all(
    world: World, ask: Callable[[Operation, str], Awaitable[httpx.Response]], *, each: slice = slice(None)
) -> list[tuple[Operation, httpx.Response]]:
    """Every route, or each n-th, with things of alpha in its path: what they are must not matter to a stranger."""
    return [
        (operation, await ask(operation, operation.address(world.things_at(operation, world.alpha)[0])))
        for operation in world.operations[each]
    ]


async def test_no_route_lets_anybody_in_without_a_good_token(world: World) -> None:
    """25 kinds of bad token, eight of them on every route: 401, before the body is looked at."""
    everything, tenant = world.everything, world.alpha.tenant
    token_id = new_id("tok")
    revoked = everything.token(tenant, token_id=token_id)
    await revoke(everything, tenant, token_id)
    await until_refused(everything, revoked)
    before = await rows_of(everything, tenant)
    for number, (name, header) in enumerate(bad_tokens(everything, tenant, revoked).items()):
        # Each from an address of its own, since strangers may not try as often as they like.
        async with everything.client_with(None, address=f"192.0.2.{number}") as stranger:
            headers = {"content-type": "application/json", **({"authorization": header} if header else {})}

            async def ask(
                operation: Operation,
                address: str,
                stranger: httpx.AsyncClient = stranger,
                headers: Mapping[str, str] = headers,
            ) -> httpx.Response:
                content = b"{" if operation.writes else None
                return await stranger.request(operation.method, address, content=content, headers=headers)

            for operation, answer in await ask_all(world, ask, each=slice(number % 3, None, 3)):
                told = f"{name}: {operation}: {answer.status_code} {answer.text}"
                assert answer.status_code == 401, told
                assert answer.headers["content-type"] == "application/problem+json", told
                assert answer.headers["www-authenticate"].startswith('Bearer realm="perennial"'), told
                assert ('error="invalid_token"' in answer.headers["www-authenticate"]) == (
                    name not in NO_TOKEN
                )
                assert answer.json()["code"].startswith("token_"), told
                assert header is None or len(header) < 20 or header[7:] not in answer.text, told
    assert not changed(before, await rows_of(everything, tenant))


# RFC 6750, section 3.1: who shows no token at all is told of no error.
NO_TOKEN = ("none", "empty")


async def test_two_authorization_headers_are_refused(world: World) -> None:
    bearer = world.everything.token(world.alpha.tenant)
    headers = [("authorization", f"Bearer {bearer}"), ("authorization", f"Bearer {bearer}")]
    async with world.everything.client_with(None) as client:
        answer = await client.get("/v1/products", headers=headers)
    assert answer.status_code == 401


@pytest.mark.parametrize("place", ["query", "cookie"])
async def test_a_token_counts_in_its_header_only(world: World, place: str) -> None:
    """Addresses and cookies end up in logs and are sent by browsers unasked."""
    bearer = world.everything.token(world.alpha.tenant)
    async with world.everything.client_with(None) as client:
        if place == "query":
            answer = await client.get("/v1/products", params={"access_token": bearer})
        else:
            answer = await client.get("/v1/products", headers={"cookie": f"authorization=Bearer {bearer}"})
    assert answer.status_code == 401


async def test_every_route_asks_for_its_scope_and_names_it(world: World) -> None:
    """All other scopes together are not enough."""
    before = await rows_of(world.everything, world.alpha.tenant)
    for operation in world.operations:
        needed = operation.access.scope
        others = [scope for scope in TENANT_SCOPES if scope != needed]
        values = world.things_at(operation, world.alpha)[0]
        async with world.everything.client(world.alpha.tenant, *others) as client:
            answer = await client.request(operation.method, operation.address(values))
        told = f"{operation}: {answer.status_code} {answer.text}"
        assert answer.status_code == 403, told
        problem = answer.json()
        assert (problem["code"], problem["facts"]) == ("scope_missing", {"scope": needed}), told
        assert needed in problem["detail"], told
        challenge = answer.headers["www-authenticate"]
        assert challenge == f'Bearer error="insufficient_scope", scope="{needed}"', told
    assert not changed(before, await rows_of(world.everything, world.alpha.tenant))


async def test_a_token_without_scopes_may_do_nothing(world: World) -> None:
    claims = claims_of(world.alpha.tenant, scope="openid email")
    async with world.everything.client_with(signed(world.everything.keys.signing_key, claims)) as client:
        for operation in world.operations:
            values = world.things_at(operation, world.alpha)[0]
            answer = await client.request(operation.method, operation.address(values))
            assert answer.status_code == 403, f"{operation}: {answer.text}"


async def test_operators_routes_are_closed_to_tenants_and_tenants_routes_to_operators(world: World) -> None:
    """A tenant with every scope of a tenant; and an operator with every scope, but without a tenant."""
    everything = world.everything
    operator_routes = [operation for operation in world.operations if operation.for_operators]
    assert len(operator_routes) >= 20
    async with everything.client(world.alpha.tenant) as tenant:
        for operation in operator_routes:
            address = operation.address(world.things_at(operation, world.alpha)[0])
            answer = await tenant.request(operation.method, address)
            assert answer.status_code == 403, f"{operation}: {answer.text}"
            assert answer.json()["facts"] == {"scope": OPERATE}
    async with everything.client(None, *SCOPES) as operator:
        for operation in world.operations:
            if operation.for_operators or operation.access.operators:
                continue
            address = operation.address(world.things_at(operation, world.alpha)[0])
            answer = await operator.request(operation.method, address)
            assert answer.status_code == 403, f"{operation}: {answer.text}"
            assert answer.json()["code"] == "tenant_needed"


async def test_a_revoked_token_is_refused_everywhere_within_three_seconds(world: World) -> None:
    everything, tenant = world.everything, world.alpha.tenant
    token_id, other_id = new_id("tok"), new_id("tok")
    bearer, other = (everything.token(tenant, token_id=id) for id in (token_id, other_id))
    async with everything.client_with(bearer) as thief:
        assert (await thief.get("/v1/products")).status_code == 200
    await revoke(everything, tenant, token_id)
    assert await until_refused(everything, bearer) < REVOKED_WITHIN_S
    async with everything.client_with(bearer) as thief, everything.client_with(other) as owner:
        for operation in world.operations:
            address = operation.address(world.things_at(operation, world.alpha)[0])
            answer = await thief.request(operation.method, address)
            assert (answer.status_code, answer.json()["code"]) == (401, "token_revoked"), operation
        assert (await owner.get("/v1/products")).status_code == 200


async def test_a_tenant_can_revoke_neither_anothers_tokens_nor_an_operators(world: World) -> None:
    everything, alpha, beta = world.everything, world.alpha.tenant, world.beta.tenant
    ids = [new_id("tok") for _ in "123"]
    alphas, betas = everything.token(alpha, token_id=ids[0]), everything.token(beta, token_id=ids[1])
    operators = everything.token(None, token_id=ids[2])
    for token_id in ids:
        await revoke(everything, beta, token_id)
    await until_refused(everything, betas)
    async with everything.client_with(alphas) as client:
        assert (await client.get("/v1/products")).status_code == 200
    async with everything.client_with(operators) as client:
        assert (await client.get("/v1/tenants")).status_code == 200
    await revoke(everything, alpha, ids[0])  # what a stranger said of it does not stand in the owner's way
    await until_refused(everything, alphas)


async def test_operators_can_revoke_anybodys_token(world: World) -> None:
    everything = world.everything
    token_id = new_id("tok")
    bearer = everything.token(world.alpha.tenant, token_id=token_id)
    await revoke(everything, None, token_id)
    assert await until_refused(everything, bearer) < REVOKED_WITHIN_S


async def test_what_needs_no_token_tells_nothing_of_tenants(world: World) -> None:
    """Health, documents, metrics and the registry of problems."""
    open_paths = [
        "/",
        "/health/live",
        "/health/ready",
        "/docs",
        "/problems",
        "/problems/scope_missing",
        "/metrics",
    ]
    open_paths += [f"/openapi/{name}.json" for name in world.everything.services]
    async with world.everything.client_with(None) as stranger:
        for path in open_paths:
            answer = await stranger.get(path)
            assert answer.status_code in (200, 307), f"{path}: {answer.status_code}"
            told = answer.text.lower()
            for story in (world.alpha, world.beta):
                assert story.tenant not in told, path
                assert story.name not in told.replace("alphabet", ""), path
                assert not [id for id in story.all_ids if id in told], path
