"""The migrations make the tables, rights and policies that the code counts on."""

from __future__ import annotations

import asyncpg
import pytest

from libs.common.access.tenancy import APP
from libs.common.persistence.session import asyncpg_dsn
from services.subscriptions.adapters import rows
from services.subscriptions.adapters.rows import metadata
from tests.integration.subscriptions.story import Story, a_binding_of, usage_item
from tests.support.schema import schema_differences
from tests.support.service_under_test import ServiceUnderTest, new_tenant


async def test_migrations_make_the_tables_as_written(subscriptions: ServiceUnderTest) -> None:
    assert await schema_differences(subscriptions.database.admin_dsn, metadata) == []


async def test_every_tenant_table_has_forced_row_policies(subscriptions: ServiceUnderTest) -> None:
    admin = await asyncpg.connect(asyncpg_dsn(subscriptions.database.admin_dsn))
    try:
        unprotected = await admin.fetch(
            """SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE a.attname = 'tenant' AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
               AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"""
        )
    finally:
        await admin.close()
    assert {row["relname"] for row in unprotected} == {"outbox", "message_failure"}


@pytest.mark.parametrize(
    "statement", ["UPDATE billing_period SET end_at = now()", "DELETE FROM billing_period"]
)
async def test_periods_that_began_are_never_changed(subscriptions: ServiceUnderTest, statement: str) -> None:
    worker = await asyncpg.connect(asyncpg_dsn(subscriptions.database.worker_dsn))
    try:
        await worker.execute(f"SET ROLE {APP}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await worker.execute(statement)
    finally:
        await worker.close()


async def test_rows_are_the_tenants_own(story: Story) -> None:
    async with story.client() as client:
        clock = await story.test_clock(client, "2025-01-31T05:00:00Z")
        made = await story.subscription(client, test_clock_id=clock["id"])
        await story.bind(client, a_binding_of(usage_item(made)))
        moved = await client.post(f"/v1/test-clocks/{clock['id']}/moves", json={"to": clock["now"]})
    assert moved.status_code == 202
    await story.hear(story.failed(made["id"], "inv_1"))
    await story.hear_of_retirement()
    await story.hear_of_sale(story.plan, "withdrawn", version=2)
    stranger = Story(story.service, new_tenant(), story.clock)
    for table in metadata.sorted_tables:
        if "tenant" in table.c and table.name not in ("outbox", "message_failure"):
            assert await stranger.rows(table) == [], table.name
            if table not in (rows.shared.known_clock, rows.shared.idempotency_key):
                assert len(await story.rows(table)) >= 1, table.name
    await story.as_admin("UPDATE clock_move SET state = 'arrived', due_at = NULL")
