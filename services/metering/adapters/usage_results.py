"""What became of events that came through the usage topic: a row for each part, and one for each not stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.access.tenancy import APP, FINDER
from libs.common.persistence.base import raw
from libs.common.persistence.session import Database
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import row_mapping
from services.metering.application.reads import SETTLED_AS, NotStored, PartId, SettledPart

PLACE_DIGITS = 6
SLICE_BATCHES = 1_000

_SETTLED = """
    SELECT g.batch_id::text, g.part FROM unnest($1::uuid[], $2::integer[]) AS g(batch_id, part)
    WHERE EXISTS (SELECT FROM usage_batch b WHERE b.batch_id = g.batch_id AND b.part = g.part)
"""
_KEEP = """
    INSERT INTO usage_batch (tenant, batch_id, part, batch_event_count, stored, duplicate, conflict, rejected,
                             arrived_at, settled_at, expires_at)
    SELECT $1::uuid, g.*, now(), now() + $10::interval
    FROM unnest($2::uuid[], $3::integer[], $4::integer[], $5::integer[], $6::integer[], $7::integer[],
                $8::integer[], $9::timestamptz[]) AS g
    ON CONFLICT DO NOTHING
"""
_KEEP_NOT_STORED = """
    INSERT INTO usage_result (tenant, id, batch_id, place, status, event_id, source, reasons, settled_at)
    SELECT $1::uuid, g.id, g.batch_id, g.place, g.status, g.event_id, g.source, g.reasons::jsonb, now()
    FROM unnest($2::text[], $3::uuid[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::text[])
        AS g(id, batch_id, place, status, event_id, source, reasons)
    ON CONFLICT DO NOTHING
"""
_TENANTS = text("SELECT DISTINCT tenant::text FROM usage_batch ORDER BY 1")  # a policy shows the expired only
_EXPIRED = f"""
    SELECT DISTINCT batch_id FROM (
        SELECT batch_id FROM usage_batch WHERE expires_at <= now() ORDER BY expires_at LIMIT {SLICE_BATCHES}
    ) AS oldest
"""


class UsageResults:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def find_settled(self, ids: Sequence[PartId]) -> Sequence[PartId]:
        driver = await raw(self._uow.connection)
        rows = await driver.fetch(_SETTLED, [id.batch_id for id in ids], [id.number for id in ids])
        return [PartId(*row) for row in rows]

    async def keep(
        self, settled: Sequence[SettledPart], not_stored: Sequence[NotStored], *, kept: timedelta
    ) -> None:
        driver, tenant = await raw(self._uow.connection), self._uow.tenant
        await driver.execute(
            _KEEP,
            tenant,
            [part.id.batch_id for part in settled],
            [part.id.number for part in settled],
            [part.batch_event_count for part in settled],
            *([part.counts.get(s, 0) for part in settled] for s in SETTLED_AS),
            [part.arrived_at for part in settled],
            kept,
        )
        if not_stored:
            await driver.execute(
                _KEEP_NOT_STORED,
                tenant,
                [f"{one.batch_id}/{one.place:0{PLACE_DIGITS}}" for one in not_stored],
                [one.batch_id for one in not_stored],
                [one.place for one in not_stored],
                [one.status for one in not_stored],
                [one.event_id for one in not_stored],
                [one.source for one in not_stored],
                [json.dumps(row_mapping.reasons_json(one.reasons)) for one in not_stored],
            )


async def forget_expired(database: Database) -> int:
    """Delete results that were kept long enough, in slices; returns how many batches. Several at once do no harm."""
    async with database.transaction(FINDER) as connection:
        tenants = (await connection.execute(_TENANTS)).scalars().all()
    forgotten = 0
    for tenant in tenants:
        while True:
            async with database.transaction(APP, tenant) as connection:
                count = await _forget_slice(connection)
            forgotten += count
            if not count:
                break
    return forgotten


async def _forget_slice(connection: AsyncConnection) -> int:
    driver = await raw(connection)
    batches = [row["batch_id"] for row in await driver.fetch(_EXPIRED)]
    for table in ("usage_result", "usage_batch"):
        await driver.execute(f"DELETE FROM {table} WHERE batch_id = ANY($1::uuid[])", batches)
    return len(batches)
