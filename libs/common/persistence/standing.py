"""A connection kept open, outside any pool and transaction, for a short question that is asked again and again."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

CONNECT_TIMEOUT_S = 10.0
STATEMENT_TIMEOUT_S = 10.0


class StandingConnection:
    """Logged in as `role` for good; one question costs one round trip. Opened when it is first asked."""

    def __init__(self, address: str, role: str) -> None:
        self._address, self._role = address, role
        self._turn = asyncio.Lock()
        self._connection: asyncpg.Connection[Any] | None = None

    async def fetchval(self, question: str, *parameters: object) -> Any:
        """The first column of the first row. Raises: what the database does; the next question connects again."""
        async with self._turn:
            try:
                return await (await self._open()).fetchval(question, *parameters)
            except BaseException:
                self._drop()
                raise

    async def close(self) -> None:
        self._drop()

    async def _open(self) -> asyncpg.Connection[Any]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._address,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=STATEMENT_TIMEOUT_S,
                server_settings={"application_name": f"perennial {self._role}"},
            )
            await self._connection.execute(f"SET ROLE {self._role}")
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
