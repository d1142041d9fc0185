"""A PostgreSQL for one test run, and fresh databases on it."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from libs.common.persistence.embedded import EmbeddedPostgres
from libs.common.persistence.session import asyncpg_dsn

FOLDER = Path(__file__).resolve().parents[2] / "var" / "test-postgres"
SMALL: Mapping[str, str] = {"shared_buffers": "128MB", "min_wal_size": "80MB", "max_wal_size": "1GB"}
_ABANDONED_AFTER_S = 60


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
            await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
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


@contextmanager
def cluster_folder() -> Iterator[Path]:
    """The path of a cluster to be. Whatever server runs there in the end is stopped, and the folder removed.

    What a killed run left behind (its server lives on, by design) is stopped and removed by the next: a run
    holds the lock beside its folder, so several runs at once leave each other alone.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    _sweep()
    folder = FOLDER / secrets.token_hex(4)
    with _claim(folder) as claimed:
        assert claimed
        try:
            yield folder
        finally:
            _remove(EmbeddedPostgres(folder))


def _sweep() -> None:
    for lock in FOLDER.glob("*.lock"):
        if time.time() - lock.stat().st_mtime > _ABANDONED_AFTER_S:
            folder = lock.with_suffix("")
            with _claim(folder) as claimed:
                if claimed:
                    _remove(EmbeddedPostgres(folder))


@contextmanager
def _claim(folder: Path) -> Iterator[bool]:
    path = folder.with_suffix(".lock")
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        os.utime(path)
        yield True
        path.unlink(missing_ok=True)


def _remove(server: EmbeddedPostgres) -> None:
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)
