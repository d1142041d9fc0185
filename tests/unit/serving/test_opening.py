"""A worker's loops begin when its database is there and migrated, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from libs.common.persistence.session import Database
from libs.common.runtime import running
from libs.common.serving.opening import Opening
from libs.common.stopping import Stopping


class Unborn:
    """A database that is not there until `there` is set."""

    def __init__(self) -> None:
        self.there = False

    @asynccontextmanager
    async def transaction(self, role: str, tenant: str = "") -> AsyncIterator[Any]:
        if not self.there:
            raise ConnectionRefusedError("nobody listens")
        yield self

    async def execute(self, statement: object) -> None:
        assert "outbox" in str(statement)


@pytest.fixture
def database() -> Unborn:
    return Unborn()


async def test_loops_wait_for_the_database(database: Unborn, caplog: pytest.LogCaptureFixture) -> None:
    stopping, began = Stopping(), asyncio.Event()
    opening = Opening(cast(Database, database), stopping)

    async def work() -> None:
        began.set()
        await stopping.wait()

    async with running("catalog", opening.loops([work]), stopping=stopping):
        with pytest.raises(ConnectionRefusedError):
            await opening.readiness()
        await asyncio.sleep(0.6)
        assert not began.is_set()
        database.there = True
        await asyncio.wait_for(began.wait(), 5)
        assert await opening.readiness() == {"database": True, "working": True}
        stopping.set()
        assert await opening.readiness() == {"database": True, "working": False}
    waiting = [record for record in caplog.records if record.message == "waiting for the database"]
    assert len(waiting) == 1, "told now and then, not at each look"


async def test_who_is_told_to_stop_while_waiting_stops(database: Unborn) -> None:
    stopping, began = Stopping(), asyncio.Event()

    async def work() -> None:
        began.set()

    opening = Opening(cast(Database, database), stopping)
    async with asyncio.timeout(5):
        async with running("catalog", opening.loops([work]), stopping=stopping):
            await asyncio.sleep(0.1)
    assert not began.is_set()
