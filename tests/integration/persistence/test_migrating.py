"""Databases are made and migrated by whoever comes first; the others find it done."""

from __future__ import annotations

import asyncio
import sys

from libs.common.persistence.migrate import create_roles_and_databases, migrate
from tests.support.postgres import PostgresForTests
from tests.support.schema import schema_differences
from tests.support.small_service import (
    SmallService,
    metadata,
)

START = """
import asyncio, sys
from libs.common.persistence.migrate import create_roles_and_databases, migrate

async def start(admin, name, dsn):
    await create_roles_and_databases(admin, [name])
    await migrate("catalog", dsn)

asyncio.run(start(*sys.argv[1:]))
"""


async def test_two_processes_may_start_at_once_on_an_empty_server(postgres: PostgresForTests) -> None:
    name = f"migrated_{id(object()):x}"
    admin, dsn = postgres.server.dsn(), postgres.server.dsn(name)
    try:
        started = [
            await asyncio.create_subprocess_exec(sys.executable, "-c", START, admin, name, dsn)
            for _ in range(2)
        ]
        assert [await process.wait() for process in started] == [0, 0]
        from services.catalog.adapters import rows

        assert await schema_differences(dsn, rows.metadata) == []
        await create_roles_and_databases(admin, [name])
        await migrate("catalog", dsn)
        assert await schema_differences(dsn, rows.metadata) == []
    finally:
        await postgres.drop_database(name)


async def test_the_small_service_is_made_as_migrations_make_the_others(service: SmallService) -> None:
    """So that what is proved with it holds for them."""
    assert await schema_differences(service.database.admin_dsn, metadata) == []
