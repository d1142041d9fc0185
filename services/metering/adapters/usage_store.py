"""The ingest path's statements: no object and no round trip for a single event, everything in arrays.

Locks are always taken in the same order: the tenant's advisory lock, keys as they sort, buckets as they sort,
rejects and conflicts by id. The advisory lock is what writers share, and what keeps them apart from those who
define a meter or close a window.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from asyncpg.pgproto.pgproto import UUID

from libs.common.persistence.base import raw
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import row_mapping
from services.metering.adapters.usage_sums import sum_windows
from services.metering.application.ports import Arrival, MeterBook, Stored
from services.metering.application.reads import Reject, UsageConflict
from services.metering.domain.aggregation import BucketSums
from services.metering.domain.meter import Meter
from services.metering.domain.usage_event import HASH_BYTES, PAYLOAD_LENGTH_MAX
from services.metering.domain.usage_window import UsageTotal, UsageWindow

CHUNK_LENGTH = 2_000  # rows in one statement: what it takes to send them stays far below 50 ms
BARRIER_TIMEOUT_MS = 5_000

_LOCK = "hashtextextended('perennial_usage/' || current_setting('perennial.tenant'), 0)"
_SHARE = f"SELECT pg_advisory_xact_lock_shared({_LOCK})"
_EXCLUDE = f"SELECT pg_advisory_xact_lock({_LOCK})"
# A statement of its own: one that also took the lock would see the rows as they were before it had it.
_BOOK = """
    SELECT m.*, s.last_closed_end
    FROM (SELECT max(window_end) AS last_closed_end FROM usage_window WHERE state <> 'open') s
    LEFT JOIN meter m ON true
"""
# Columns travel as one text each, cut at the unit separator, which no text of an event holds: to send an array
# costs asyncpg a microsecond for each element, and that was a third of the whole path. Instants are microseconds;
# `request` is the place of an event's request in the arrays of arrivals and batch ids. Raw events go in by time,
# as their index stands. Mostly every event is new: then nothing is told, else the keys of those that are.
_STORE = """
    WITH given AS MATERIALIZED (
        SELECT key, digest, to_timestamp(us / 1000000) + (us % 1000000) * interval '1 microsecond' AS occurred_at,
               ($5::timestamptz[])[request] AS arrived_at, ($6::uuid[])[request] AS batch_id,
               type, source, event_id, subject, data
        FROM unnest(string_to_array($2, E'\\x1f')::uuid[], string_to_array($3, E'\\x1f')::uuid[],
                    string_to_array($4, E'\\x1f')::bigint[], string_to_array($7, E'\\x1f')::integer[],
                    string_to_array($8, E'\\x1f'), string_to_array($9, E'\\x1f'), string_to_array($10, E'\\x1f'),
                    string_to_array($11, E'\\x1f'), string_to_array($12, E'\\x1f', ''))
            AS g(key, digest, us, request, type, source, event_id, subject, data)
    ), fresh AS (
        INSERT INTO usage_key (tenant, key, digest, occurred_at)
        SELECT $1::uuid, key, digest, occurred_at FROM given
        ON CONFLICT (key) DO NOTHING
        RETURNING key
    ), stored AS (
        INSERT INTO usage_event (tenant, occurred_at, key, arrived_at, batch_id, type, source, event_id, subject, data)
        SELECT $1::uuid, occurred_at, key, arrived_at, batch_id, type, source, event_id, subject, data::jsonb
        FROM given JOIN fresh USING (key) ORDER BY occurred_at, key
    )
    SELECT CASE WHEN (SELECT count(*) FROM fresh) < (SELECT count(*) FROM given)
                THEN (SELECT coalesce(string_agg(replace(key::text, '-', ''), ''), '') FROM fresh) END
"""
_KNOWN = """
    SELECT g.key, k.digest FROM unnest($1::uuid[]) AS g(key)
    CROSS JOIN LATERAL (SELECT digest FROM usage_key WHERE usage_key.key = g.key OFFSET 0) k
