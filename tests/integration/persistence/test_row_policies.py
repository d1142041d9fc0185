"""Rights and row policies of every table of every service, as its migrations left them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import MetaData

from libs.common.access.tenancy import API_LOGIN, APP, AUDIT, FINDER, MIGRATOR, WORKER_LOGIN
from libs.common.contracts import SERVICES
from libs.common.persistence.session import asyncpg_dsn
from tests.support.postgres import PostgresForTests
from tests.support.service_database import service_database

# Machinery: no route reaches it but the operators', and the relay and the consumers work for all tenants.
WITHOUT_POLICY = {"outbox", "message_failure"}
MAY_FIND = {
    "known_clock": {"tenant", "id", "now"},
    "idempotency_key": {"tenant", "expires_at"},
    "usage_batch": {"tenant", "expires_at"},
}
# Makes a partition, which the app may not; says when balances and alerts of all tenants are due, whom a process that
# begins does not know; drops raw events that are no longer kept, which the app may only add to.
AS_OWNER = {
    "ensure_usage_month",
    "note_all_usage_balances",
    "note_all_usage_alerts",
    "keep_usage_from",
    "drop_usage_months",
    "delete_usage",
    "delete_usage_measurements",
}
DUE = {"tenant", "id", "due_at", "clock_id", "retry_at", "attempts"}

_TENANT_TABLES = """
    SELECT c.oid, c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
           has_any_column_privilege($1, c.oid, 'SELECT, INSERT, UPDATE')
           OR has_table_privilege($1, c.oid, 'DELETE, TRUNCATE') AS reachable
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p', 'f', 'm', 'v')
      -- Through such a view everybody sees what the policies of its tables let him see.
      AND NOT (c.relkind = 'v' AND c.reloptions @> '{security_invoker=true}')
      AND c.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
"""
_POLICIES = """
    SELECT tablename AS name, policyname, permissive, roles::text[] AS roles, cmd, qual, with_check
    FROM pg_policies
"""
_COLUMN_RIGHTS = """
    SELECT table_name AS name, column_name AS column, privilege_type AS right
    FROM information_schema.column_privileges WHERE grantee = $1
      AND table_schema NOT IN ('pg_catalog', 'information_schema')
"""
_TABLE_RIGHTS = """
    SELECT table_name AS name, privilege_type AS right
    FROM information_schema.table_privileges WHERE grantee = $1
      AND table_schema NOT IN ('pg_catalog', 'information_schema')
