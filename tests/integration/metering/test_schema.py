"""Metering's migrations: they make the tables, rights and policies that the code counts on."""

from __future__ import annotations

import asyncio
from datetime import date

import asyncpg
import pytest

from libs.common.access.tenancy import APP
from libs.common.persistence.session import asyncpg_dsn
from services.metering.adapters.rows import metadata
from tests.integration.metering.harness import Metering, flight, fresh
from tests.support.schema import schema_differences


async def test_migrations_make_the_tables_as_written(metering: Metering) -> None:
    assert await schema_differences(metering.service.database.admin_dsn, metadata) == []


async def test_every_tenant_table_has_forced_row_policies(metering: Metering) -> None:
    async with metering.admin() as admin:
        unprotected = await admin.fetch(
            """SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE a.attname = 'tenant' AND c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
               AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"""
        )
    assert {row["relname"] for row in unprotected} == {"outbox", "message_failure"}


async def test_partitions_are_reached_through_their_parents_only(metering: Metering) -> None:
    await metering.send(flight(fresh(), "2013-03-01T10:00:00Z"))
    worker = await asyncpg.connect(asyncpg_dsn(metering.service.database.worker_dsn))
    try:
        await worker.execute(f"SET ROLE {APP}")
        for partition in ("usage_event_2013_03", "usage_key_00"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await worker.fetch(f"SELECT * FROM usage_partitions.{partition}")
    finally:
        await worker.close()


@pytest.mark.parametrize("table", ["usage_key", "usage_event"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET key = key", "DELETE FROM {}"])
async def test_the_app_has_no_right_to_change_what_was_stored(
    metering: Metering, table: str, statement: str
) -> None:
    worker = await asyncpg.connect(asyncpg_dsn(metering.service.database.worker_dsn))
    try:
        await worker.execute(f"SET ROLE {APP}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await worker.execute(statement.format(table))
    finally:
        await worker.close()


@pytest.mark.parametrize(
    ("month", "accepted"),
    [
        (date(2000, 1, 1), True),
        (date(1999, 12, 1), False),
        (date(2013, 1, 2), False),
        (date(2999, 1, 1), False),
    ],
)
async def test_only_sensible_months_get_a_partition(metering: Metering, month: date, accepted: bool) -> None:
    worker = await asyncpg.connect(asyncpg_dsn(metering.service.database.worker_dsn))
    try:
        await worker.execute(f"SET ROLE {APP}")
        if accepted:
            await worker.execute("SELECT ensure_usage_month($1)", month)
            await worker.execute("SELECT ensure_usage_month($1)", month)
        else:
            with pytest.raises(asyncpg.InvalidParameterValueError):
                await worker.execute("SELECT ensure_usage_month($1)", month)
    finally:
        await worker.close()


async def test_two_senders_may_need_a_new_month_at_once(metering: Metering) -> None:
    """The second waits for the first, and then finds the partition there."""
    first, second = [
        await asyncpg.connect(asyncpg_dsn(metering.service.database.worker_dsn)) for _ in ("first", "second")
    ]
    try:
        for worker in (first, second):
            await worker.execute(f"SET ROLE {APP}")
        making = first.transaction()
        await making.start()
        await first.execute("SELECT ensure_usage_month($1)", date(2007, 7, 1))
        waiting = asyncio.create_task(second.execute("SELECT ensure_usage_month($1)", date(2007, 7, 1)))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await making.commit()
        await waiting
    finally:
        await first.close()
        await second.close()
