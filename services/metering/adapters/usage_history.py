"""Raw events by their time, and the running sums that are made of them afterwards, slice by slice."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, update

from libs.common.persistence.base import raw
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import rows
from services.metering.adapters.running_sums import COLUMNS, EPOCH, OF_TIME, made_of, members_of
from services.metering.domain.back_fill import BackFill
from services.metering.domain.meter import Meter

EVENTS_LENGTH = 2_000  # events in one statement

# Those that are looked at are bounded, whatever their type: no index leads to the events of a type.
_COUNT = """
    SELECT count(*) AS looked_at, count(*) FILTER (WHERE type = ANY($1::text[])) AS found
    FROM (SELECT type FROM usage_event WHERE occurred_at >= $2 LIMIT $3) e
"""
_ESTIMATE = "EXPLAIN (FORMAT JSON) SELECT FROM usage_event WHERE occurred_at >= $1"
_FIND = "SELECT occurred_at FROM usage_event WHERE occurred_at >= $1 ORDER BY occurred_at LIMIT 1"
_CUT = """
    SELECT e.occurred_at FROM (
        SELECT e.occurred_at, e.key, row_number() OVER earlier AS looked_at,
               count(*) FILTER (WHERE e.type = ANY($1::text[])) OVER earlier AS found
        FROM (
            SELECT occurred_at, key, type FROM usage_event
            WHERE occurred_at >= $2 AND occurred_at < coalesce($3::timestamptz, 'infinity')
            ORDER BY occurred_at, key LIMIT $5::bigint + 1
        ) e
        WINDOW earlier AS (ORDER BY e.occurred_at, e.key ROWS UNBOUNDED PRECEDING)
    ) e
    WHERE e.found > $4::bigint OR e.looked_at > $5::bigint
    ORDER BY e.occurred_at, e.key LIMIT 1
"""
_EVENTS = """
    SELECT e.key, e.occurred_at, e.data::text AS data FROM usage_event e
    WHERE e.type = $1 AND e.occurred_at >= $2 AND e.occurred_at < coalesce($3::timestamptz, 'infinity')
      AND (e.occurred_at, e.key) > ($2::timestamptz, $4::uuid)
    ORDER BY e.occurred_at, e.key LIMIT $5
"""
_GONE_THROUGH = """
    SELECT count(*) FROM usage_event
    WHERE occurred_at >= $1 AND occurred_at < coalesce($2::timestamptz, 'infinity')
"""
# The sums of a version that another has followed, as far as there are events: what is no longer its own goes.
_DROP = f"""
    DELETE FROM {{table}} b USING (
        SELECT DISTINCT e.subject, date_bin(make_interval(secs => m.bucket_s), e.occurred_at, {EPOCH}) AS starts
        FROM meter m JOIN usage_event e ON e.type = m.event_type
        WHERE m.id = $1 AND e.occurred_at >= $2 AND e.occurred_at < coalesce($3::timestamptz, 'infinity')
    ) g
    WHERE b.meter_id = $1 AND b.subject = g.subject AND b.bucket_start = g.starts
