"""The catalog's migrations: they make the tables, rights and policies that the code counts on."""

from __future__ import annotations

import asyncpg
import pytest

from libs.common.access.tenancy import APP
from libs.common.persistence.session import asyncpg_dsn
from services.catalog.adapters.rows import metadata
from tests.support.schema import schema_differences
from tests.support.service_under_test import ServiceUnderTest


async def test_migrations_make_the_tables_as_written(catalog: ServiceUnderTest) -> None:
    assert await schema_differences(catalog.database.admin_dsn, metadata) == []


async def test_every_tenant_table_has_forced_row_policies(catalog: ServiceUnderTest) -> None:
    admin = await asyncpg.connect(asyncpg_dsn(catalog.database.admin_dsn))
    try:
        unprotected = await admin.fetch(
            """SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE a.attname = 'tenant' AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
               AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"""
        )
    finally:
        await admin.close()
    assert {row["relname"] for row in unprotected} == {"outbox", "message_failure"}


@pytest.mark.parametrize("table", ["plan_version", "price"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET code = 'x'", "DELETE FROM {}"])
async def test_the_app_has_no_right_to_change_what_was_published(
    catalog: ServiceUnderTest, table: str, statement: str
) -> None:
    worker = await asyncpg.connect(asyncpg_dsn(catalog.database.worker_dsn))
    try:
        await worker.execute(f"SET ROLE {APP}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await worker.execute(statement.format(table))
    finally:
        await worker.close()
