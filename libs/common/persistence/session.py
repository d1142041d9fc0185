"""Connections to one database, and the transactions that run on them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from libs.common.access.tenancy import ENTER, FINDER
from libs.common.persistence.direct import DirectConnection, DirectTransactions
from libs.common.persistence.standing import StandingConnection

_ENTER = text(ENTER)


class Database:
    """One pool, logged in as one role. `dsn` is a SQLAlchemy URL with the asyncpg driver.

    `finder` is what a worker asks whether anything is due: most of the time, nothing is.
    """

    def __init__(self, dsn: str, *, pool_size: int = 5, statement_timeout_s: float = 60.0) -> None:
        self.dsn = dsn
        self.finder = StandingConnection(asyncpg_dsn(dsn), FINDER)
        self.connections_max = 2 * pool_size
        self.engine = make_engine(
            dsn,
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
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=10,
            pool_pre_ping=False,
            hide_parameters=True,  # an error must not quote what a customer sent
        )

    @asynccontextmanager
    async def transaction(self, role: str, tenant: str = "") -> AsyncIterator[AsyncConnection]:
        """One transaction as `role`; commits on leaving, unless an error leaves first."""
        async with self.engine.connect() as connection, connection.begin():
            await enter(connection, role, tenant)
            yield connection

    def direct_transactions(self) -> DirectTransactions:
        """For whoever makes many small ones. They borrow a connection of the pool until they are closed."""
        return DirectTransactions(self.engine)

    def connections_in_use(self) -> int:
        """How many connections are at work just now, at most `connections_max`."""
        pool = self.engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    async def close(self) -> None:
        await self.finder.close()
        await self.engine.dispose()


def make_engine(dsn: str, *, connect_args: dict[str, Any] | None = None, **options: Any) -> AsyncEngine:
    """An engine whose connections asyncpg opens from the whole address: sslmode and its like hold, as in libpq."""
    address = asyncpg_dsn(dsn)

    async def connect() -> Any:
        return await asyncpg.connect(address, **(connect_args or {}))

    engine = create_async_engine(dsn, async_creator=connect, **options)
    event.listen(engine.sync_engine, "checkout", _leave_out_closed)
    return engine


def _leave_out_closed(connection: Any, *_: object) -> None:
    """A server that restarted has closed what rests in the pool: the next caller is given a new one, and no error.

    It costs no round trip, since the driver has noticed. Raises: DisconnectionError, upon which the pool connects.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError("the server closed it")


async def enter(connection: AsyncConnection, role: str, tenant: str = "") -> None:
    """Become `role`, and work for `tenant`, until the transaction ends or this is called again."""
    if isinstance(connection, DirectConnection):
        connection.enter(role, tenant)
        return
    await connection.execute(_ENTER, {"role": role, "tenant": tenant})


def asyncpg_dsn(dsn: str) -> str:
    """The same address for asyncpg itself: for LISTEN and advisory locks, outside any pool."""
    return make_url(dsn).set(drivername="postgresql").render_as_string(hide_password=False)
