"""What is made of the usage on each meter: as the newest version that metering told of says."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import select

from libs.common.contracts.metering import MeterDefinedV1
from libs.common.persistence.base import bulk_insert
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters.rows import known_meter
from services.subscriptions.domain.entitlement import Aggregation

_NEWER = """
    ON CONFLICT (tenant, code) DO UPDATE SET aggregation = excluded.aggregation, version = excluded.version
    WHERE known_meter.version < excluded.version
"""


class KnownMeters:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._told: dict[str, MeterDefinedV1] = {}

    def reset(self) -> None:
        self._told.clear()

    def keep(self, event: MeterDefinedV1) -> None:
        known = self._told.get(event.code)
        if known is None or known.version < event.version:
            self._told[event.code] = event

    async def flush(self) -> None:
        told, self._told = self._told, {}
        given = [
            {
                "tenant": self._uow.tenant,
                "code": code,
                "aggregation": told[code].aggregation,
                "version": told[code].version,
            }
            for code in sorted(told)
        ]
        await bulk_insert(self._uow.connection, known_meter, given, tail=_NEWER)

    async def aggregations(self, codes: Collection[str]) -> Mapping[str, Aggregation]:
        wanted = select(known_meter.c.code, known_meter.c.aggregation).where(
            known_meter.c.code.in_(sorted(codes))
        )
        return {row.code: row.aggregation for row in await self._uow.connection.execute(wanted)}
