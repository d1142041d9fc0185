"""Test clocks over HTTP, and the mover on a real database: one at a time, going on where another died."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from libs.common.access.keys import KeyFile
from libs.common.clock import SystemClock
from libs.common.contracts import SERVICES
from libs.common.http_client import PeerClient, PeerUnavailable
from services.subscriptions.adapters.clock_peers import HttpClockPeers
from services.subscriptions.adapters.mover_lock import MoverLock
from services.subscriptions.application.move_test_clock import ClockMover
from services.subscriptions.domain.clock_rest import Look, Offsets
from services.subscriptions.entrypoints.clock_mover import ClockMoverLoop
from tests.integration.subscriptions.story import Story, instant, pointers
from tests.support.service_under_test import ServiceUnderTest, new_tenant
from tests.support.subscriptions import utc

FROM, TO = "2025-01-31T05:00:00Z", "2025-03-31T04:00:00Z"


class QuietPeers:
    """Four services that have heard of everything at once. Something is due at `due`."""

    def __init__(self, story: Story, due: Sequence[datetime] = ()) -> None:
        self._story, self._due = story, due
        self.look_count = 0
        self.held = asyncio.Event()
        self.held.set()

    async def look(
        self, *, tenant: str, test_clock_id: str, services: Sequence[str] = SERVICES
    ) -> Sequence[Look]:
        await self.held.wait()
        self.look_count += 1
        async with self._story.service.parts.worker_units.open(tenant, "test") as uow:
            now = (await uow.test_clocks.get(test_clock_id)).now
        coming = min((at for at in self._due if at > now), default=None)
        return [Look(service, now, coming, 0, 0, 1) for service in services]


class NoProgress:
    async def ends(self) -> Mapping[str, Offsets]:
        return {}

    async def find_behind(self, ends: Mapping[str, Offsets]) -> tuple[str, str] | None:
        return None


def a_loop(service: ServiceUnderTest, peers: QuietPeers) -> ClockMoverLoop:
    mover = ClockMover(
        units=service.parts.worker_units, peers=peers, progress=NoProgress(), clock=SystemClock()
    )
    return ClockMoverLoop(mover, MoverLock(service.database.worker_dsn), look_every_s=0.05)


@asynccontextmanager
async def running(loop: ClockMoverLoop) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(loop.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def arrived(client: httpx.AsyncClient, location: str) -> dict[str, Any]:
    for _ in range(400):
        move: dict[str, Any] = (await client.get(location)).json()
        if move["state"] == "arrived":
            return move
        await asyncio.sleep(0.02)
    raise AssertionError(f"not arrived: {move}")


async def test_clocks_are_made_shown_and_listed(story: Story) -> None:
    async with story.client() as client:
        made = await story.test_clock(client, FROM)
        assert (await client.get(f"/v1/test-clocks/{made['id']}")).json() == made
        assert (await client.get("/v1/test-clocks")).json()["data"] == [made]
        assert made["now"] == FROM
    [event] = await story.events(made["id"])
    assert (event.occurred_at, event.test_clock) == (instant(FROM), made["id"])


async def test_a_move_is_asked_for_once_and_forward(story: Story) -> None:
    async with story.client() as client:
        made = await story.test_clock(client, FROM)
        path = f"/v1/test-clocks/{made['id']}/moves"
        back = await client.post(path, json={"to": "2025-01-01T00:00:00Z"})
        assert (back.status_code, back.json()["code"]) == (422, "clock_goes_back")
        wrong = await client.post(path, json={"to": "tomorrow"})
        assert pointers(wrong) == ["/to"]
        asked = await client.post(path, json={"to": TO})
        assert asked.status_code == 202
        location = asked.headers["location"]
        assert location == f"{path}/{asked.json()['id']}"
        again = await client.post(path, json={"to": TO})
        assert (again.status_code, again.json()) == (202, asked.json())
        other = await client.post(path, json={"to": "2025-06-01T00:00:00Z"})
        assert (other.status_code, other.json()["code"]) == (409, "clock_is_moving")
        shown = (await client.get(location)).json()
        assert (shown["state"], shown["from"], shown["to"], shown["clock_now"]) == (
            "moving",
            FROM,
            TO,
            FROM,
        )
        other_clock = await story.test_clock(client, FROM)
        lost = await client.get(f"/v1/test-clocks/{other_clock['id']}/moves/{asked.json()['id']}")
        assert (lost.status_code, lost.json()["code"]) == (404, "clock_move_not_found")
    await story.as_admin("UPDATE clock_move SET state = 'arrived', due_at = NULL")


async def test_two_who_ask_at_once_make_one_move(story: Story) -> None:
    async with story.client() as client:
        made = await story.test_clock(client, FROM)
        path = f"/v1/test-clocks/{made['id']}/moves"
        answers = await asyncio.gather(*(client.post(path, json={"to": TO}) for _ in range(4)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    await story.as_admin("UPDATE clock_move SET state = 'arrived', due_at = NULL")


async def test_live_tenants_have_no_test_clocks(story: Story) -> None:
    live = Story(story.service, new_tenant(), story.clock)
    await live.hear_of_tenant("live")
    async with live.client() as client:
        answer = await client.post("/v1/test-clocks", json={"name": "x", "starts_at": FROM})
    assert (answer.status_code, answer.json()["code"]) == (422, "sandbox_only")


async def test_a_tenant_that_is_made_a_moment_later_is_waited_for(story: Story) -> None:
    new = Story(story.service, new_tenant(), story.clock)
    async with new.client() as client:
        asking = asyncio.create_task(client.post("/v1/test-clocks", json={"name": "x", "starts_at": FROM}))
        await asyncio.sleep(0.2)
        assert not asking.done()
        await new.hear_of_tenant()
        assert (await asking).status_code == 201


async def test_another_tenants_clock_is_not_there(story: Story) -> None:
    async with story.client() as client:
        made = await story.test_clock(client, FROM)
    stranger = Story(story.service, new_tenant(), story.clock)
    async with stranger.client() as client:
        path = f"/v1/test-clocks/{made['id']}"
        assert (await client.get(path)).status_code == 404
        assert (await client.post(f"{path}/moves", json={"to": TO})).status_code == 404
        assert (await client.get("/v1/test-clocks")).json()["data"] == []


async def test_a_scope_of_clocks_is_needed(story: Story) -> None:
    async with story.client("subscriptions:write") as client:
        answer = await client.post("/v1/test-clocks", json={"name": "x", "starts_at": FROM})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


async def test_a_clock_moves_from_due_instant_to_due_instant(story: Story) -> None:
    peers = QuietPeers(story, [utc("2025-02-28T05:00"), utc("2025-03-01"), utc("2025-04-30")])
    async with story.client() as client, running(a_loop(story.service, peers)):
        made = await story.test_clock(client, FROM)
        asked = await client.post(f"/v1/test-clocks/{made['id']}/moves", json={"to": TO})
        move = await arrived(client, asked.headers["location"])
        shown = (await client.get(f"/v1/test-clocks/{made['id']}")).json()
    assert (move["steps"], move["clock_now"], move["waiting_for"]) == (3, TO, None)
    assert (shown["now"], shown["version"]) == (TO, 4)
    events = await story.events(made["id"])
    assert [event.occurred_at for event in events] == [
        instant(FROM),
        utc("2025-02-28T05:00"),
        utc("2025-03-01"),
        instant(TO),
    ]


async def test_one_mover_works_and_another_goes_on_when_it_dies(story: Story) -> None:
    first_peers, second_peers = QuietPeers(story, [utc("2025-02-28T05:00")]), QuietPeers(story)
    first_peers.held.clear()
    async with story.client() as client, running(a_loop(story.service, first_peers)) as first:
        made = await story.test_clock(client, FROM)
        asked = await client.post(f"/v1/test-clocks/{made['id']}/moves", json={"to": TO})
        await asyncio.sleep(0.2)
        async with running(a_loop(story.service, second_peers)):
            await asyncio.sleep(0.3)
            assert second_peers.look_count == 0  # the first holds the lock
            first.cancel()
            move = await arrived(client, asked.headers["location"])
    assert (move["clock_now"], first_peers.look_count) == (TO, 0)
    assert second_peers.look_count > 0


async def test_a_mover_that_loses_its_connection_takes_the_lock_again(story: Story) -> None:
    peers = QuietPeers(story)
    peers.held.clear()
    async with story.client() as client, running(a_loop(story.service, peers)):
        made = await story.test_clock(client, FROM)
        asked = await client.post(f"/v1/test-clocks/{made['id']}/moves", json={"to": TO})
        await asyncio.sleep(0.2)
        await story.as_admin(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        peers.held.set()
        move = await arrived(client, asked.headers["location"])
    assert move["clock_now"] == TO


async def test_peers_are_asked_with_a_short_token_of_the_tenant(story: Story, tmp_path: Path) -> None:
    """The real question, to the real route of this service, which stands in for all four."""
    async with story.client() as client:
        made = await story.test_clock(client, FROM)
    app = httpx.ASGITransport(app=story.service.service.app)

    class OneForAll(httpx.AsyncBaseTransport):
        def __init__(self) -> None:
            self.tokens: set[str] = set()
            self.down = False

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.tokens.add(request.headers["authorization"])
            path = request.url.path.split("-operations", 1)[1]
            if self.down and "billing" in request.url.path:
                return httpx.Response(403, json={})
            request.url = request.url.copy_with(path=f"/v1/subscriptions-operations{path}")
            return await app.handle_async_request(request)

    transport = OneForAll()
    peers = HttpClockPeers(
        PeerClient(dict.fromkeys(SERVICES, "http://peer.test"), transport=transport),
        key_path=story.service.keys.path,
        clock=SystemClock(),
    )
    looks = await peers.look(tenant=story.tenant, test_clock_id=made["id"])
    await peers.look(tenant=story.tenant, test_clock_id=made["id"])
    assert [look.service for look in looks] == list(SERVICES)
    assert all(look.clock_now is None for look in looks)  # nothing has told the services of it
    assert len(transport.tokens) == 1
    await peers.look(tenant=new_tenant(), test_clock_id=made["id"])
    assert len(transport.tokens) == 2
    transport.down = True
    with pytest.raises(PeerUnavailable, match="billing answered 403"):
        await peers.look(tenant=story.tenant, test_clock_id=made["id"])
    assert KeyFile.load(story.service.keys.path).keys
