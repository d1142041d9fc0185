"""The lane of hot routes: who may take it, and that both ways end in the same answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from libs.common.access.keys import KeyFile
from libs.common.access.revocation import RevocationsUnknown
from libs.common.access.token import TokenVerifier, sign_token
from libs.common.clock import SystemClock
from libs.common.web.app import create_app
from libs.common.web.calls import Authorised
from libs.common.web.hot_route import HotRoute, PlainRequest
from libs.common.web.limits import Limits
from tests.unit.web.small_app import CURSOR_KEY, TENANT, NoteRefused, Store
from tests.unit.web.test_calls import problem

PATH = "/v1/readings"
BYTES_MAX = 100
BODY = b'{"n": 1}'


@dataclass
class Revoked:
    """As the list of a service that has read it, unless told otherwise."""

    token_ids: set[str] = field(default_factory=set)
    is_read: bool = True

    def __contains__(self, caller: Any) -> bool:
        if not self.is_read:
            raise RevocationsUnknown("the list of revoked tokens has not been read yet")
        return caller.token_id in self.token_ids


@dataclass
class Readings:
    """An app with one hot route; each answer says which way the request came."""

    app: FastAPI
    key_file: KeyFile
    revoked: Revoked
    requests: list[PlainRequest] = field(default_factory=list)

    def token(self, **changes: Any) -> str:
        told: dict[str, Any] = {
            "tenant": TENANT,
            "scopes": ["usage:write"],
            "now": SystemClock().system_now(),
            "lifetime_s": 600,
            **changes,
        }
        return sign_token(self.key_file.signing_key, **told)

    def client(self, **changes: Any) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self.token(**changes)}", "content-type": "application/json"}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://perennial.test", headers=headers
        )


@pytest.fixture
def readings(tmp_path: Path) -> Readings:
    async def the_long_way(request: Request) -> Response:
        call = await Authorised("usage:write")(request)
        await request.body()
        return JSONResponse({"way": "long", "tenant": call.tenant})

    async def the_lane(request: PlainRequest) -> bytes:
        if request.body == b"refused":
            raise NoteRefused("this is refused", name="x")
        if request.body == b"broken":
            raise RuntimeError("the password is hunter2")
        found.requests.append(request)
        return b'{"way": "lane"}'

    key_file = KeyFile.load_or_create(tmp_path / "keys.json")
    revoked = Revoked()
    app = create_app(
        service="readings",
        title="Readings",
        routers=[],
        verifier=TokenVerifier(key_file.path, revoked=revoked),  # type: ignore[arg-type]  # all that is asked of it
        readiness=_ready,
        open_uow=Store().open_uow,
        cursor_key=CURSOR_KEY,
        limits=Limits(
            raw_body_prefixes=(PATH,),
            body_bytes_max_by_prefix={PATH: BYTES_MAX},
            token_requests_per_s=0.001,
            token_requests_burst=8,
        ),
        routes=[Route(PATH, the_long_way, methods=["POST", "GET"])],
        hot_routes=[
            HotRoute(
                path=PATH,
                token_scope="usage:write",
                media_types=frozenset({"application/json"}),
                body_bytes_max=BYTES_MAX,
                body_timeout_s=0.1,
                unusual_headers=frozenset({b"ce-specversion"}),
                answer=the_lane,
            )
        ],
    )
    found = Readings(app, key_file, revoked)
    return found


async def _ready() -> dict[str, bool]:
    return {}


async def way(client: httpx.AsyncClient, **changes: Any) -> str:
    answer = await client.post(PATH, **{"content": BODY, **changes})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["way"])


async def test_a_token_is_verified_on_the_long_way_once_and_then_takes_the_lane(readings: Readings) -> None:
    async with readings.client() as client:
        assert [await way(client) for _ in range(3)] == ["long", "lane", "lane"]
    request = readings.requests[0]
    assert (request.tenant, request.media_type, request.body) == (TENANT, "application/json", BODY)


async def test_before_the_list_of_revoked_tokens_was_read_nobody_is_let_in(readings: Readings) -> None:
    """A process that has just been started: not even a token that it has verified already."""
    readings.revoked.is_read = False
    async with readings.client() as client:
        for _ in range(2):
            answer = await client.post(PATH, content=BODY)
            assert (answer.status_code, answer.json()["code"]) == (503, "revocations_unknown")
        readings.revoked.is_read = True
        assert await way(client) == "lane"


@pytest.mark.parametrize(
    "unusual",
    [
        {"headers": {"content-encoding": "gzip"}},
        {"headers": {"ce-specversion": "1.0"}},
        {"headers": {"content-type": "application/json; charset=utf-8"}},
        {"headers": {"content-type": "text/plain"}},
        {"params": {"a": "1"}},
    ],
    ids=lambda unusual: str(unusual),
)
async def test_what_is_not_plain_goes_the_long_way(readings: Readings, unusual: dict[str, Any]) -> None:
    async with readings.client() as client:
        await way(client)
        assert await way(client, **unusual) == "long"
        assert (await client.get(PATH)).json()["way"] == "long"


async def test_a_body_of_unknown_length_goes_the_long_way(readings: Readings) -> None:
    async def pieces():  # type: ignore[no-untyped-def]
        yield BODY

    async with readings.client() as client:
        await way(client)
        assert await way(client, content=pieces()) == "long"


async def test_a_body_that_is_too_long_is_refused_on_either_way(readings: Readings) -> None:
    async with readings.client() as client:
        for _ in range(2):
            answer = await client.post(PATH, content=b"x" * (BYTES_MAX + 1))
            assert problem(answer) == (413, "body_too_large")
        assert await way(client, content=b"x" * BYTES_MAX) == "lane"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"scopes": ["usage:read"]}, (403, "scope_missing")),
        ({"customer": "cus_1"}, (403, "portal_forbidden")),
        ({"tenant": None, "scopes": ["operate", "usage:write"]}, (403, "tenant_needed")),
    ],
)
async def test_who_may_not_is_told_so_however_often(
    readings: Readings, changes: dict[str, Any], expected: tuple[int, str]
) -> None:
    async with readings.client(**changes) as client:
        for _ in range(3):
            assert problem(await client.post(PATH, content=BODY)) == expected
    assert readings.requests == []


async def test_a_revoked_token_leaves_the_lane_at_once(readings: Readings) -> None:
    async with readings.client(token_id="tok_1") as client:
        assert [await way(client) for _ in range(2)] == ["long", "lane"]
        readings.revoked.token_ids.add("tok_1")
        assert problem(await client.post(PATH, content=BODY)) == (401, "token_revoked")


async def test_two_tokens_are_none(readings: Readings) -> None:
    async with readings.client() as client:
        await way(client)
        headers = [("authorization", client.headers["authorization"])] * 2
        del client.headers["authorization"]
        assert problem(await client.post(PATH, content=BODY, headers=headers)) == (401, "token_malformed")


async def test_both_ways_count_together(readings: Readings) -> None:
    async with readings.client() as client:
        ways = [await way(client, params={"a": "1"} if n % 2 else {}) for n in range(8)]
        assert ways == ["long"] + ["long", "lane"] * 3 + ["long"]
        for parameters in ({}, {"a": "1"}):
            assert problem(await client.post(PATH, content=BODY, params=parameters)) == (429, "rate_exceeded")


async def test_errors_are_answered_as_everywhere_and_named(readings: Readings) -> None:
    async with readings.client() as client:
        await way(client)
        refused = await client.post(PATH, content=b"refused")
        assert problem(refused) == (409, "note_refused")
        broken = await client.post(PATH, content=b"broken")
        assert problem(broken) == (500, "internal_error")
        assert "hunter2" not in broken.text
        good = await client.post(PATH, content=BODY, headers={"x-request-id": "mine"})
    for answer in (refused, broken, good):
        assert len(answer.headers["x-trace-id"]) == 32
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "private, no-cache"
    assert good.headers["x-request-id"] == "mine"


async def test_a_body_that_does_not_come_is_not_waited_for(readings: Readings) -> None:
    async with readings.client() as client:
        await way(client)
        bearer = client.headers["authorization"].encode()
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError("it was waited for")

    async def send(message: Any) -> None:
        said.append(message)

    headers = [
        (b"authorization", bearer),
        (b"content-type", b"application/json"),
        (b"content-length", b"8"),
    ]
    scope = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "headers": headers,
        "root_path": "",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await readings.app(scope, receive, send)
    assert said[0]["status"] == 408
