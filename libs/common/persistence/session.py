"""Connections to one database, and the transactions that run on them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from libs.common.access.tenancy import ENTER

_ENTER = text(ENTER)


class Database:
    """One pool, logged in as one role. `dsn` is a SQLAlchemy URL with the asyncpg driver."""

    def __init__(self, dsn: str, *, pool_size: int = 5, statement_timeout_s: float = 60.0) -> None:
        self.dsn = dsn
        self.engine: AsyncEngine = create_async_engine(
            dsn,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=10,
            pool_pre_ping=False,
            hide_parameters=True,  # an error must not quote what a customer sent
            connect_args={
                "server_settings": {
                    "statement_timeout": str(int(statement_timeout_s * 1000)),
                    "idle_in_transaction_session_timeout": "60000",
                    "application_name": "perennial",
                },
                "timeout": 10,
                # For a server that has vanished without a word; one that is there is quicker to cancel.
                "command_timeout": statement_timeout_s + 15,
            },
        )

    @asynccontextmanager
    async def transaction(self, role: str, tenant: str = "") -> AsyncIterator[AsyncConnection]:
        """One transaction as `role`; commits on leaving, unless an error leaves first."""
        async with self.engine.connect() as connection, connection.begin():
            await enter(connection, role, tenant)
            yield connection

    async def close(self) -> None:
        await self.engine.dispose()


async def enter(connection: AsyncConnection, role: str, tenant: str = "") -> None:
    """Become `role`, and work for `tenant`, until the transaction ends or this is called again."""
    await connection.execute(_ENTER, {"role": role, "tenant": tenant})


def asyncpg_dsn(dsn: str) -> str:
    """The same address for asyncpg itself: for LISTEN and advisory locks, outside any pool."""
    return make_url(dsn).set(drivername="postgresql").render_as_string(hide_password=False)
