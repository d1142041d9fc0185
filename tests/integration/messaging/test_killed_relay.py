"""T14: a worker's process is killed between its commit and its publication; the events still go out, in order."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from libs.common.messaging.embedded_bus import EmbeddedBus
from tests.integration.messaging.test_relay import versions
from tests.support.paused_relay import EVENTS, REACHED
from tests.support.small_service import SmallService, all_on_the_bus, background, eventually, happened

START_S = 30


@asynccontextmanager
async def worker(service: SmallService, point: str, first: int) -> AsyncIterator[None]:
    """A process that has committed its events and stands at the point; killed in the end."""
    assert isinstance(service.bus, EmbeddedBus)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.paused_relay",
        point,
        str(first),
        service.database.worker_dsn,
        service.bus._dsn,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_S)
        assert line.decode().strip() == REACHED
        yield
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize(("point", "published"), [("before", 0), ("after", EVENTS)])
async def test_a_worker_that_is_killed_leaves_its_events_to_the_next(
    service: SmallService, point: str, published: int
) -> None:
    async with worker(service, point, 1):
        assert await service.unpublished() == EVENTS
    assert sum((await service.bus.end_offsets("perennial.test.v1")).values()) == published
    await service.say(happened("t1", EVENTS + 1))
    async with background(service.relay().run, service.consumer().run):
        await eventually(service.unpublished, 0)
        await eventually(service.effects, [("t1", number) for number in range(1, EVENTS + 2)])
    expected = [*range(1, published + 1), *range(1, EVENTS + 2)]
    assert versions(await all_on_the_bus(service.bus)) == expected
