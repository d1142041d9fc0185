"""Test clocks as this service last heard of them, looked up once a unit of work."""

from __future__ import annotations

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.clock import TestClock


class KnownClocks:
    """Test clocks as this service last heard of them."""

    def __init__(self, connection: AsyncConnection, table: Table) -> None:
        self._connection = connection
        self._table = table
        self._loaded: dict[str, TestClock | None] = {}

    def reset(self) -> None:
        self._loaded.clear()

    async def find(self, clock_id: str) -> TestClock | None:
        if clock_id not in self._loaded:
            statement = select(self._table.c.now).where(self._table.c.id == clock_id)
            row = (await self._connection.execute(statement)).first()
            self._loaded[clock_id] = TestClock(clock_id, row.now) if row else None
        return self._loaded[clock_id]
