"""A PostgreSQL for one test run, and fresh databases on it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from libs.common.persistence.embedded import EmbeddedPostgres
from libs.common.persistence.session import asyncpg_dsn
from tests.support.claimed_folder import claimed_folder

FOLDER = Path(__file__).resolve().parents[2] / "var" / "test-postgres"
SMALL: Mapping[str, str] = {
    "shared_buffers": "128MB",
    "min_wal_size": "80MB",
    "max_wal_size": "1GB",
    "autovacuum": "off",  # databases come and go: each of them would be looked through every few seconds
}


class PostgresForTests:
    """A running server, and databases that live as long as their test."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        """A superuser's connection."""
        connection = await asyncpg.connect(asyncpg_dsn(self.server.dsn()))
        try:
            yield connection
        finally:
            await connection.close()

    async def create_database(self, prefix: str = "test", *, template: str = "template1") -> str:
        """Make a database with a name of its own, as a copy of `template`; returns the name."""
        name = f"{prefix}_{secrets.token_hex(6)}"
        async with self.admin() as admin:
            # A copy of files; the other way, through the log, takes six times as long.
            await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return name

    async def drop_database(self, name: str) -> None:
        """Drop it, whoever is still connected."""
        async with self.admin() as admin:
            await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @asynccontextmanager
    async def fresh_database(self, prefix: str = "test") -> AsyncIterator[str]:
        """The SQLAlchemy address of a database that is dropped in the end."""
        name = await self.create_database(prefix)
        try:
            yield self.server.dsn(name)
        finally:
            await self.drop_database(name)


@contextmanager
def running_postgres(*, fsync: bool = False) -> Iterator[PostgresForTests]:
    """A new cluster, started, and gone in the end."""
    with cluster_folder() as folder:
        server = EmbeddedPostgres(folder, fsync=fsync, settings=SMALL)
        server.start()
        yield PostgresForTests(server)


def cluster_folder() -> AbstractContextManager[Path]:
    """The path of a cluster to be. A server that a killed run left lives on, by design, and goes with its folder."""
    return claimed_folder(FOLDER, remove=_remove)


def _remove(folder: Path) -> None:
    EmbeddedPostgres(folder).stop()
    shutil.rmtree(folder, ignore_errors=True)