"""
_ADD = """
    INSERT INTO usage_bucket AS b
        (tenant, meter_id, subject, bucket_start, group_key, event_count, total, maximum)
    SELECT $1::uuid, meter_id, subject, to_timestamp(seconds), group_key, event_count, total, maximum
    FROM unnest(string_to_array($2, E'\\x1f'), string_to_array($3, E'\\x1f'),
                string_to_array($4, E'\\x1f')::bigint[], string_to_array($5, E'\\x1f'),
                string_to_array($6, E'\\x1f')::bigint[], string_to_array($7, E'\\x1f', '')::numeric[],
                string_to_array($8, E'\\x1f', '')::numeric[])
        AS g(meter_id, subject, seconds, group_key, event_count, total, maximum)
    ON CONFLICT (tenant, meter_id, subject, bucket_start, group_key) DO UPDATE SET
        event_count = b.event_count + excluded.event_count,
        total = b.total + excluded.total,
        maximum = greatest(b.maximum, excluded.maximum)
"""
_KEEP_REJECTS = """
    INSERT INTO usage_reject AS r (tenant, id, event_id, source, type, subject, payload, reasons,
                                   seen_count, first_seen_at, last_seen_at)
    SELECT $1::uuid, g.id, g.event_id, g.source, g.type, g.subject, g.payload, g.reasons::jsonb, 1, g.seen_at, g.seen_at
    FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::timestamptz[]) AS g(id, event_id, source, type, subject, payload, reasons, seen_at)
    ON CONFLICT (id) DO UPDATE SET seen_count = r.seen_count + 1, reasons = excluded.reasons,
        last_seen_at = greatest(r.last_seen_at, excluded.last_seen_at)
