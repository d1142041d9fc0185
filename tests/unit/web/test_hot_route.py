"""The lane of hot routes: who may take it, and that both ways end in the same answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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
from libs.common.serving.http import listen, served
from libs.common.telemetry import TraceBudget
from libs.common.web.app import create_app, lanes_of
from libs.common.web.calls import Authorised
from libs.common.web.hot_route import HotRoute, PlainRequest
from libs.common.web.limits import BodyBudget, Limits
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
    traces: TraceBudget
    pause_s: float = 0.0
    requests: list[PlainRequest] = field(default_factory=list)
    bodies: BodyBudget = field(default_factory=lambda: BodyBudget(3 * BYTES_MAX))

    def token(self, **changes: Any) -> str:
        told: dict[str, Any] = {
            "tenant": TENANT,
            "scopes": ["usage:write"],
            "now": SystemClock().system_now(),
            "lifetime_s": 600,
            **changes,
        }
        return sign_token(self.key_file.signing_key, **told)

    @asynccontextmanager
    async def client(self, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
        """Behind the server, since it is there that the ways part."""
        headers = {"authorization": f"Bearer {self.token(**changes)}", "content-type": "application/json"}
        listener = listen("127.0.0.1", 0)
        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with (
            served(self.app, listener, lanes=lanes_of([self.app])),
            httpx.AsyncClient(base_url=base_url, headers=headers, trust_env=False) as client,
        ):
            yield client


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
        await asyncio.sleep(found.pause_s)
        return b'{"way": "lane"}'

    key_file = KeyFile.load_or_create(tmp_path / "keys.json")
    revoked = Revoked()
    traces = TraceBudget(per_s=0, burst=0)
    bodies = BodyBudget(3 * BYTES_MAX)
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
                traces=traces,
                bodies=bodies,
                unusual_headers=frozenset({b"ce-specversion"}),
                answer=the_lane,
            )
        ],
    )
    found = Readings(app, key_file, revoked, traces, bodies=bodies)
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


async def test_a_request_that_is_to_be_recorded_goes_the_long_way(readings: Readings) -> None:
    traced = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    async with readings.client() as client:
        assert [await way(client), await way(client, headers=traced), await way(client)] == [
            "long",
            "long",
            "lane",
        ]
        readings.traces.__init__(per_s=0, burst=1)  # type: ignore[misc]
        assert [await way(client), await way(client)] == ["long", "lane"]
        untraced = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}
        answer = await client.post(PATH, content=BODY, headers=untraced)
    assert (answer.json()["way"], answer.headers["x-trace-id"]) == ("lane", "a" * 32)


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


@asynccontextmanager
async def connection(
    client: httpx.AsyncClient,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """To the server that the client asks, for what no client would send."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    try:
        yield reader, writer
    finally:
        writer.close()


def raw(client: httpx.AsyncClient, body: bytes, *, length: int | None = None) -> bytes:
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: {client.headers['authorization']}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


async def test_a_body_that_does_not_come_is_not_waited_for(readings: Readings) -> None:
    async with readings.client() as client:
        await way(client)
        async with connection(client) as (reader, writer):
            writer.write(raw(client, b'{"n"', length=8))
            status, body = await asyncio.wait_for(read_answer(reader), 5)
            assert (status, json.loads(body)["code"]) == (408, "request_timed_out")
            assert await reader.read() == b"", "the connection is over"
        assert await way(client) == "lane", "the others do not notice"
    assert len(readings.requests) == 1


async def test_a_body_may_come_in_pieces(readings: Readings) -> None:
    async with readings.client() as client:
        await way(client)
        async with connection(client) as (reader, writer):
            whole = raw(client, BODY)
            for piece in (whole[:20], whole[20:-5], whole[-5:-2], whole[-2:]):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            status, body = await asyncio.wait_for(read_answer(reader), 5)
    assert (status, json.loads(body)["way"]) == (200, "lane")
    assert readings.requests[0].body == BODY


async def test_requests_sent_without_waiting_are_answered_in_order(readings: Readings) -> None:
    """Both ways take turns on one connection, which stays open."""
    async with readings.client() as client:
        await way(client)
        async with connection(client) as (reader, writer):
            long = raw(client, BODY).replace(b"application/json", b"text/plain")
            writer.write(raw(client, BODY) + long + raw(client, BODY))
            ways = [json.loads((await asyncio.wait_for(read_answer(reader), 5))[1])["way"] for _ in range(3)]
            assert ways[:2] == ["lane", "long"]
            writer.write(raw(client, BODY))
            assert json.loads((await asyncio.wait_for(read_answer(reader), 5))[1])["way"] == "lane"


async def test_who_goes_away_before_the_answer_harms_nobody(readings: Readings) -> None:
    async with readings.client() as client:
        await way(client)
        async with connection(client) as (_, writer):
            writer.write(raw(client, BODY))
            await writer.drain()
        assert await way(client) == "lane"


async def test_what_was_asked_is_answered_before_the_server_ends(readings: Readings) -> None:
    readings.pause_s = 0.3
    async with readings.client() as client:
        await way(client)
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(raw(client, BODY))
        await asyncio.sleep(0.1)
    assert (await read_answer(reader))[0] == 200
    assert await reader.read() == b""
    writer.close()


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to that")


async def test_bodies_are_in_hand_until_they_are_answered_however(readings: Readings) -> None:
    async with readings.client() as client:
        await way(client)
        readings.pause_s = 0.05
        answering = asyncio.create_task(way(client))
        await until(lambda: bool(readings.requests))
        assert readings.bodies.held_bytes == len(BODY)
        assert await answering == "lane"
        assert readings.bodies.held_bytes == 0
        for content in (b"refused", b"broken"):
            assert (await client.post(PATH, content=content)).status_code >= 400
            assert readings.bodies.held_bytes == 0


async def test_where_there_is_no_room_for_a_body_it_is_not_read_in_the_lane(readings: Readings) -> None:
    async with readings.client() as client:
        await way(client)
        assert readings.bodies.take(3 * BYTES_MAX)
        assert await way(client) == "long"
        readings.bodies.give(3 * BYTES_MAX)
        assert await way(client) == "lane"


async def test_a_body_whose_sender_has_gone_is_given_back_at_once(readings: Readings) -> None:
    async with readings.client() as client:
        await way(client)
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: {client.headers['authorization']}\r\n"
        writer.write(f"{head}content-type: application/json\r\ncontent-length: 50\r\n\r\n[".encode())
        await writer.drain()
        await until(lambda: readings.bodies.held_bytes > 0)
        writer.close()
        await until(lambda: readings.bodies.held_bytes == 0)


def test_a_body_longer_than_all_that_is_allowed_is_taken_when_it_is_the_only_one() -> None:
    bodies = BodyBudget(10)
    assert bodies.take(25)
    assert not bodies.take(1)
    bodies.give(25)
    assert bodies.take(9)
    assert bodies.take(1)
    assert not bodies.take(1)
