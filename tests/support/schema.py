"""Whether what migrations made is what a service's tables say."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import create_async_engine


async def schema_differences(dsn: str, metadata: MetaData) -> list[Any]:
    """What a new migration would have to change; empty when there is nothing."""
    engine = create_async_engine(dsn)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_compare, metadata)
    finally:
        await engine.dispose()


def _compare(connection: Connection, metadata: MetaData) -> list[Any]:
    options = {"compare_type": True, "include_name": _of_the_service}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def _of_the_service(name: str | None, kind: str, parents: Any) -> bool:
    """Indexes that the finder needs are made with its rights, beside the tables."""
    return not (kind == "index" and name is not None and name.endswith("_due"))