"""
_KEEP_CONFLICTS = """
    INSERT INTO usage_conflict AS c (tenant, id, key, first_digest, other_digest, event_id, source, payload,
                                     seen_count, first_seen_at, last_seen_at)
    SELECT $1::uuid, g.id, g.key, g.first_digest, g.other_digest, g.event_id, g.source, g.payload, 1, g.seen_at, g.seen_at
    FROM unnest($2::text[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[],
                $9::timestamptz[])
        AS g(id, key, first_digest, other_digest, event_id, source, payload, seen_at)
    ON CONFLICT (id) DO UPDATE SET seen_count = c.seen_count + 1,
        last_seen_at = greatest(c.last_seen_at, excluded.last_seen_at)
"""
_BACK_FILL = """
    INSERT INTO usage_bucket (tenant, meter_id, subject, bucket_start, group_key, event_count, total, maximum)
    SELECT e.tenant, m.id, e.subject,
           date_bin(make_interval(secs => m.bucket_s), e.occurred_at, '1970-01-01 00:00:00+00'),
           usage_group(e.data, m.dimensions), count(*),
           sum(usage_value(e.data, m.value_path)), max(usage_value(e.data, m.value_path))
    FROM meter m JOIN usage_event e ON e.type = m.event_type
    WHERE m.id = $1 AND usage_matches(e.data, m.filters)
      AND (m.value_path IS NULL OR usage_value(e.data, m.value_path) IS NOT NULL)
    GROUP BY e.tenant, m.id, e.subject, 4, 5
"""

_joined = "\x1f".join

T = TypeVar("T")


class UsageStore:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._book: MeterBook | None = None

    async def flush(self) -> None:
        """Everything here is written at once."""

    def reset(self) -> None:
        self._book = None

    async def share(self) -> MeterBook:
        if self._book is None:
            driver = await raw(self._uow.connection)
            await driver.execute(_SHARE)
            self._book = _book(await driver.fetch(_BOOK))
        return self._book

    async def stop_writers(self) -> None:
        await (await raw(self._uow.connection)).execute(_EXCLUDE)

    async def wait_for_writers(self) -> None:
        """The lock is taken within a savepoint and given back with it, so that nobody waits for our commit.

        Writers who come meanwhile wait as long as we do, hence the bound; running into it is a lost race.
        """
        driver = await raw(self._uow.connection)
        await driver.execute(f"SAVEPOINT barrier; SET LOCAL lock_timeout = {BARRIER_TIMEOUT_MS}")
        await driver.execute(_EXCLUDE)
        await driver.execute("ROLLBACK TO SAVEPOINT barrier; RELEASE SAVEPOINT barrier")

    async def store(self, arrivals: Sequence[Arrival]) -> Stored:
        driver, tenant = await raw(self._uow.connection), self._uow.tenant
        fresh: set[bytes] = set()
        for chunk in _chunks(arrivals):
            events = [arrival.event for arrival in chunk]
            requests: dict[tuple[str, datetime], str] = {}
            places = [requests.setdefault((a.batch_id, a.arrived_at), str(len(requests) + 1)) for a in chunk]
            told: str | None = await driver.fetchval(
                _STORE,
                tenant,
                _joined([e.key.hex() for e in events]),
                _joined([e.digest.hex() for e in events]),
                _joined([str(e.occurred_us) for e in events]),
                [arrived_at for _, arrived_at in requests],
                [batch_id for batch_id, _ in requests],
                _joined(places),
                _joined([e.type for e in events]),
                _joined([e.source for e in events]),
                _joined([e.event_id for e in events]),
                _joined([e.subject for e in events]),
                _joined([e.data_json.decode() if e.data_json is not None else "" for e in events]),
            )
            if told is None:
                fresh.update([e.key for e in events])
            else:
                found = bytes.fromhex(told)
                fresh.update(
                    [found[start : start + HASH_BYTES] for start in range(0, len(found), HASH_BYTES)]
                )
        known: dict[bytes, bytes] = {}
        if len(fresh) < len(arrivals):
            others = [UUID(a.event.key) for a in arrivals if a.event.key not in fresh]
            known = {row[0].bytes: row[1].bytes for row in await driver.fetch(_KNOWN, others)}
        return Stored(frozenset(fresh), known)

    async def add_sums(self, sums: BucketSums) -> None:
        driver = await raw(self._uow.connection)
        for chunk in _chunks(sums.additions()):
            await driver.execute(
                _ADD,
                self._uow.tenant,
                _joined([a.meter_id for a in chunk]),
                _joined([a.subject for a in chunk]),
                _joined([str(a.start_s) for a in chunk]),
                _joined([a.group for a in chunk]),
                _joined([str(a.event_count) for a in chunk]),
                _joined(["" if a.total is None else str(a.total) for a in chunk]),
                _joined(["" if a.maximum is None else str(a.maximum) for a in chunk]),
            )

    async def keep_rejects(self, rejects: Sequence[Reject]) -> None:
        driver = await raw(self._uow.connection)
        for chunk in _chunks(rejects):
            await driver.execute(
                _KEEP_REJECTS,
                self._uow.tenant,
                [r.id for r in chunk],
                [_storable(r.event_id) for r in chunk],
                [_storable(r.source) for r in chunk],
                [_storable(r.type) for r in chunk],
                [_storable(r.subject) for r in chunk],
                [_storable(r.payload) for r in chunk],
                [json.dumps(row_mapping.reasons_json(r.reasons)) for r in chunk],
                [r.seen_at for r in chunk],
            )

    async def keep_conflicts(self, conflicts: Sequence[UsageConflict]) -> None:
        driver = await raw(self._uow.connection)
        for chunk in _chunks(conflicts):
            await driver.execute(
                _KEEP_CONFLICTS,
                self._uow.tenant,
                [c.id for c in chunk],
                [UUID(c.key) for c in chunk],
                [UUID(c.first_digest) for c in chunk],
                [UUID(c.other_digest) for c in chunk],
                [c.event_id for c in chunk],
                [c.source for c in chunk],
                [_storable(c.payload) for c in chunk],
                [c.seen_at for c in chunk],
            )

    async def back_fill(self, meter: Meter) -> int:
        told = await (await raw(self._uow.connection)).execute(_BACK_FILL, meter.id)
        return int(told.split()[-1])

    async def sum_windows(self, windows: Sequence[UsageWindow]) -> Mapping[str, Sequence[UsageTotal]]:
        return await sum_windows(self._uow.connection, windows)


def _book(found: Sequence[Any]) -> MeterBook:
    by_type: dict[str, list[Meter]] = defaultdict(list)
    last_closed_end: datetime | None = found[0]["last_closed_end"]
    for row in found:
        if row["id"] is not None:
            meter = row_mapping.meter_from(row)
            by_type[meter.event_type].append(meter)
    return MeterBook(by_type, last_closed_end)


def _chunks(things: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), CHUNK_LENGTH):
        yield things[start : start + CHUNK_LENGTH]


def _storable(text: str | None) -> str | None:
    """As PostgreSQL can keep it: a reject may hold a NUL, which is what it was refused for."""
    return None if text is None else text[:PAYLOAD_LENGTH_MAX].replace("\0", "\N{SYMBOL FOR NULL}")