"""


@dataclass(frozen=True, slots=True)
class Migrated:
    service: str
    metadata: MetaData
    connection: asyncpg.Connection[Any]

    async def policies(self, role: str) -> dict[str, list[asyncpg.Record]]:
        """By table, those that hold for `role`."""
        found: dict[str, list[asyncpg.Record]] = {}
        for policy in await self.connection.fetch(_POLICIES):
            if role in policy["roles"] or "public" in policy["roles"]:
                found.setdefault(policy["name"], []).append(policy)
        return found


@pytest_asyncio.fixture(params=SERVICES, scope="module")
async def migrated(request: pytest.FixtureRequest, postgres: PostgresForTests) -> AsyncIterator[Migrated]:
    import_module(
        f"services.{request.param}.adapters.unit_of_work"
    )  # with it, tables that have files of their own
    metadata: MetaData = import_module(f"services.{request.param}.adapters.rows").metadata
    async with service_database(postgres, request.param) as database:
        connection: asyncpg.Connection[Any] = await asyncpg.connect(asyncpg_dsn(database.admin_dsn))
        yield Migrated(request.param, metadata, connection)
        await connection.close()


async def test_every_table_with_a_tenant_has_forced_row_policies(migrated: Migrated) -> None:
    """Partitions included: whoever may ask one directly is not stopped by what its parent says."""
    declared = {table.name for table in migrated.metadata.tables.values() if "tenant" in table.columns}
    tables = await migrated.connection.fetch(_TENANT_TABLES, APP)
    assert declared <= {table["name"] for table in tables}
    guarded = {table["name"] for table in tables if table["enabled"] and table["forced"]}
    reachable = {table["name"] for table in tables if table["reachable"]}
    assert reachable - guarded == WITHOUT_POLICY
    assert declared - guarded == WITHOUT_POLICY


async def test_the_app_has_one_policy_on_each_and_it_compares_the_tenant(migrated: Migrated) -> None:
    policies = await migrated.policies(APP)
    declared = {table.name for table in migrated.metadata.tables.values() if "tenant" in table.columns}
    assert policies.keys() >= declared - WITHOUT_POLICY
    for (policy,) in policies.values():
        assert (policy["cmd"], policy["permissive"], policy["roles"]) == ("ALL", "PERMISSIVE", [APP])
        for condition in (policy["qual"], policy["with_check"]):
            assert condition.startswith("(tenant = ( SELECT (NULLIF(current_setting('perennial.tenant'")


async def test_the_finder_may_read_what_is_due_and_change_nothing(migrated: Migrated) -> None:
    policies = await migrated.policies(FINDER)
    due_tables = policies.keys() - MAY_FIND.keys()
    rights: dict[tuple[str, str], set[str]] = {}
    for row in await migrated.connection.fetch(_COLUMN_RIGHTS, FINDER):
        rights.setdefault((row["name"], row["right"]), set()).add(row["column"])
    expected = {(name, "SELECT"): MAY_FIND[name] for name in MAY_FIND.keys() & policies.keys()}
    for name in due_tables:
        expected |= {(name, "SELECT"): DUE, (name, "UPDATE"): {"attempts"}}
    assert rights == expected
    assert await migrated.connection.fetch(_TABLE_RIGHTS, FINDER) == []

    for name in due_tables:
        by_kind = {policy["cmd"]: policy for policy in policies[name]}
        assert by_kind.keys() == {"SELECT", "UPDATE"}
        assert {policy["qual"] for policy in by_kind.values()} == {"(due_at IS NOT NULL)"}
        assert by_kind["UPDATE"]["with_check"] == "false"
        assert {tuple(policy["roles"]) for policy in by_kind.values()} == {(FINDER,)}


async def test_every_table_with_due_rows_can_be_claimed_and_put_off(migrated: Migrated) -> None:
    declared = {table.name for table in migrated.metadata.tables.values() if "retry_at" in table.columns}
    claimable = (await migrated.policies(FINDER)).keys() - MAY_FIND.keys()
    assert claimable <= declared
    for name in claimable:
        for column in ("attempts", "retry_at", "last_error"):
            allowed = await migrated.connection.fetchval(
                "SELECT has_column_privilege($1, $2, $3, 'UPDATE')", APP, name, column
            )
            assert allowed, f"a row of {name} that fails could not be put off"


async def test_the_audit_reads_every_table_and_writes_none(migrated: Migrated) -> None:
    rights = {(row["name"], row["right"]) for row in await migrated.connection.fetch(_TABLE_RIGHTS, AUDIT)}
    assert {right for _, right in rights} == {"SELECT"}
    tables = {table.name for table in migrated.metadata.tables.values()}
    assert tables - {name for name, _ in rights} == set()
    blind = tables & {table["name"] for table in await migrated.connection.fetch(_TENANT_TABLES, APP)}
    assert blind - WITHOUT_POLICY - (await migrated.policies(AUDIT)).keys() == set()


@pytest.mark.parametrize("grantee", ["PUBLIC", API_LOGIN, WORKER_LOGIN])
async def test_nobody_has_rights_of_his_own(migrated: Migrated, grantee: str) -> None:
    assert await migrated.connection.fetch(_TABLE_RIGHTS, grantee) == []
    assert await migrated.connection.fetch(_COLUMN_RIGHTS, grantee) == []


async def test_the_app_owns_nothing_and_may_truncate_nothing(migrated: Migrated) -> None:
    owners = await migrated.connection.fetch(
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    assert [row[0] for row in owners] == [MIGRATOR]
    rights = {row["right"] for row in await migrated.connection.fetch(_TABLE_RIGHTS, APP)}
    assert rights <= {"SELECT", "INSERT", "UPDATE", "DELETE"}


async def test_a_function_that_runs_with_the_rights_of_its_owner_is_a_known_one(migrated: Migrated) -> None:
    """The migrator bypasses all policies: what runs as him must be few, sheltered, and not for everybody."""
    found = await migrated.connection.fetch(
        """SELECT proname, proconfig, has_function_privilege('public', oid, 'EXECUTE') AS for_everybody FROM pg_proc
           WHERE prosecdef AND pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"""
    )
    assert {row["proname"] for row in found} <= AS_OWNER
    if migrated.service == "metering":
        for function in ("keep_usage_from(timestamptz)", "drop_usage_months(interval)"):
            asked = "SELECT has_function_privilege($1, $2, 'EXECUTE')"
            assert not await migrated.connection.fetchval(asked, APP, function)
    for function in found:
        assert function["proconfig"] == ["search_path=pg_catalog, pg_temp"]
        assert not function["for_everybody"]


async def test_no_view_reads_with_the_rights_of_its_owner(migrated: Migrated) -> None:
    found = await migrated.connection.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('v', 'm')"
        " AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)"
        " AND NOT coalesce(reloptions::text LIKE '%security_invoker=true%', false)"
    )
    assert found == []


async def test_roles_are_what_they_are_meant_to_be(migrated: Migrated) -> None:
    roles = {
        row["rolname"]: (row["rolsuper"], row["rolbypassrls"], row["rolcanlogin"], row["rolinherit"])
        for row in await migrated.connection.fetch("SELECT * FROM pg_roles WHERE rolname LIKE 'perennial%'")
    }
    assert roles == {
        APP: (False, False, False, True),
        FINDER: (False, False, False, True),
        AUDIT: (False, False, True, True),
        MIGRATOR: (False, True, False, True),
        API_LOGIN: (False, False, True, False),
        WORKER_LOGIN: (False, False, True, False),
    }
    members = await migrated.connection.fetch(
        """SELECT m.rolname AS member, g.rolname AS role, a.inherit_option AS inherits, a.admin_option AS admin
           FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid
           WHERE m.rolname LIKE 'perennial%'"""
    )
    assert {tuple(row) for row in members} == {
        (API_LOGIN, APP, False, False),
        (WORKER_LOGIN, APP, False, False),
        (WORKER_LOGIN, FINDER, False, False),
    }
