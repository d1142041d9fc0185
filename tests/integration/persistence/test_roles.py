"""What each login and role may do, tried out: nothing without a role, and nothing of another tenant's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text

from libs.common.access.tenancy import API_LOGIN, APP, AUDIT, FINDER, MIGRATOR, WORKER_LOGIN
from libs.common.persistence.base import raw
from libs.common.persistence.session import Database, asyncpg_dsn
from tests.support.small_service import NOW, TENANT_A, TENANT_B, TENANT_C, SmallService, Thing, metadata

TABLES = sorted(table.name for table in metadata.tables.values())
ANYTHING = (
    "SELECT 1 FROM public.{}",
    "DELETE FROM public.{}",
    "INSERT INTO public.{} DEFAULT VALUES",
    "TRUNCATE public.{}",
)
REFUSED = asyncpg.InsufficientPrivilegeError


@asynccontextmanager
async def login(
    dsn: str, role: str | None = None, tenant: str = ""
) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A session in a transaction, that may have become `role` and work for `tenant`."""
    connection: asyncpg.Connection[Any] = await asyncpg.connect(asyncpg_dsn(dsn))
    try:
        async with connection.transaction():
            if role is not None:
                await connection.execute(f"SET LOCAL ROLE {role}")
            await connection.execute("SELECT set_config('perennial.tenant', $1, true)", tenant)
            yield connection
    finally:
        await connection.close()


async def refused(connection: asyncpg.Connection[Any], statement: str) -> None:
    with pytest.raises(REFUSED):
        async with connection.transaction():
            await connection.execute(statement)


@pytest_asyncio.fixture(autouse=True)
async def things(service: SmallService) -> None:
    """Two tenants with a due thing and one that is not."""
    for tenant in (TENANT_A, TENANT_B):
        name = tenant[-1]
        await service.make_things(Thing(f"{name}1", due_at=NOW), Thing(f"{name}2"), tenant=tenant)


# Logins


@pytest.mark.parametrize("user", [API_LOGIN, WORKER_LOGIN])
async def test_a_login_can_do_nothing_before_it_has_taken_a_role(service: SmallService, user: str) -> None:
    dsn = {API_LOGIN: service.database.api_dsn, WORKER_LOGIN: service.database.worker_dsn}[user]
    async with login(dsn) as session:
        for table in TABLES:
            for statement in ANYTHING:
                await refused(session, statement.format(table))
        await refused(session, "CREATE TABLE public.mine ()")


@pytest.mark.parametrize(
    ("user", "allowed"), [(API_LOGIN, {APP}), (WORKER_LOGIN, {APP, FINDER}), (AUDIT, {AUDIT})]
)
async def test_which_roles_a_login_may_take(service: SmallService, user: str, allowed: set[str]) -> None:
    dsns = {
        API_LOGIN: service.database.api_dsn,
        WORKER_LOGIN: service.database.worker_dsn,
        AUDIT: service.database.audit_dsn,
    }
    async with login(dsns[user]) as session:
        for role in (APP, FINDER, AUDIT, MIGRATOR, "postgres"):
            if role in allowed:
                await session.execute(f"SET LOCAL ROLE {role}; RESET ROLE")
            else:
                await refused(session, f"SET LOCAL ROLE {role}")
                await refused(session, f"SELECT set_config('role', '{role}', true)")


async def test_the_app_cannot_go_on_as_finder_in_an_api_process(service: SmallService) -> None:
    async with login(service.database.api_dsn, APP) as api:
        await refused(api, f"SET LOCAL ROLE {FINDER}")


# The app: one tenant


async def seen(connection: asyncpg.Connection[Any]) -> list[str]:
    return [row[0] for row in await connection.fetch("SELECT id FROM thing ORDER BY id")]


@pytest.mark.parametrize(
    ("tenant", "ids"), [(TENANT_A, ["a1", "a2"]), (TENANT_B, ["b1", "b2"]), (TENANT_C, [])]
)
async def test_the_app_sees_the_rows_of_its_tenant_only(
    service: SmallService, tenant: str, ids: list[str]
) -> None:
    for dsn in (service.database.api_dsn, service.database.worker_dsn):
        async with login(dsn, APP, tenant) as app:
            assert await seen(app) == ids


async def test_without_a_tenant_there_are_no_rows(service: SmallService) -> None:
    async with login(service.database.worker_dsn, APP) as app:
        assert await seen(app) == []
        assert await app.execute("UPDATE thing SET note = 'x'") == "UPDATE 0"
        assert await app.execute("DELETE FROM thing") == "DELETE 0"


async def test_a_tenant_is_forgotten_with_its_transaction(service: SmallService) -> None:
    """On the same connection of a pool, whether or not the next transaction says whose it is."""
    database = Database(service.database.worker_dsn, pool_size=1)
    async with database.transaction(APP, TENANT_A) as connection:
        first = await raw(connection)
        assert len((await connection.execute(text("SELECT id FROM thing"))).all()) == 2
    async with database.engine.connect() as connection, connection.begin():
        assert await raw(connection) is first
        told = (
            await connection.execute(text("SELECT current_setting('perennial.tenant', true)"))
        ).scalar_one()
        assert told == ""
        await connection.execute(text(f"SET LOCAL ROLE {APP}"))
        assert (await connection.execute(text("SELECT id FROM thing"))).all() == []
    await database.close()


