"""Billing's migrations: they make the tables, rights, policies and triggers that the code counts on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from libs.common.access.tenancy import APP, FINDER
from libs.common.persistence.session import asyncpg_dsn
from services.billing.adapters.rows import metadata
from tests.integration.billing.workbench import Workbench
from tests.support.billing import Story
from tests.support.schema import schema_differences
from tests.support.service_under_test import new_tenant


@asynccontextmanager
async def as_app(bench: Workbench, tenant: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A transaction of the role that does all work, for one tenant, rolled back in the end."""
    worker = await asyncpg.connect(asyncpg_dsn(bench.service.database.worker_dsn))
    transaction = worker.transaction()
    await transaction.start()
    try:
        await worker.execute(f"SET LOCAL ROLE {APP}")
        await worker.execute("SELECT set_config('perennial.tenant', $1, true)", tenant)
        yield worker
    finally:
        await transaction.rollback()
        await worker.close()


async def an_issued_invoice(bench: Workbench, tenant: str) -> str:
    await bench.add_seller(tenant)
    await bench.hear(Story(tenant, metered=False).started())
    (invoice,) = await bench.invoices(tenant)
    assert invoice["status"] == "finalized"
    return str(invoice["id"])


async def test_migrations_make_the_tables_as_written(bench: Workbench) -> None:
    assert await schema_differences(bench.service.database.admin_dsn, metadata) == []


async def test_every_tenant_table_has_forced_row_policies(bench: Workbench) -> None:
    unprotected = await bench.rows(
        """SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
           WHERE a.attname = 'tenant' AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
           AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"""
    )
    assert {row["relname"] for row in unprotected} == {"outbox", "message_failure"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE charge SET amount_minor = 1",
        "DELETE FROM charge",
        "DELETE FROM invoice",
        "UPDATE invoice_line SET net_minor = 1",
        "DELETE FROM invoice_line",
        "UPDATE ledger_entry SET amount_minor = 1",
        "DELETE FROM ledger_entry",
        "DELETE FROM customer_balance",
        "UPDATE customer_balance_entry SET amount_minor = 1",
        "DELETE FROM customer_balance_entry",
        "UPDATE closed_window SET totals = '[]'",
        "DELETE FROM number_series",
        "DELETE FROM payment_attempt",
        "UPDATE sandbox_gateway_payment SET succeeded = true",
    ],
)
async def test_the_app_has_no_right_to_rewrite_history(bench: Workbench, tenant: str, statement: str) -> None:
    async with as_app(bench, tenant) as app:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(statement)


@pytest.mark.parametrize(
    "change",
    [
        "total_minor = total_minor + 1, net_minor = net_minor + 1",
        "number = 'INV-999999'",
        "customer = '{}'",
        "due_on = due_on + 1",
        "tenant = tenant, created_at = now()",
        "status = 'draft', number = NULL",
        "status = 'skipped', number = NULL",
        "status = 'paid'",
        "paid_minor = total_minor + 1",
        "balance_applied_minor = 1",
        "status = 'paid', balance_applied_minor = total_minor",
    ],
)
async def test_an_issued_invoice_does_not_change(bench: Workbench, tenant: str, change: str) -> None:
    id = await an_issued_invoice(bench, tenant)
    async with as_app(bench, tenant) as app:
        with pytest.raises(asyncpg.CheckViolationError):
            await app.execute(f"UPDATE invoice SET {change} WHERE id = $1", id)


async def test_an_issued_invoice_may_be_paid(bench: Workbench, tenant: str) -> None:
    id = await an_issued_invoice(bench, tenant)
    async with as_app(bench, tenant) as app:
        told = await app.execute(
            "UPDATE invoice SET status = 'paid', paid_minor = total_minor, paid_at = now() WHERE id = $1", id
        )
    assert told == "UPDATE 1"


@pytest.mark.parametrize("touch_first", [False, True])
@pytest.mark.parametrize("net", [100, 0])
async def test_no_line_comes_after_its_invoice(
    bench: Workbench, tenant: str, net: int, touch_first: bool
) -> None:
    id = await an_issued_invoice(bench, tenant)
    async with as_app(bench, tenant) as app:
        if touch_first:
            await app.execute("UPDATE invoice SET status_reason = 'x' WHERE id = $1", id)
        with pytest.raises(asyncpg.CheckViolationError):
            await app.execute(
                """INSERT INTO invoice_line (tenant, id, invoice_id, charge_id, ordinal, tier, description,
                       quantity, unit_amount, amount_minor, net_minor, currency, formula, service_start_on,
                       service_end_on)
                   SELECT tenant, 'lin_x', invoice_id, charge_id, 9, tier, description, quantity, unit_amount,
                       $2, $2, currency, formula, service_start_on, service_end_on
                   FROM invoice_line WHERE invoice_id = $1 LIMIT 1""",
                id,
                net,
            )


