"""Transactions by the driver itself, for a path that makes hundreds of small ones a second.

What SQLAlchemy adds to a transaction is nothing beside the work of most, and half of the work of these. Here the
transaction's begin, its role, its tenant and its first lock are one round trip.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.errors import TransientError


class NotCommitted(TransientError):
    """A statement of the transaction had failed before: nothing of it was kept."""

    code: ClassVar[str] = "not_committed"
    title: ClassVar[str] = "The transaction was not committed"


class DirectConnection:
    """Stands where a unit of work has its connection: whatever speaks to the driver works on it, and nothing else.

    Statements that have neither parameters nor an answer wait, and travel together with the next one that is sent.
    """

    def __init__(self, driver: asyncpg.Connection[Any]) -> None:
        self.driver = driver
        self._waiting: list[str] = []
        self._is_begun = False

    def begin(self) -> None:
        self._waiting = ["BEGIN"]

    def enter(self, role: str, tenant: str) -> None:
        """Become `role`, and work for `tenant`, until the transaction ends or this is called again."""
        settings = f"set_config('role', {_quoted(role)}, true), set_config('perennial.tenant', {_quoted(tenant)}, true)"
        self._waiting.append(f"SELECT {settings}")

    async def run(self, statement: str) -> None:
        """What waits, then `statement`, each seeing what was committed until it begins."""
        self._waiting.append(statement)
        await self.ready()

    async def ready(self) -> asyncpg.Connection[Any]:
        """The driver's connection, once all that waits has been sent."""
        if self._waiting:
            together = "; ".join(self._waiting)
            self._waiting = []
            self._is_begun = True
            await self.driver.execute(together)
        return self.driver

    async def commit(self) -> None:
        """Raises: NotCommitted when somebody has passed over an error of a statement."""
        self._waiting = []
        if self._is_begun:
            self._is_begun = False
            told = await self.driver.execute("COMMIT")
            if told != "COMMIT":
                raise NotCommitted("a statement had failed before", retry_after_s=1)

    async def undo(self) -> None:
        self._waiting = []
        if self._is_begun:
            self._is_begun = False
            await self.driver.execute("ROLLBACK")


class DirectTransactions:
    """One connection of a pool, borrowed when the first transaction begins, for as many as there are, one at a time."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._borrowed: AsyncConnection | None = None
        self._direct: DirectConnection | None = None

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[DirectConnection]:
        """One transaction; commits on leaving, unless an error leaves first."""
        direct = await self._connected()
        direct.begin()
        try:
            yield direct
            await direct.commit()
        except Exception:
            await self._undo(direct)
            raise
        except BaseException:  # whatever it was doing was broken off
            await self._drop()
            raise

    async def close(self) -> None:
        """Give the connection back. Whoever begins again borrows another."""
        borrowed, self._borrowed, self._direct = self._borrowed, None, None
        if borrowed is not None:
            await borrowed.close()

    async def _connected(self) -> DirectConnection:
        if self._direct is not None and self._direct.driver.is_closed():
            await self._drop()
        if self._direct is None:
            self._borrowed = await self._engine.connect()
            proxied = await self._borrowed.get_raw_connection()
            self._direct = DirectConnection(proxied.driver_connection)  # type: ignore[arg-type]
        return self._direct

    async def _undo(self, direct: DirectConnection) -> None:
        try:
            await direct.undo()
        except Exception:  # it has gone, or will not be used again
            await self._drop()

    async def _drop(self) -> None:
        if self._direct is not None:
            self._direct.driver.terminate()
        if self._borrowed is not None:
            await self._borrowed.invalidate()
        await self.close()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
