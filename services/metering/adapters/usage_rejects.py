"""Rejects as those work with them who put them right. Whoever stores usage keeps them, a batch at a time."""

from __future__ import annotations

from sqlalchemy import select, update

from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import row_mapping, rows
from services.metering.application.reads import RejectResolution, RejectView


class UsageRejects:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def find(self, reject_id: str) -> RejectView | None:
        table = rows.usage_reject
        found = await self._uow.connection.execute(select(table).where(table.c.id == reject_id))
        row = found.mappings().first()
        return None if row is None else row_mapping.reject_from(row)

    async def resolve(self, reject_id: str, resolution: RejectResolution) -> bool:
        table = rows.usage_reject
        done = (
            update(table)
            .where(table.c.id == reject_id, table.c.resolution.is_(None))
            .values(
                resolution=resolution.outcome,
                resolved_at=resolution.resolved_at,
                resolved_by=resolution.resolved_by,
                resolved_note=resolution.note,
            )
            .returning(table.c.id)
        )
        return (await self._uow.connection.execute(done)).first() is not None
