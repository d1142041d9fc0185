"""One mover of test clocks at a time: it holds an advisory lock, which is gone with its process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from libs.common.messaging.alarm import Alarm
from libs.common.persistence.session import asyncpg_dsn

CHANNEL = "perennial_clock_move"
RETRY_S = 1.0

_TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('perennial_clock_mover', 0))"


class HeldLock:
    """The lock, as long as the connection lives on which it was taken."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection
        self._alarm = Alarm()

    async def wait(self, timeout_s: float) -> None:
        """Until somebody asks for a move, or the time is over. Raises when the lock was lost with its connection."""
        await self._alarm.wait(timeout_s)
        await self._connection.execute("SELECT 1")

    def ring(self, *_: Any) -> None:
        self._alarm.ring()


class MoverLock:
    """`dsn` is the worker's login. The connection stands outside any pool, and waits for as long as it must."""

    def __init__(self, dsn: str) -> None:
        self._dsn = asyncpg_dsn(dsn)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[HeldLock]:
        connection = await asyncpg.connect(self._dsn, timeout=10)
        try:
            await _take(connection)
            lock = HeldLock(connection)
            await connection.add_listener(CHANNEL, lock.ring)
            yield lock
        finally:
            connection.terminate()


async def _take(connection: asyncpg.Connection[Any]) -> None:
    """Asked for again and again: a statement that waited for it would keep old rows from being cleaned up."""
    while True:
        if await connection.fetchval(_TRY_LOCK):
            return
        await asyncio.sleep(RETRY_S)