async def test_the_app_changes_nothing_of_another_tenants(service: SmallService) -> None:
    async with login(service.database.worker_dsn, APP, TENANT_A) as app:
        assert await app.execute("UPDATE thing SET note = 'x' WHERE id = 'b1'") == "UPDATE 0"
        assert await app.execute("DELETE FROM thing WHERE id = 'b1'") == "DELETE 0"
        insert = f"INSERT INTO thing (tenant, id, note) VALUES ('{TENANT_B}', 'b3', 'x')"
        await refused(app, insert)
        await refused(app, f"UPDATE thing SET tenant = '{TENANT_B}' WHERE id = 'a1'")
        await refused(app, "TRUNCATE thing")


async def test_a_tenant_that_is_none_is_an_error_and_no_way_in(service: SmallService) -> None:
    async with login(service.database.worker_dsn, APP, "' OR true --") as app:
        with pytest.raises(asyncpg.InvalidTextRepresentationError):
            await app.fetch("SELECT id FROM thing")


# The finder: what is due, of all tenants


async def test_the_finder_sees_and_locks_what_is_due_of_all_tenants(service: SmallService) -> None:
    async with login(service.database.worker_dsn, FINDER) as finder:
        found = await finder.fetch(
            "SELECT tenant::text, id, due_at, clock_id, retry_at FROM thing ORDER BY id FOR UPDATE SKIP LOCKED"
        )
        assert [row["id"] for row in found] == ["a1", "b1"]
        async with login(service.database.worker_dsn, FINDER) as other:
            assert await other.fetch("SELECT id FROM thing FOR UPDATE SKIP LOCKED") == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT note FROM thing",
        "SELECT * FROM thing",
        "SELECT last_error FROM thing",
        "SELECT id FROM thing WHERE note = 'a1'",
        "UPDATE thing SET attempts = 1",
        "UPDATE thing SET attempts = attempts",
        "UPDATE thing SET due_at = NULL",
        "UPDATE thing SET note = 'x'",
        "DELETE FROM thing",
        "TRUNCATE thing",
        f"INSERT INTO thing (tenant, id, note) VALUES ('{TENANT_A}', 'x', 'x')",
        "SELECT name FROM known_tenant",
        "SELECT tenant FROM known_tenant",
        "SELECT version FROM known_clock",
        "UPDATE known_clock SET now = now()",
        "SELECT body FROM idempotency_key",
        "SELECT key FROM idempotency_key",
        "DELETE FROM idempotency_key",
        "SELECT id FROM outbox",
        "SELECT handler FROM inbox",
        "SELECT value FROM message_failure",
        "SELECT actor FROM change_log",
        "SELECT number FROM effect",
        "SELECT token_id FROM revoked_token",
    ],
)
async def test_the_finder_reads_and_changes_nothing_else(service: SmallService, statement: str) -> None:
    async with login(service.database.worker_dsn, FINDER) as finder:
        await refused(finder, statement)


async def test_the_finder_sees_whose_keys_have_expired_and_no_others(service: SmallService) -> None:
    for tenant, days in ((TENANT_A, -1), (TENANT_B, 1)):
        async with login(service.database.worker_dsn, APP, tenant) as app:
            await app.execute(
                "INSERT INTO idempotency_key (tenant, route, key, fingerprint, status, headers, body, expires_at)"
                " VALUES ($1, 'r', 'k', '', 201, '{}', '', now() + $2)",
                tenant,
                timedelta(days=days),
            )
    async with login(service.database.worker_dsn, FINDER) as finder:
        assert [row[0] for row in await finder.fetch("SELECT tenant::text FROM idempotency_key")] == [
            TENANT_A
        ]


async def test_the_finder_sees_the_clocks_of_all_tenants(service: SmallService) -> None:
    for tenant, id in ((TENANT_A, "clk_a"), (TENANT_B, "clk_b")):
        async with login(service.database.worker_dsn, APP, tenant) as app:
            await app.execute(
                "INSERT INTO known_clock (tenant, id, now, version) VALUES ($1, $2, $3, 1)", tenant, id, NOW
            )
    async with login(service.database.worker_dsn, FINDER) as finder:
        assert len(await finder.fetch("SELECT id, now FROM known_clock")) == 2
    async with login(service.database.worker_dsn, APP, TENANT_A) as app:
        assert len(await app.fetch("SELECT id, now FROM known_clock")) == 1


# The audit: everything, to read


async def test_the_audit_reads_all_and_writes_nothing(service: SmallService) -> None:
    async with login(service.database.audit_dsn) as audit:
        assert await seen(audit) == ["a1", "a2", "b1", "b2"]
        for table in TABLES:
            await audit.fetch(f"SELECT * FROM {table}")
            await refused(audit, f"DELETE FROM {table}")
            await refused(audit, f"INSERT INTO {table} DEFAULT VALUES")
        await refused(audit, "UPDATE thing SET note = 'x'")
        await refused(audit, "CREATE TABLE public.mine ()")
