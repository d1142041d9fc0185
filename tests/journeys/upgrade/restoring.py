"""The data of a release, restored into a new cluster as if it had been made a minute ago."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from libs.common.persistence.embedded import SUPERUSER, EmbeddedPostgres
from libs.common.persistence.session import asyncpg_dsn
from tests.journeys.upgrade.before import DATABASES, PROGRAMS
from tests.support.one_process import OneProcess, one_process

DATA = Path(__file__).resolve().parent / "data"
AGE = timedelta(minutes=1)

# What the wall's clock decides: housekeeping, retries, keys that expire. All of it moves with the data.
_MACHINERY = (
    ("outbox", "recorded_at", "published_at"),
    ("inbox", "handled_at"),
    ("message_failure", "next_try_at", "first_failed_at", "last_failed_at"),
    ("idempotency_key", "created_at", "expires_at"),
    ("revoked_token", "expires_at"),
)
_BUS = (("bus_record", "at"),)
_CLAIMS_ARE_OVER = """
    UPDATE payment_attempt SET claimed_until = now() - interval '1 s', retry_at = now() - interval '1 s'
    WHERE state = 'calling'
"""


@dataclass(frozen=True, slots=True)
class Restored:
    """`process` is the present code on the release's databases. `told` is what the release's story left to know."""

    process: OneProcess
    told: Mapping[str, Any]
    server: EmbeddedPostgres

    def ask(self, service: str, query: str) -> list[tuple[Any, ...]]:
        """As a superuser, past all policies."""
        return asyncio.run(_ask(asyncpg_dsn(self.server.dsn(f"perennial_{service}")), query))

    def schema(self, service: str) -> str:
        """Everything but the rows: tables, indexes, triggers, policies, rights."""
        return schema_of(self.server, f"perennial_{service}")


@contextmanager
def restored(release: str, log: Path) -> Iterator[Restored]:
    """Not started yet; in the end it is gone."""
    with one_process(log) as process:
        process.folder.mkdir(parents=True)
        with tarfile.open(DATA / f"{release}.tar.xz") as archive:
            files = {entry.name: _content(archive, entry) for entry in archive.getmembers()}
        (process.folder / "keys.json").write_bytes(files["keys.json"])
        (process.folder / "keys.json").chmod(0o600)
        told = json.loads(files["told.json"])
        server = EmbeddedPostgres(process.folder / "postgres", fsync=False)
        server.start()
        _restore_roles(server, files["roles.sql"])
        for name in DATABASES:
            _run(server, files[f"{name}.sql"])
        later = datetime.now(UTC) - AGE - datetime.fromisoformat(told["made_at"])
        asyncio.run(_make_young(server, later))
        yield Restored(process, told, server)


def schema_of(server: EmbeddedPostgres, database: str) -> str:
    """As `pg_dump` tells it; without the months of events and the years of sums, which come with the events."""
    without = ["--exclude-table=*.usage_event_20*", "--exclude-table=*.usage_bucket_20*"]
    what = ["--schema-only", "--no-comments", "--restrict-key=same", *without]
    where = ["-h", str(server.socket_folder), "-U", SUPERUSER, database]
    done = subprocess.run(
        [str(PROGRAMS / "pg_dump"), *what, *where], check=True, capture_output=True, text=True
    )
    return done.stdout


async def _ask(dsn: str, query: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(entry)
    assert isinstance(file, io.BufferedReader)
    return file.read()


def _restore_roles(server: EmbeddedPostgres, script: bytes) -> None:
    """All but the superuser, whom the new cluster has already."""
    own = (f"CREATE ROLE {SUPERUSER};".encode(), f"ALTER ROLE {SUPERUSER} ".encode())
    _run(server, b"\n".join(line for line in script.splitlines() if not line.startswith(own)))


def _run(server: EmbeddedPostgres, script: bytes) -> None:
    words = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(server.socket_folder), "-U", SUPERUSER]
    done = subprocess.run([str(PROGRAMS / "psql"), *words], input=script, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


async def _make_young(server: EmbeddedPostgres, later: timedelta) -> None:
    for name in DATABASES:
        connection = await asyncpg.connect(asyncpg_dsn(server.dsn(name)))
        try:
            for table, *columns in _BUS if name == "perennial_bus" else _MACHINERY:
                moved = ", ".join(f'"{column}" = "{column}" + $1' for column in columns)
                await connection.execute(f"UPDATE {table} SET {moved}", later)
            if name == "perennial_billing":
                await connection.execute(_CLAIMS_ARE_OVER)
        finally:
            await connection.close()
