"""Notes that windows must be counted again, found and written with one statement for each kind of change.

Notes are only ever added, each under an id of its own: whoever stores usage waits for nobody who counts. They
are due at once, by their window's clock, since the window had ended before it could be said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from asyncpg.pgproto.pgproto import UUID
from sqlalchemy import update

from libs.common.persistence.base import raw
from libs.common.persistence.unit_of_work import UnitOfWork
from libs.common.telemetry import current_traceparent
from services.metering.adapters import rows
from services.metering.application.ports import LateNote
from services.metering.domain.late_usage import (
    EVENTS_TOLD_MAX,
    ChangedEvent,
    ChangedEvents,
    ChangedUsage,
    UsageChangeCause,
)
from services.metering.domain.subject_binding import BindingChange

# `business_noted_at` is when it was noted by the window's clock, by which it is told whether it is still billed.
_COLUMNS = "id, tenant, window_id, due_at, clock_id, traceparent, business_noted_at"
_VALUES = """
    'late_' || replace(gen_random_uuid()::text, '-', ''), w.tenant, w.id, w.window_end, w.clock_id, $1,
    coalesce((SELECT c.now FROM known_clock c WHERE c.id = w.clock_id), clock_timestamp())
"""
_INSERT = f"""
    INSERT INTO late_usage ({_COLUMNS})
    SELECT {_VALUES} FROM usage_window w WHERE w.state <> 'open' AND
"""
# What an event reaches: its own instant, and as long as a level that it sets, or what is counted until it is taken away,
# goes on. A change that weighs from the start of its local day reaches back as far as a day can be long. It is named
# where it, or what it leaves, lies in a span of the window; the window is counted again in any case.
_BY_EVENTS = f"""
    WITH changed AS MATERIALIZED (
        SELECT given.*, given.at - CASE WHEN kind.by_day THEN interval '25 hours' ELSE interval '0' END AS starts,
               CASE WHEN kind.stays THEN 'infinity' ELSE given.at + interval '1 microsecond' END AS ends
        FROM unnest($3::text[], $4::text[], $5::timestamptz[], $6::uuid[]) AS given(meter, subject, at, key)
        JOIN (
            SELECT code, bool_or(aggregation = 'time_weighted' OR options @> '{{"keeps": true}}') AS stays,
                   bool_or(options @> '{{"by_day": true}}') AS by_day
            FROM meter WHERE code = ANY($3::text[]) GROUP BY code
        ) kind ON kind.code = given.meter
    ), found AS (
        SELECT w.id, array_agg(DISTINCT changed.key) FILTER (WHERE EXISTS (
            SELECT FROM jsonb_array_elements(w.items) AS item
            CROSS JOIN LATERAL jsonb_array_elements(coalesce(item -> 'spans', '[{{}}]')) AS span
            WHERE item ->> 'item_id' = b.item_id AND item ->> 'meter' = b.meter
              AND coalesce((span ->> 'start')::timestamptz, w.window_start) < changed.ends
              AND coalesce((span ->> 'end')::timestamptz, w.window_end) > changed.starts
        )) AS keys
        FROM changed
        JOIN subject_binding b ON b.subject = changed.subject AND b.meter = changed.meter
            AND b.bound_from < changed.ends AND (b.bound_until IS NULL OR b.bound_until > changed.starts)
        JOIN usage_window w ON w.subscription_id = b.subscription_id AND w.state <> 'open'
            AND w.window_start < changed.ends AND w.window_end > changed.starts
        GROUP BY w.id
    )
    INSERT INTO late_usage ({_COLUMNS}, cause, event_keys)
    SELECT {_VALUES}, $2, found.keys FROM usage_window w JOIN found ON found.id = w.id
"""
_BY_BINDING = f"""{_INSERT} w.id IN (
        SELECT found.id FROM unnest($2::text[], $3::timestamptz[], $4::timestamptz[])
            AS changed(subscription_id, starts, ends)
        JOIN usage_window found ON found.subscription_id = changed.subscription_id AND found.state <> 'open'
            AND (changed.ends IS NULL OR found.window_start < changed.ends)
            AND found.window_end > changed.starts)
"""
_BY_METER = f"{_INSERT} w.items @> jsonb_build_array(jsonb_build_object('meter', $2::text))"
_BY_ID = f"{_INSERT} w.id = ANY($2::text[])"
# All notes of the windows of these. Another worker may be about to answer some: he will find it done.
_NOTES = """
    SELECT l.id, l.window_id, coalesce(l.business_noted_at, l.noted_at) FROM late_usage l
    WHERE l.window_id IN (SELECT window_id FROM late_usage WHERE id = ANY($1::text[])) ORDER BY l.id