"""
_KEY = "tenant, meter_id, subject, bucket_start, group_key"
_SUMS = "event_count, total, minimum, maximum, latest_at, latest_key, latest_value, first_at, area"
# What is there is of events that were stored meanwhile, and are among those that the sums are made of now.
_FILL = (
    f"""
    INSERT INTO usage_bucket ({COLUMNS}) {made_of(OF_TIME)}
    ON CONFLICT ({_KEY}) DO UPDATE SET ({_SUMS}) = ROW ({", ".join(f"excluded.{c}" for c in _SUMS.split(", "))})
    """,
    f"""
    INSERT INTO usage_member {members_of(OF_TIME)}
    ON CONFLICT ({_KEY}, member) DO UPDATE SET
        last_at = excluded.last_at, last_key = excluded.last_key, is_in = excluded.is_in
    """,
)
_FIRST = UUID(int=0)


class UsageHistory:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def count_events(self, types: Sequence[str], start: datetime, *, looked_at_max: int) -> int | None:
        driver = await raw(self._uow.connection)
        row = await driver.fetchrow(_COUNT, list(types), start, looked_at_max + 1)
        assert row is not None, "a count is always there"
        return None if row["looked_at"] > looked_at_max else int(row["found"])

    async def estimate_events(self, start: datetime) -> int:
        told = await (await raw(self._uow.connection)).fetchval(_ESTIMATE, start)
        return int(told[0]["Plan"]["Plan Rows"])

    async def find_event(self, start: datetime) -> datetime | None:
        found: datetime | None = await (await raw(self._uow.connection)).fetchval(_FIND, start)
        return found

    async def find_cut(
        self,
        types: Sequence[str],
        start: datetime,
        *,
        before: datetime | None,
        read_max: int,
        looked_at_max: int,
    ) -> datetime | None:
        driver = await raw(self._uow.connection)
        found: datetime | None = await driver.fetchval(
            _CUT, list(types), start, before, read_max, looked_at_max
        )
        return found

    async def events(
        self, meter: Meter, start: datetime, end: datetime | None
    ) -> AsyncIterator[tuple[bytes, datetime, Any]]:
        driver = await raw(self._uow.connection)
        after = start if meter.valid_from is None or meter.carries_over else max(start, meter.valid_from)
        bounds = [bound for bound in (end, meter.valid_until) if bound is not None]
        last, key = min(bounds) if bounds else None, _FIRST
        while True:
            found = await driver.fetch(_EVENTS, meter.event_type, after, last, key, EVENTS_LENGTH)
            for row in found:
                after, key = row["occurred_at"], row["key"]
                yield key.bytes, after, _exact(row["data"])
            if len(found) < EVENTS_LENGTH:
                return

    async def fill(self, meters: Sequence[Meter], start: datetime, end: datetime | None) -> int:
        driver = await raw(self._uow.connection)
        for meter in meters:
            if meter.valid_until is not None:
                for table in ("usage_bucket", "usage_member"):
                    await driver.execute(_DROP.format(table=table), meter.id, start, end)
            for statement in _FILL:
                await driver.execute(statement, meter.id, start, end)
        return int(await driver.fetchval(_GONE_THROUGH, start, end))


def _exact(data: str | None) -> Any:
    """Numbers as they are written: no float is ever made."""
    return None if data is None else json.loads(data, parse_float=Decimal)


class BackFills:
    """How far a version is filled stands with the meter; how many events that were, and what is due, here."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def add(self, back_fill: BackFill) -> None:
        row = {"tenant": self._uow.tenant, "id": back_fill.id, **_columns(back_fill)}
        await self._uow.connection.execute(insert(rows.meter_back_fill).values(**row))
        await self._tell_meter(back_fill)

    async def load(self, meter_ids: Sequence[str]) -> Mapping[str, BackFill]:
        table, meter = rows.meter_back_fill, rows.meter
        wanted = (
            select(table, meter.c.filled_until)
            .join(meter, meter.c.id == table.c.id)
            .where(table.c.id.in_(meter_ids))
        )
        found = (await self._uow.connection.execute(wanted)).mappings()
        return {
            row["id"]: BackFill(
                id=row["id"],
                event_count=row["event_count"],
                events_total=row["events_total"],
                filled_until=row["filled_until"],
                started_at=row["started_at"],
                done_at=row["done_at"],
            )
            for row in found
        }

    async def get(self, meter_id: str) -> BackFill:
        return (await self.load([meter_id]))[meter_id]

    async def save(self, back_fill: BackFill) -> None:
        table = rows.meter_back_fill
        await self._uow.connection.execute(
            update(table).where(table.c.id == back_fill.id).values(**_columns(back_fill))
        )
        await self._tell_meter(back_fill)

    async def _tell_meter(self, back_fill: BackFill) -> None:
        table = rows.meter
        await self._uow.connection.execute(
            update(table)
            .where(table.c.id == back_fill.id)
            .values(filled_until=back_fill.filled_until, filled_at=back_fill.done_at)
        )


def _columns(back_fill: BackFill) -> dict[str, Any]:
    """One that is not done is due at once: whoever fills it rests by himself between two slices."""
    is_done = back_fill.done_at is not None
    return {
        "event_count": back_fill.event_count,
        "events_total": back_fill.events_total,
        "started_at": back_fill.started_at,
        "done_at": back_fill.done_at,
        "due_at": None if is_done else func.statement_timestamp(),
    }
