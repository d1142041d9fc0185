"""Below the routes: what each login of each database can see, whatever the code above it asks for."""

from __future__ import annotations

import asyncpg
import pytest

from libs.common.access.tenancy import APP, FINDER
from libs.common.contracts import SERVICES
from libs.common.persistence.session import asyncpg_dsn
from tests.journeys.security.world import World

# Machinery of the service and not of a tenant: no route reads it but the operators'.
WITHOUT_POLICY = frozenset(
    (
        "outbox",
        "inbox",
        "message_failure",
        "revoked_token",
        "replay_request",
        "replay_partition",
        "usage_offset",
        "usage_kept",  # one row: from when on raw events are kept at all, which the app may only read
        "alembic_version",
    )
)
# A tenant's own row is the operators' business; the sandbox gateway plays a company outside.
OPERATORS_OWN = frozenset(("tenant", "sandbox_gateway_payment", "sandbox_gateway_refund"))

# Which columns the finder may read: of what is due, of clocks, and of keys and results that housekeeping drops.
DUE = {"tenant", "id", "due_at", "clock_id", "retry_at", "attempts"}
READ_BY_FINDER = {
    "known_clock": {"tenant", "id", "now"},
    "idempotency_key": {"tenant", "expires_at"},
    "usage_batch": {"tenant", "expires_at"},
}

_TABLES = """
    SELECT c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced,
           EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant') AS tenanted
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
"""


@pytest.mark.parametrize("service", SERVICES)
async def test_every_table_keeps_tenants_apart_or_is_known_not_to(world: World, service: str) -> None:
    async with world.everything.admin(service) as admin:
        tables = await admin.fetch(_TABLES)
    for table in tables:
        if table["name"] not in WITHOUT_POLICY | OPERATORS_OWN:
            assert table["tenanted"], table["name"]
            assert table["forced"], table["name"]


@pytest.mark.parametrize("service", SERVICES)
async def test_a_transaction_of_one_tenant_sees_no_row_of_another(world: World, service: str) -> None:
    """And without a tenant none at all; and it cannot claim, change or remove what it does not see."""
    seen = 0
    async with world.everything.admin(service) as admin:
        tables = [t["name"] for t in await admin.fetch(_TABLES) if t["forced"]]
    connection = await asyncpg.connect(asyncpg_dsn(world.everything.databases[service].api_dsn))
    try:
        for table in tables:
            for tenant in (world.beta.tenant, ""):
                async with connection.transaction():
                    await connection.execute(
                        "SELECT set_config('role', $1, true), set_config('perennial.tenant', $2, true)",
                        APP,
                        tenant,
                    )
                    found = await connection.fetch(f'SELECT DISTINCT tenant::text FROM "{table}"')
                assert {row["tenant"] for row in found} <= {tenant}, table
                seen += len(found)
    finally:
        await connection.close()
    assert seen >= 3, "beta's own rows are there"


@pytest.mark.parametrize("service", SERVICES)
async def test_a_login_without_a_role_can_do_nothing(world: World, service: str) -> None:
    """Neither login inherits: code that forgets to become somebody sees nothing."""
    database = world.everything.databases[service]
    for dsn in (database.api_dsn, database.worker_dsn):
        connection = await asyncpg.connect(asyncpg_dsn(dsn))
        try:
            for table in ("change_log", "outbox", "idempotency_key"):
                with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError)):
                    await connection.fetch(f"SELECT * FROM {table}")
        finally:
            await connection.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_an_api_process_cannot_become_the_finder(world: World, service: str) -> None:
    connection = await asyncpg.connect(asyncpg_dsn(world.everything.databases[service].api_dsn))
    try:
        for role in (FINDER, "perennial_migrator", "perennial_audit", "postgres"):
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)):
                await connection.execute(f"SET ROLE {role}")
    finally:
        await connection.close()


async def test_the_finder_sees_what_is_due_and_nothing_of_it(world: World) -> None:
    """Of all tenants, the due rows of the tables that have some: their ids and times, and no more."""
    looked = 0
    for service in SERVICES:
        async with world.everything.admin(service) as admin:
            tables = await admin.fetch(_TABLES)
            columns = {
                table["name"]: {
                    row["attname"]
                    for row in await admin.fetch(
                        "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0",
                        f'public."{table["name"]}"',
                    )
                    if await admin.fetchval(
                        "SELECT has_column_privilege($1, $2::regclass, $3, 'SELECT')",
                        FINDER,
                        f'public."{table["name"]}"',
                        row["attname"],
                    )
                }
                for table in tables
            }
        for table, readable in columns.items():
            assert readable <= READ_BY_FINDER.get(table, DUE), table
            looked += bool(readable)
    assert looked >= 4
