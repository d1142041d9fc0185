"""Who is let in, before a body is read or a route is found."""

from pathlib import Path

import httpx
import pytest

from libs.common.web.late_routes import LateRouter
from libs.common.web.limits import Limits
from tests.unit.web.small_app import SmallApp, a_small_app
from tests.unit.web.test_calls import problem


@pytest.mark.parametrize("path", ["/v1/notes", "/v1/notes/zzz", "/v1/nothing", "/v1/notes-operations/audit"])
async def test_nothing_under_v1_is_shown_without_a_token(small: SmallApp, path: str) -> None:
    async with small.client(token=None) as client:
        answer = await client.get(path)
    assert problem(answer) == (401, "token_missing")
    assert answer.headers["www-authenticate"] == 'Bearer realm="perennial"'


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/docs", "/openapi.json", "/problems"])
async def test_what_is_public_needs_none(small: SmallApp, path: str) -> None:
    async with small.client(token=None) as client:
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("Basic eDp5", "token_malformed"),
        ("Bearer", "token_missing"),
        ("Bearer x", "token_malformed"),
        ("Bearer a.b.c", "token_malformed"),
    ],
)
async def test_what_is_no_token_is_401(small: SmallApp, header: str, code: str) -> None:
    async with small.client(token=None) as client:
        answer = await client.get("/v1/notes", headers={"authorization": header})
    assert problem(answer) == (401, code)


async def test_two_tokens_are_none(small: SmallApp) -> None:
    headers = [("authorization", f"Bearer {small.token()}"), ("authorization", f"Bearer {small.token()}")]
    async with small.client(token=None) as client:
        assert problem(await client.get("/v1/notes", headers=headers)) == (401, "token_malformed")


async def test_a_forged_token_is_401_and_not_repeated(small: SmallApp) -> None:
    token = small.token()[:-8] + "AAAAAAAA"
    async with small.client(token=token) as client:
        answer = await client.get("/v1/notes")
    assert problem(answer) == (401, "token_forged")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert token not in answer.text


async def test_a_stranger_cannot_make_us_read_a_body(small: SmallApp) -> None:
    async def endless():  # type: ignore[no-untyped-def]
        raise AssertionError("the body was read")
        yield b""

    async with small.client(token=None) as client:
        assert problem(await client.post("/v1/notes", content=endless())) == (401, "token_missing")


async def test_one_token_may_not_ask_too_often(tmp_path: Path) -> None:
    small = a_small_app(tmp_path, limits=Limits(token_requests_per_s=0.5, token_requests_burst=3))
    async with small.client() as client, small.client() as other:
        statuses = [(await client.get("/v1/notes")).status_code for _ in range(4)]
        refused = await client.get("/v1/notes")
        assert (await other.get("/v1/notes")).status_code == 200
    assert statuses == [200, 200, 200, 429]
    assert problem(refused) == (429, "rate_exceeded")
    assert refused.headers["retry-after"] == "2"


async def test_guessing_tokens_has_a_price(tmp_path: Path) -> None:
    small = a_small_app(tmp_path, limits=Limits(stranger_requests_per_s=0.1, stranger_requests_burst=3))
    async with small.client() as client, small.client(token="x.y.z") as guesser:
        assert (await client.get("/v1/notes")).status_code == 200
        statuses = [(await guesser.get("/v1/notes")).status_code for _ in range(3)]
        assert (await client.get("/v1/notes")).status_code == 200, "known callers are not held up"
    assert statuses == [401, 401, 429]


def test_a_route_that_asks_for_no_scope_is_not_served(tmp_path: Path) -> None:
    careless = LateRouter(prefix="/v1/careless")

    @careless.get("")
    async def get_careless() -> dict[str, str]:
        return {}

    with pytest.raises(AssertionError, match="get_careless"):
        a_small_app(tmp_path, routers=[careless])


async def test_plain_routes_are_guarded_too(client: httpx.AsyncClient, small: SmallApp) -> None:
    assert (await client.post("/v1/raw", content=b"abc")).json()["length"] == 3
    async with small.client(scopes=["catalog:read"]) as reader:
        assert problem(await reader.post("/v1/raw", content=b"abc")) == (403, "scope_missing")
