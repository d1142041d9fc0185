"""What P7 is compared with: a bare writer that is given the finished rows and only inserts them.

The rows are all that a month of renewals left in the five databases until its last invoice had a number:
states, windows, charges, invoices with their lines, the ledger, attempts, change logs, outboxes, inboxes and
the records of the bus. They are inserted into tables with the same columns, checks and indexes, by prepared
statements, in transactions of as many rows as belong to 500 subscriptions, all databases side by side, each on a
connection of its own. Nothing is computed, looked up, updated or sent; there are no policies and no foreign keys.

It is done once more with COPY, the fastest way into PostgreSQL, to tell how far that is from both.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import asyncpg
import uvloop

SCHEMA = "bench_bare"

_TABLES = """
    SELECT c.relname FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND c.relname <> 'alembic_version' ORDER BY 1
"""
_COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
"""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """The same rows twice: inserted, and copied."""

    seconds: float
    copied_s: float
    rows: int


async def transaction_id(dsn: str) -> int:
    """A bound: what is written from now on has a later one, in whichever database of the server."""
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT pg_current_xact_id()::text::bigint"))
    finally:
        await connection.close()


async def write_again(dsns: list[str], *, since: int, until: int, transactions: int) -> Rewritten:
    """What was written since and until then, once more, in a process of its own.

    Reading it beforehand is not part of the time. What was changed again later is left out, which is to the
    writer's advantage.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(theirs, dsns, since, until, transactions), daemon=True)
    process.start()
    theirs.close()
    try:
        rewritten: Rewritten = await asyncio.to_thread(ours.recv)
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        ours.close()
    return rewritten


def _child(pipe: Connection, dsns: list[str], since: int, until: int, transactions: int) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        pipe.send(runner.run(_write(dsns, since, until, transactions)))


@dataclass(frozen=True, slots=True)
class _Rows:
    table: str
    columns: list[str]
    rows: list[Any]


async def _write(dsns: list[str], since: int, until: int, transactions: int) -> Rewritten:
    connections = [await asyncpg.connect(dsn) for dsn in dsns]
    found = [await _read(connection, since, until) for connection in connections]
    seconds = []
    for write in (_insert, _copy):
        began = time.monotonic()
        await asyncio.gather(
            *(
                _write_parts(connection, tables, transactions, write)
                for connection, tables in zip(connections, found, strict=True)
            )
        )
        seconds.append(time.monotonic() - began)
        for connection, tables in zip(connections, found, strict=True):
            for table in tables:
                await connection.execute(f"TRUNCATE {SCHEMA}.{table.table}")
    for connection in connections:
        await connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
        await connection.close()
    return Rewritten(*seconds, sum(len(table.rows) for tables in found for table in tables))


async def _read(connection: asyncpg.Connection[Any], since: int, until: int) -> list[_Rows]:
    """The rows of every table that has new ones, and an empty twin of each table."""
    await connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")
    found = []
    for table in [row[0] for row in await connection.fetch(_TABLES)]:
        columns = [row[0] for row in await connection.fetch(_COLUMNS, f"public.{table}")]
        listed = ", ".join(f'"{column}"' for column in columns)
        rows = await connection.fetch(
            f"SELECT {listed} FROM public.{table} WHERE xmin::text::bigint >= $1 AND xmin::text::bigint < $2",
            since,
            until,
        )
        if rows:
            await connection.execute(
                f"CREATE TABLE {SCHEMA}.{table} (LIKE public.{table} INCLUDING ALL EXCLUDING IDENTITY)"
            )
            found.append(_Rows(table, columns, [tuple(row) for row in rows]))
    return found


async def _write_parts(
    connection: asyncpg.Connection[Any],
    tables: list[_Rows],
    transactions: int,
    write: Callable[[asyncpg.Connection[Any], _Rows, list[Any]], Awaitable[None]],
) -> None:
    for part in range(transactions):
        async with connection.transaction():
            for table in tables:
                length = len(table.rows)
                rows = table.rows[length * part // transactions : length * (part + 1) // transactions]
                if rows:
                    await write(connection, table, rows)


async def _insert(connection: asyncpg.Connection[Any], table: _Rows, rows: list[Any]) -> None:
    columns = ", ".join(f'"{column}"' for column in table.columns)
    places = ", ".join(f"${n}" for n in range(1, len(table.columns) + 1))
    await connection.executemany(f"INSERT INTO {SCHEMA}.{table.table} ({columns}) VALUES ({places})", rows)


async def _copy(connection: asyncpg.Connection[Any], table: _Rows, rows: list[Any]) -> None:
    await connection.copy_records_to_table(
        table.table, schema_name=SCHEMA, records=rows, columns=table.columns
    )
