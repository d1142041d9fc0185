"""The ingest path's statements: no object and no round trip for a single event, everything in arrays.

Locks are always taken in the same order: the tenant's advisory lock, keys as they sort, buckets as they sort,
rejects and conflicts by id. The advisory lock is what writers share, and what keeps them apart from those who
define a meter or close a window.
"""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from asyncpg.pgproto.pgproto import UUID

from libs.common.persistence.base import raw, run
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import row_mapping
from services.metering.adapters.running_sums import (
    add_special_sums,
    keep_measurements,
    rebuild_buckets,
)
from services.metering.adapters.usage_sums import sum_windows
from services.metering.application.ports import Arrival, Computed, MeterBook, Stored
from services.metering.application.reads import Reject, UsageConflict
from services.metering.domain.aggregation import BucketSums, TouchedBucket
from services.metering.domain.meter import Meter
from services.metering.domain.usage_event import HASH_BYTES, PAYLOAD_LENGTH_MAX
from services.metering.domain.usage_retention import RawEventsGone
from services.metering.domain.usage_window import UsageTotal, UsageWindow

CHUNK_LENGTH = 2_000  # rows in one statement: what it takes to send them stays far below 50 ms
BARRIER_TIMEOUT_MS = 5_000

_LOCK = "hashtextextended('perennial_usage/' || current_setting('perennial.tenant'), 0)"
_SHARE = f"SELECT pg_advisory_xact_lock_shared({_LOCK})"
_EXCLUDE = f"SELECT pg_advisory_xact_lock({_LOCK})"
# A statement of its own: one that also took the lock would see the rows as they were before it had it. The meters
# themselves, which hardly ever change, are read when they are not what they were.
_VERSION = "(SELECT md5(string_agg(m::text, '' ORDER BY m.id)) FROM meter m) AS book_version"
_BOOK = f"""
    SELECT (SELECT max(window_end) FROM usage_window WHERE state <> 'open') AS last_closed_end,
           usage_kept_from() AS kept_from, {_VERSION}
"""
_METERS = f"SELECT m.*, {_VERSION} FROM meter m"
# Columns travel as one text each, cut at the unit separator, which no text of an event holds: to send an array
# costs asyncpg a microsecond for each element, and that was a third of the whole path. Instants are microseconds;
# `request` is the place of an event's request in the arrays of arrivals and batch ids. Raw events go in by time,
# as their index stands. Columns taken apart side by side are kept nowhere until they are rows, as those of one unnest
# are. Mostly every event is new: then none is looked for among those that are, and nothing is told, else their keys.
_STORE = """
    WITH given AS MATERIALIZED (
        SELECT key, digest, to_timestamp(us / 1000000) + (us % 1000000) * interval '1 microsecond' AS occurred_at,
               ($5::timestamptz[])[request] AS arrived_at, ($6::uuid[])[request] AS batch_id,
               type, source, event_id, subject, data
        FROM (SELECT unnest(string_to_array($2, E'\\x1f')::uuid[]) AS key,
                     unnest(string_to_array($3, E'\\x1f')::uuid[]) AS digest,
                     unnest(string_to_array($4, E'\\x1f')::bigint[]) AS us,
                     unnest(string_to_array($7, E'\\x1f')::integer[]) AS request,
                     unnest(string_to_array($8, E'\\x1f')) AS type, unnest(string_to_array($9, E'\\x1f')) AS source,
                     unnest(string_to_array($10, E'\\x1f')) AS event_id,
                     unnest(string_to_array($11, E'\\x1f')) AS subject,
                     unnest(string_to_array($12, E'\\x1f', '')) AS data) AS g
    ), fresh AS (
        INSERT INTO usage_key (tenant, key, digest, occurred_at)
        SELECT $1::uuid, key, digest, occurred_at FROM given ORDER BY key
        ON CONFLICT (key) DO NOTHING
        RETURNING key
    ), stored AS (
        INSERT INTO usage_event (tenant, occurred_at, key, arrived_at, batch_id, type, source, event_id, subject, data)
        SELECT $1::uuid, occurred_at, key, arrived_at, batch_id, type, source, event_id, subject, data::jsonb
        FROM given
        WHERE (SELECT count(*) FROM fresh) = (SELECT count(*) FROM given) OR key IN (SELECT key FROM fresh)
        ORDER BY occurred_at, key
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
        (tenant, meter_id, subject, bucket_start, group_key, event_count, total, minimum, maximum)
    SELECT $1::uuid, meter_id, subject, to_timestamp(seconds), group_key, event_count, total, minimum, maximum
    FROM unnest(string_to_array($2, E'\\x1f'), string_to_array($3, E'\\x1f'),
                string_to_array($4, E'\\x1f')::bigint[], string_to_array($5, E'\\x1f'),
                string_to_array($6, E'\\x1f')::bigint[], string_to_array($7, E'\\x1f', '')::numeric[],
                string_to_array($8, E'\\x1f', '')::numeric[], string_to_array($9, E'\\x1f', '')::numeric[])
        AS g(meter_id, subject, seconds, group_key, event_count, total, minimum, maximum)
    ON CONFLICT (tenant, meter_id, subject, bucket_start, group_key) DO UPDATE SET
        event_count = b.event_count + excluded.event_count,
        total = b.total + excluded.total,
        minimum = least(b.minimum, excluded.minimum),
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
            await run(self._uow.connection, _SHARE)
            self._book = await self._read_book()
        return self._book

    async def _read_book(self) -> MeterBook:
        driver = await raw(self._uow.connection)
        told = await driver.fetchrow(_BOOK)
        assert told is not None, "it always has one row"
        last_closed_end, kept_from, version = told
        meters = _known_meters.get((self._uow.tenant, version))
        if meters is None:
            found = await driver.fetch(_METERS)
            meters = _by_type(found)
            _known_meters.keep((self._uow.tenant, found[0]["book_version"] if found else None), meters)
        return MeterBook(meters, last_closed_end, kept_from)

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
        if len(arrivals) > CHUNK_LENGTH:  # a statement sorts its own
            arrivals = sorted(arrivals, key=lambda arrival: arrival.event.key)
        for chunk in _chunks(arrivals):
            events = [arrival.event for arrival in chunk]
            requests: dict[tuple[str, datetime], str] = {}
            places = [requests.setdefault((a.batch_id, a.arrived_at), str(len(requests) + 1)) for a in chunk]
            told: str | None = await driver.fetchval(
                _STORE,
                tenant,
                b"".join([e.key for e in events]).hex("\x1f", HASH_BYTES),
                b"".join([e.digest for e in events]).hex("\x1f", HASH_BYTES),
                _joined([str(e.occurred_us) for e in events]),
                [arrived_at for _, arrived_at in requests],
                [batch_id for batch_id, _ in requests],
                _joined(places),
                _joined([e.type for e in events]),
                _joined([e.source for e in events]),
                _joined([e.event_id for e in events]),
                _joined([e.subject for e in events]),
                b"\x1f".join([e.data_json or b"" for e in events]).decode(),
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
            assert len(fresh) + len(known) == len(arrivals), "what is not new is known"
        return Stored(frozenset(fresh), known)

    async def find_known(self, keys: Sequence[bytes]) -> Collection[bytes]:
        driver = await raw(self._uow.connection)
        return {row[0].bytes for row in await driver.fetch(_KNOWN, [UUID(key) for key in keys])}

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
                _joined(["" if a.minimum is None else str(a.minimum) for a in chunk]),
                _joined(["" if a.maximum is None else str(a.maximum) for a in chunk]),
            )
        await add_special_sums(driver, self._uow.tenant, sums)

    async def keep_measurements(self, computed: Sequence[Computed]) -> None:
        await keep_measurements(await raw(self._uow.connection), self._uow.tenant, computed)

    async def rebuild(self, touched: Sequence[TouchedBucket]) -> None:
        await rebuild_buckets(await raw(self._uow.connection), touched)

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

    async def sum_windows(
        self, windows: Sequence[UsageWindow], *, until: Mapping[str, datetime] | None = None
    ) -> Mapping[str, Sequence[UsageTotal]]:
        return await sum_windows(self._uow.connection, windows, until=until)

    async def sum_windows_kept(
        self, windows: Sequence[UsageWindow]
    ) -> tuple[Mapping[str, Sequence[UsageTotal]], Mapping[str, RawEventsGone]]:
        """By halves, until those stand alone that cannot be counted: they are few, and there are none as a rule."""
        try:
            async with self._uow.connection.begin_nested():
                return await sum_windows(self._uow.connection, windows), {}
        except RawEventsGone as error:
            if len(windows) == 1:
                return {}, {windows[0].id: error}
        middle = len(windows) // 2
        totals, gone = await self.sum_windows_kept(windows[:middle])
        others, others_gone = await self.sum_windows_kept(windows[middle:])
        return {**totals, **others}, {**gone, **others_gone}


class _Meters:
    """Meters by event type, by tenant and what their rows were hashed to; those that were asked for last."""

    TENANTS_MAX = 1_000

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str | None], Mapping[str, Sequence[Meter]]] = OrderedDict()

    def get(self, key: tuple[str, str | None]) -> Mapping[str, Sequence[Meter]] | None:
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
        return found

    def keep(self, key: tuple[str, str | None], meters: Mapping[str, Sequence[Meter]]) -> None:
        self._known[key] = meters
        if len(self._known) > self.TENANTS_MAX:
            self._known.popitem(last=False)


_known_meters = _Meters()


def _by_type(found: Sequence[Any]) -> Mapping[str, Sequence[Meter]]:
    by_type: dict[str, list[Meter]] = defaultdict(list)
    for row in found:
        meter = row_mapping.meter_from(row)
        by_type[meter.event_type].append(meter)
    return dict(by_type)


def _chunks(things: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), CHUNK_LENGTH):
        yield things[start : start + CHUNK_LENGTH]


def _storable(text: str | None) -> str | None:
    """As PostgreSQL can keep it: a reject may hold a NUL, which is what it was refused for."""
    return None if text is None else text[:PAYLOAD_LENGTH_MAX].replace("\0", "\N{SYMBOL FOR NULL}")