"""
# Of one event, what was done with it last. One whose raw row is no longer kept is counted, and not named.
_EVENTS = """
    WITH named AS (
        SELECT l.window_id, k.key, (array_agg(l.cause ORDER BY l.noted_at DESC, l.id))[1] AS cause
        FROM late_usage l CROSS JOIN LATERAL unnest(l.event_keys) AS k(key)
        WHERE l.window_id = ANY($1::text[]) GROUP BY 1, 2
    ), placed AS (
        SELECT named.*, u.occurred_at, count(*) OVER (PARTITION BY window_id) AS event_count,
               row_number() OVER (PARTITION BY window_id ORDER BY u.occurred_at, named.key) AS place
        FROM named LEFT JOIN usage_key u ON u.key = named.key
    )
    SELECT p.window_id, p.cause, p.event_count, e.source, e.event_id
    FROM placed p LEFT JOIN usage_event e ON e.occurred_at = p.occurred_at AND e.key = p.key
    WHERE p.place <= $2 ORDER BY p.window_id, p.place
"""
_REMOVE = """
    DELETE FROM late_usage WHERE id IN (
        SELECT id FROM late_usage WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE SKIP LOCKED)
"""

CHUNK_LENGTH = 5_000


class LateUsageNotes:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._changed: dict[UsageChangeCause, list[ChangedUsage]] = defaultdict(list)
        self._changes: list[BindingChange] = []
        self._meters: list[str] = []
        self._windows: list[str] = []

    def note_events(self, cause: UsageChangeCause, changed: Iterable[ChangedUsage]) -> None:
        self._changed[cause] += changed

    def note_binding(self, changes: Iterable[BindingChange]) -> None:
        self._changes += changes

    def note_meter(self, code: str) -> None:
        self._meters.append(code)

    def note_window(self, window_id: str) -> None:
        self._windows.append(window_id)

    def reset(self) -> None:
        self._changed.clear()
        self._changes, self._meters, self._windows = [], [], []

    async def flush(self) -> None:
        """Runs after what is noted has been written: registered last."""
        if not (self._changed or self._changes or self._meters or self._windows):
            return
        driver, trace = await raw(self._uow.connection), current_traceparent()
        events, self._changed = self._changed, defaultdict(list)
        for cause, changed in events.items():
            for start in range(0, len(changed), CHUNK_LENGTH):
                codes, subjects, instants, keys = zip(*changed[start : start + CHUNK_LENGTH], strict=True)
                named = [UUID(key) for key in keys]
                await driver.execute(_BY_EVENTS, trace, cause, codes, subjects, instants, named)
        changes, self._changes = self._changes, []
        if changes:
            subscriptions = [change.subscription_id for change in changes]
            starts, ends = [change.start for change in changes], [change.end for change in changes]
            await driver.execute(_BY_BINDING, trace, subscriptions, starts, ends)
        meters, self._meters = self._meters, []
        for code in meters:
            await driver.execute(_BY_METER, trace, code)
        windows, self._windows = self._windows, []
        if windows:
            await driver.execute(_BY_ID, trace, windows)

    async def load(self, ids: Sequence[str]) -> Sequence[LateNote]:
        driver = await raw(self._uow.connection)
        return [LateNote(*row) for row in await driver.fetch(_NOTES, list(ids))]

    async def events_of(self, window_ids: Collection[str]) -> Mapping[str, ChangedEvents]:
        driver = await raw(self._uow.connection)
        first: dict[str, list[ChangedEvent]] = defaultdict(list)
        counts: dict[str, int] = {}
        for row in await driver.fetch(_EVENTS, list(window_ids), EVENTS_TOLD_MAX):
            counts[row["window_id"]] = row["event_count"]
            if row["source"] is not None:
                named = ChangedEvent(row["source"], row["event_id"], row["cause"])
                first[row["window_id"]].append(named)
        return {id: ChangedEvents(tuple(first[id]), count) for id, count in counts.items()}

    async def put_off(self, ids: Sequence[str], until: datetime) -> None:
        table = rows.late_usage
        await self._uow.connection.execute(update(table).where(table.c.id.in_(ids)).values(retry_at=until))

    async def remove(self, ids: Sequence[str]) -> None:
        await (await raw(self._uow.connection)).execute(_REMOVE, list(ids))
