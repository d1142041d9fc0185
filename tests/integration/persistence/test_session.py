"""Connections that rest in a pool when the server goes away are nobody's error afterwards."""

from __future__ import annotations

import asyncio

from sqlalchemy import text
from sqlalchemy.engine import make_url

from libs.common.persistence.session import Database
from tests.support.postgres import PostgresForTests

_END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'perennial' AND datname = $1"


async def test_whoever_comes_after_a_restart_gets_new_connections(
    postgres: PostgresForTests, database: str
) -> None:
    tried = Database(database, pool_size=2)

    async def ask() -> int:
        async with tried.engine.connect() as connection:
            return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())

    before = set(await asyncio.gather(ask(), ask()))
    async with postgres.admin() as admin:
        await admin.execute(_END_ALL, make_url(database).database)
    await asyncio.sleep(0.2)
    after = set(await asyncio.gather(ask(), ask(), ask()))
    assert not before & after
    await tried.close()
