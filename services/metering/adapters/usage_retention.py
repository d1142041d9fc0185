"""From when on raw events are there, and how what lies before goes: whole months, or a tenant's rows in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import asyncpg
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from libs.common.access.tenancy import FINDER
from libs.common.persistence.base import raw
from libs.common.persistence.session import Database
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import rows
from services.metering.domain.usage_retention import UsageRetention as Retention
from services.metering.domain.usage_retention import raw_events_gone

GONE = "PR001"  # what usage_must_be_kept raises
DELETED_AT_ONCE = 5_000
LOCK_TIMEOUT_MS = 2_000

_EARLIEST_NEEDED = """
    SELECT min(w.window_start) FROM usage_window w
    WHERE w.state <> 'closed' OR EXISTS (SELECT FROM late_usage l WHERE l.window_id = w.id)
       OR EXISTS (SELECT FROM usage_seal_note n WHERE n.window_id = w.id)
"""


class UsageRetention:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def kept_from(self) -> datetime | None:
        found: datetime | None = await (await raw(self._uow.connection)).fetchval("SELECT usage_kept_from()")
        return found

    async def find(self, *, for_update: bool = False) -> Retention:
        """Of the transaction's tenant; one that has said nothing has version 0."""
        wanted = select(rows.usage_retention)
        if for_update:
            wanted = wanted.with_for_update()
        row = (await self._uow.connection.execute(wanted)).mappings().first()
        if row is None:
            return Retention()
        return Retention(row["version"], row["kept_days"], row["kept_from"], row["noted_at"])

    async def save(self, retention: Retention, *, due_at: datetime) -> None:
        """`due_at`: when it is looked at again."""
        table = rows.usage_retention
        values = {
            "version": retention.version,
            "kept_days": retention.kept_days,
            "kept_from": retention.kept_from,
            "noted_at": retention.noted_at,
            "due_at": due_at,
        }
        made = insert(table).values(id=self._uow.tenant, tenant=self._uow.tenant, **values)
        await self._uow.connection.execute(
            made.on_conflict_do_update(index_elements=[table.c.id], set_=values)
        )

    async def earliest_needed(self) -> datetime | None:
        """Where the first window begins that has not closed, or is to be counted again, or sealed."""
        found: datetime | None = await (await raw(self._uow.connection)).fetchval(_EARLIEST_NEEDED)
        return found

    async def delete(self, rested: timedelta) -> int:
        """A piece of what this tenant no longer keeps; returns how many events that was."""
        driver = await raw(self._uow.connection)
        return int(await driver.fetchval("SELECT delete_usage($1, $2)", rested, DELETED_AT_ONCE))


@contextmanager
def telling_what_is_gone() -> Iterator[None]:
    """Raises: RawEventsGone, where a statement would have had to read what is no longer kept."""
    try:
        yield
    except asyncpg.PostgresError as error:
        if getattr(error, "sqlstate", None) != GONE:
            raise
        raise raw_events_gone(datetime.fromisoformat(str(getattr(error, "detail", "")))) from error


async def keep_from(database: Database, wanted: datetime) -> None:
    """Nobody's raw events before are to be relied on, as far as no window needs them: whole months go."""
    async with database.transaction(FINDER) as connection:
        await (await raw(connection)).execute("SELECT keep_usage_from($1)", wanted)


async def drop_months(database: Database, rested: timedelta) -> int:
    """What is no longer kept since `rested`; returns how many months went. They wait for nobody for long."""
    try:
        async with database.transaction(FINDER) as connection:
            driver = await raw(connection)
            await driver.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
            dropped = int(await driver.fetchval("SELECT drop_usage_months($1)", rested))
    except asyncpg.LockNotAvailableError:
        return 0
    while True:
        async with database.transaction(FINDER) as connection:
            driver = await raw(connection)
            deleted = int(await driver.fetchval("SELECT delete_usage_measurements($1)", DELETED_AT_ONCE))
        if deleted < DELETED_AT_ONCE:
            return dropped