@pytest.mark.parametrize(
    ("amounts", "balances"), [((5, -5), True), ((5, -4), False), ((5,), False), ((3, 2, -5), True)]
)
async def test_a_posting_balances(
    bench: Workbench, tenant: str, amounts: tuple[int, ...], balances: bool
) -> None:
    insert = """INSERT INTO ledger_entry (tenant, posting_key, ordinal, account, amount_minor, currency,
                    posted_at, posted_on, invoice_id)
                SELECT $1, 'p', ordinal - 1, 'cash', amount, 'EUR', now(), now()::date, 'inv_x'
                FROM unnest($2::bigint[]) WITH ORDINALITY AS given(amount, ordinal)"""
    async with as_app(bench, tenant) as app:
        if balances:
            await app.execute(insert, tenant, amounts)
        else:
            with pytest.raises(asyncpg.CheckViolationError):
                await app.execute(insert, tenant, amounts)


async def test_postings_of_two_currencies_balance_each(bench: Workbench, tenant: str) -> None:
    async with as_app(bench, tenant) as app:
        with pytest.raises(asyncpg.CheckViolationError):
            await app.execute(
                """INSERT INTO ledger_entry (tenant, posting_key, ordinal, account, amount_minor, currency,
                       posted_at, posted_on, invoice_id)
                   VALUES ($1, 'p', 0, 'cash', 5, 'EUR', now(), now()::date, 'i'),
                          ($1, 'p', 1, 'cash', -5, 'USD', now(), now()::date, 'i')""",
                tenant,
            )


@pytest.mark.parametrize("first", [0, 2], ids=["over_it", "beside_it"])
async def test_a_posting_key_is_used_once(bench: Workbench, tenant: str, first: int) -> None:
    """Neither over the entries that there are, nor beside them."""
    insert = """INSERT INTO ledger_entry (tenant, posting_key, ordinal, account, amount_minor, currency,
                    posted_at, posted_on)
                VALUES ($1, $2, $3, 'cash', 5, 'EUR', now(), now()::date),
                       ($1, $2, $3 + 1, 'revenue', -5, 'EUR', now(), now()::date)"""
    async with as_app(bench, tenant) as app:
        await app.execute(insert, tenant, f"fact:{tenant}", 0)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await app.execute(insert, tenant, f"fact:{tenant}", first)


async def test_another_tenants_rows_are_not_there(bench: Workbench, tenant: str) -> None:
    await an_issued_invoice(bench, tenant)
    tables = [table for table in metadata.tables if table in OF_THE_TENANT]
    async with as_app(bench, tenant) as app:
        mine = {table: await app.fetchval(f"SELECT count(*) FROM {table}") for table in tables}
    async with as_app(bench, new_tenant()) as app:
        others = {table: await app.fetchval(f"SELECT count(*) FROM {table}") for table in tables}
    assert all(mine[table] for table in tables)
    assert not any(others.values())


OF_THE_TENANT = {
    "agreement",
    "change_log",
    "charge",
    "customer",
    "invoice",
    "invoice_line",
    "ledger_entry",
    "number_series",
    "payment_attempt",
    "seller",
}


@pytest.mark.parametrize("table", ["seller", "customer", "charge"])
async def test_nothing_is_written_for_another_tenant(bench: Workbench, tenant: str, table: str) -> None:
    await an_issued_invoice(bench, tenant)
    async with as_app(bench, tenant) as app:
        columns = await app.fetch(
            "SELECT column_name AS name FROM information_schema.columns WHERE table_name = $1", table
        )
        names = [f'"{row["name"]}"' for row in columns]
        chosen = [f"'{new_tenant()}'::uuid" if name == '"tenant"' else name for name in names]
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await app.execute(
                f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(chosen)} FROM {table} LIMIT 1"
            )


async def test_the_finder_sees_what_is_due_and_no_more(bench: Workbench, tenant: str) -> None:
    await an_issued_invoice(bench, tenant)
    worker = await asyncpg.connect(asyncpg_dsn(bench.service.database.worker_dsn))
    try:
        await worker.execute(f"SET ROLE {FINDER}")
        due = await worker.fetch("SELECT tenant, id, due_at FROM payment_attempt FOR UPDATE")
        assert tenant in {str(row["tenant"]) for row in due}
        assert await worker.fetchval("SELECT count(id) FROM invoice WHERE tenant = $1", tenant) == 0
        for forbidden in (
            "SELECT amount_minor FROM payment_attempt",
            "SELECT total_minor FROM invoice",
            "SELECT * FROM charge",
            "UPDATE payment_attempt SET state = 'succeeded'",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await worker.execute(forbidden)
    finally:
        await worker.close()
