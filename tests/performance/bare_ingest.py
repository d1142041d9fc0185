"""What P1 and P2 are compared with: the script that a good engineer would write by hand.

It has no HTTP, no tenants, no conflict reports: it gets its rows decoded, with their identity and digest
made, and stores them on the same PostgreSQL with the same durability. Each transaction is a COPY into a
temporary table and one statement: new identities into a key table (ON CONFLICT DO NOTHING), the events that
are new into a table with the two indexes that reading needs, and their sums, grouped in SQL, added to the
buckets (ON CONFLICT DO UPDATE). Neither partitions nor row policies slow it down.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any

import asyncpg
import uvloop
from asyncpg.pgproto.pgproto import UUID

from services.metering.domain.usage_event import event_key, payload_digest
from tests.performance.events import FIRST_DAY, SOURCE, Stream

DATABASE = "bench_bare"
CONNECTIONS = 2
TRANSACTION_EVENTS = 2_500
TENANT = "00000000-0000-4000-8000-0000000ba4e0"
_TENANT = UUID(TENANT)
ARRIVED_AT = datetime(2026, 1, 1, tzinfo=UTC)

TABLES = """
    CREATE TABLE key (
        tenant uuid NOT NULL, key uuid PRIMARY KEY, digest uuid NOT NULL, occurred_at timestamptz NOT NULL);
    CREATE TABLE event (
        tenant uuid NOT NULL, occurred_at timestamptz NOT NULL, key uuid NOT NULL, arrived_at timestamptz NOT NULL,
        batch_id uuid NOT NULL, type text NOT NULL, source text NOT NULL, event_id text NOT NULL,
        subject text NOT NULL, data jsonb, PRIMARY KEY (tenant, occurred_at, key));
    CREATE INDEX ON event (tenant, subject, type, occurred_at);
    CREATE TABLE bucket (
        tenant uuid NOT NULL, meter text NOT NULL, subject text NOT NULL, bucket_start timestamptz NOT NULL,
        event_count bigint NOT NULL, total numeric NOT NULL, maximum numeric NOT NULL,
        PRIMARY KEY (tenant, meter, subject, bucket_start)) WITH (fillfactor = 80);
"""
COLUMNS = (
    "tenant",
    "occurred_at",
    "key",
    "digest",
    "arrived_at",
    "batch_id",
    "type",
    "source",
    "event_id",
    "subject",
    "data",
)
STAGED = """
    CREATE TEMP TABLE staged (
        tenant uuid, occurred_at timestamptz, key uuid, digest uuid, arrived_at timestamptz, batch_id uuid,
        type text, source text, event_id text, subject text, data text) ON COMMIT DELETE ROWS
"""
STORE = """
    WITH fresh AS (
        INSERT INTO key SELECT tenant, key, digest, occurred_at FROM staged ORDER BY key
        ON CONFLICT (key) DO NOTHING RETURNING key
    ), stored AS (
        INSERT INTO event
        SELECT tenant, occurred_at, key, arrived_at, batch_id, type, source, event_id, subject, data::jsonb
        FROM staged JOIN fresh USING (key)
        RETURNING tenant, type, subject, occurred_at, (data->>'minutes')::numeric AS value
    )
    INSERT INTO bucket AS b
    SELECT tenant, type, subject, date_bin('15 minutes', occurred_at, '1970-01-01Z'), count(*), sum(value), max(value)
    FROM stored GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (tenant, meter, subject, bucket_start) DO UPDATE SET
        event_count = b.event_count + excluded.event_count, total = b.total + excluded.total,
        maximum = greatest(b.maximum, excluded.maximum)
"""
SUMS = """
    SELECT sum(event_count), sum(total) FROM bucket
    WHERE meter = $1 AND bucket_start >= $2 AND bucket_start < $3
"""


@dataclass(frozen=True, slots=True)
class Written:
    seconds: float
    events: int
    total: Decimal


@asynccontextmanager
async def bare_database(dsn: str) -> AsyncIterator[str]:
    """An empty one on the server, with its tables; gone in the end. `dsn` is a superuser's, as asyncpg wants it."""
    admin = await asyncpg.connect(dsn)
    try:
        await admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        await admin.execute(f"CREATE DATABASE {DATABASE}")
        own = dsn.replace("/postgres?", f"/{DATABASE}?")
        connection = await asyncpg.connect(own)
        await connection.execute(TABLES)
        await connection.close()
        yield own
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        await admin.close()


async def write_bare(dsn: str, stream: Stream) -> Written:
    """The whole stream, in a process of its own. Making the rows is not part of the time."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(theirs, dsn, stream), daemon=True)
    process.start()
    theirs.close()
    try:
        written: Written = await asyncio.to_thread(ours.recv)
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        ours.close()
    return written


def _child(pipe: Connection, dsn: str, stream: Stream) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        pipe.send(runner.run(_write(dsn, stream)))


async def _write(dsn: str, stream: Stream) -> Written:
    rows = [_row(stream, n) for n in range(stream.event_count)]
    cuts = range(0, len(rows), TRANSACTION_EVENTS)
    waiting = deque(rows[start : start + TRANSACTION_EVENTS] for start in cuts)
    connections = [await asyncpg.connect(dsn) for _ in range(CONNECTIONS)]
    for connection in connections:
        await connection.execute(STAGED)
    began = time.monotonic()
    await asyncio.gather(*(_store_all(connection, waiting) for connection in connections))
    told = await connections[0].fetchrow(SUMS, stream.type, stream.starts_at, stream.ends_at)
    seconds = time.monotonic() - began
    for connection in connections:
        await connection.close()
    return Written(seconds, int(told[0]), told[1])


async def _store_all(connection: asyncpg.Connection[Any], waiting: deque[list[tuple[Any, ...]]]) -> None:
    while waiting:
        rows = waiting.popleft()
        async with connection.transaction():
            await connection.copy_records_to_table("staged", records=rows, columns=COLUMNS)
            await connection.execute(STORE)


def _row(stream: Stream, n: int) -> tuple[Any, ...]:
    data, time_ = stream.data(n), stream.time(n)
    us = (stream.day * 86_400_000_000) + int((time_ - stream.starts_at).total_seconds() * 1_000_000)
    us += int(FIRST_DAY.timestamp()) * 1_000_000
    return (
        _TENANT,
        time_,
        UUID(event_key(TENANT, SOURCE, stream.id(n))),
        UUID(payload_digest(stream.type, stream.subject(n), us, data.encode())),
        ARRIVED_AT,
        _TENANT,
        stream.type,
        SOURCE,
        stream.id(n),
        stream.subject(n),
        data,
    )
