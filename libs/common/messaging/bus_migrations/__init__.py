"""The tables of the embedded bus: made, and moved to the newest version, by numbered SQL files.

Alembic serves the four services. Here it would ask for SQLAlchemy metadata that nothing else uses, for three
tables that hold no business data; a numbered file and a table of what was applied do the same in forty lines.
A step, once released, never changes: the next change is the next file.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import asyncpg

from libs.common.errors import ServiceError

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('perennial_bus_schema', 0))"
_VERSIONS = """
    CREATE TABLE IF NOT EXISTS bus_version (
        version integer PRIMARY KEY,
        installed_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
"""


class NewerBusSchema(ServiceError):
    code = "newer_bus_schema"
    title = "The bus database was made by a newer version"


async def install(connection: asyncpg.Connection[Any]) -> int:
    """Bring the bus database to the newest version, in one transaction; returns that version. Safe to repeat.

    Raises: NewerBusSchema, when the database has been used by a newer version than this.
    """
    steps = _steps()
    async with connection.transaction():
        await connection.execute(_LOCK)  # two processes that start together take turns
        await connection.execute(_VERSIONS)
        present: int = await connection.fetchval("SELECT coalesce(max(version), 0) FROM bus_version")
        if present > max(steps):
            raise NewerBusSchema(
                "cannot use the bus database",
                remedy="Run the newer version.",
                present=present,
                known=max(steps),
            )
        for version in range(present + 1, max(steps) + 1):
            await connection.execute(steps[version])
            await connection.execute("INSERT INTO bus_version (version) VALUES ($1)", version)
    return max(steps)


def _steps() -> dict[int, str]:
    """Version → SQL, from files named 0001_what_it_does.sql."""
    files = [file for file in resources.files(__name__).iterdir() if file.name.endswith(".sql")]
    return {int(file.name.split("_")[0]): file.read_text(encoding="utf-8") for file in files}
