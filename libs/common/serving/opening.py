"""Work begins once the database is there and migrated: until then a worker waits, and says that it is not ready."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from sqlalchemy import text

from libs.common.access.tenancy import APP
from libs.common.persistence.session import Database
from libs.common.runtime import Loop
from libs.common.stopping import Stopping

LOOK_EVERY_S = 0.25
TELL_EVERY_S = 10.0

_LOOK = text("SELECT FROM outbox LIMIT 0")  # every service has one, and whoever works may read it

log = logging.getLogger(__name__)


class Opening:
    """One for a worker process. `database` is the worker's login."""

    def __init__(self, database: Database, stopping: Stopping) -> None:
        self._database, self._stopping = database, stopping
        self._open = asyncio.Event()

    def loops(self, work: list[Loop]) -> list[Loop]:
        """The same loops, each beginning when it may."""
        return [self._run, *(self._after(loop) for loop in work)]

    async def readiness(self) -> Mapping[str, bool]:
        await self._look()
        return {"database": True, "working": self._open.is_set() and not self._stopping.is_set()}

    async def _look(self) -> None:
        async with self._database.transaction(APP) as connection:
            await connection.execute(_LOOK)

    async def _run(self) -> None:
        """Whatever is wrong with the database may be mended while we wait: its server, its roles, its tables."""
        told_at = float("-inf")
        while not self._open.is_set() and not self._stopping.is_set():
            try:
                await self._look()
                self._open.set()
            except Exception as error:
                if time.monotonic() - told_at > TELL_EVERY_S:
                    told_at = time.monotonic()
                    log.warning("waiting for the database", extra={"reason": _first_line(error)})
                await self._stopping.pause(LOOK_EVERY_S)
        await self._stopping.wait()

    def _after(self, loop: Loop) -> Loop:
        async def run() -> None:
            opened = asyncio.create_task(self._open.wait())
            stopped = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait((opened, stopped), return_when=asyncio.FIRST_COMPLETED)
            finally:
                opened.cancel()
                stopped.cancel()
            if not self._stopping.is_set():
                await loop()

        run.__qualname__ = getattr(loop, "__qualname__", repr(loop))
        return run


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
