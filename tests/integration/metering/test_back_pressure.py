"""What arrives faster than it is stored is refused before it takes memory, and nothing that was answered is lost."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from services.metering.entrypoints.dependencies import Ingest
from tests.integration.metering.harness import Metering, flight, statuses

AT = "2025-01-10T10:00:00Z"
BYTES_MAX = 64_000_000
PATHS = ("/v1/usage-events", "/api/v1/events", "/v1/usage-events/voids", "/v1/usage-events/amendments")


def ingest_of(metering: Metering) -> Ingest:
    ingest: Ingest = metering.service.service.app.state.ingest
    return ingest


@contextmanager
def full(metering: Metering, *, but: int = 0) -> Iterator[None]:
    """As if other requests had these bytes in hand."""
    bodies = ingest_of(metering).bodies
    assert bodies.held_bytes == 0
    bodies.take(BYTES_MAX - but)
    try:
        yield
        assert bodies.held_bytes == BYTES_MAX - but
    finally:
        bodies.give(BYTES_MAX - but)


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_for_which_there_is_no_room_is_refused_until_there_is(
    metering: Metering, path: str
) -> None:
    event = flight("a", AT, 1)
    entry = {"source": event["source"], "id": "a", "event": event, "reason": "r"}
    kind = path.rpartition("/")[2]
    body = {kind: [entry]} if kind in ("voids", "amendments") else [event]
    with full(metering):
        answer = await metering.client.post(path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (503, "ingest_busy")
        assert answer.headers["retry-after"] == "1"
        assert await metering.count("usage_event") == 0
    again = await metering.client.post(path, json=body)
    assert again.status_code in (200, 204)
    assert ingest_of(metering).bodies.held_bytes == 0


async def test_a_body_of_unknown_length_is_counted_as_it_comes(metering: Metering) -> None:
    body = json.dumps([flight(str(n), AT, 1) for n in range(20)]).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 500):
            yield body[start : start + 500]
            await asyncio.sleep(0)

    headers = {"content-type": "application/json"}
    with full(metering, but=len(body) - 1):
        answer = await metering.client.post(PATHS[0], content=pieces(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "ingest_busy")
    with full(metering, but=len(body)):
        answer = await metering.client.post(PATHS[0], content=pieces(), headers=headers)
        assert answer.json()["stored"] == 20
    assert ingest_of(metering).bodies.held_bytes == 0


async def test_what_a_body_unpacks_to_is_counted_too(metering: Metering) -> None:
    event = json.dumps([flight("a", AT, data={"minutes": 1, "note": "x" * 5_000})]).encode()
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    packed = gzip.compress(event)
    with full(metering, but=len(packed) + len(event) - 1):
        answer = await metering.client.post(PATHS[0], content=packed, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "ingest_busy")
    answer = await metering.client.post(PATHS[0], content=packed, headers=headers)
    assert statuses(answer.json()) == ["stored"]


async def test_under_more_than_it_takes_what_was_answered_is_stored_and_the_rest_told_to_come_again(
    metering: Metering,
) -> None:
    """Thirty senders at once with room for a few: each event is stored in the end, and no more is ever in hand."""
    await metering.define()
    body_length = len(json.dumps([flight("00", AT, 1)]).encode())
    bodies = ingest_of(metering).bodies
    refused_count = 0

    async def send(id: str) -> None:
        nonlocal refused_count
        while True:
            answer = await metering.client.post("/v1/usage-events", json=[flight(id, AT, 1)], timeout=60)
            assert bodies.held_bytes <= BYTES_MAX
            if answer.status_code == 200:
                assert statuses(answer.json()) == ["stored"]
                return
            assert answer.headers["retry-after"] == "1"
            refused_count += 1
            await asyncio.sleep(0.02)

    with full(metering, but=3 * body_length):
        await asyncio.gather(*[send(f"{n:02}") for n in range(30)])
    assert refused_count
    assert await metering.usage(subject="N1") == [("30", 30)]
