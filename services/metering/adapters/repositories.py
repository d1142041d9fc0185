"""Meters, windows, bindings and subscriptions on one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import ClassVar

from sqlalchemy import func, insert, select

from libs.common.errors import NotFound
from libs.common.persistence.base import bulk_insert
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import row_mapping, rows
from services.metering.application.ports import LateUsageRules, MeteredSubscription
from services.metering.application.queries import MeterNotFound, UsageWindowNotFound
from services.metering.domain.late_usage import LateUsageTerms, WindowCorrection
from services.metering.domain.meter import Meter
from services.metering.domain.subject_binding import SubjectBinding
from services.metering.domain.usage_window import UsageWindow


class BindingNotFound(NotFound):
    code: ClassVar[str] = "subject_binding_not_found"
    title: ClassVar[str] = "There is no such subject binding"


class WindowRepository(Repository[UsageWindow]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.usage_window,
            to_row=row_mapping.window_row,
            from_row=row_mapping.window_from,
            not_found=lambda id: UsageWindowNotFound("no usage window has this id", usage_window_id=id),
        )


class BindingRepository(Repository[SubjectBinding]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.subject_binding,
            to_row=row_mapping.binding_row,
            from_row=row_mapping.binding_from,
            not_found=lambda id: BindingNotFound("no subject binding has this id", binding_id=id),
        )


class WindowCorrectionRepository:
    """Corrections are said once, and only ever added."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._added: list[WindowCorrection] = []

    def add(self, correction: WindowCorrection) -> None:
        self._added.append(correction)

    def reset(self) -> None:
        self._added.clear()

    async def flush(self) -> None:
        added, self._added = self._added, []
        given = [{"tenant": self._uow.tenant, **row_mapping.window_correction_row(one)} for one in added]
        await bulk_insert(self._uow.connection, rows.usage_window_correction, given)


class MeterRepository:
    """Versions of meters are written one at a time; nothing changes but when they end, and how far they are filled."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def find_by_code(self, code: str) -> Meter | None:
        versions = await self.versions(code)
        return versions[-1] if versions else None

    async def versions(self, code: str) -> Sequence[Meter]:
        wanted = select(rows.meter).where(rows.meter.c.code == code).order_by(rows.meter.c.version)
        return [
            row_mapping.meter_from(row) for row in (await self._uow.connection.execute(wanted)).mappings()
        ]

    async def get(self, meter_id: str) -> Meter:
        found = await self._uow.connection.execute(select(rows.meter).where(rows.meter.c.id == meter_id))
        row = found.mappings().first()
        if row is None:
            raise MeterNotFound("no meter has this id", meter_id=meter_id)
        return row_mapping.meter_from(row)

    async def find_filling(self, codes: Collection[str]) -> Collection[str]:
        meter = rows.meter.c
        found = select(meter.code).where(meter.code.in_(codes), meter.filled_at.is_(None)).distinct()
        return frozenset((await self._uow.connection.execute(found)).scalars()) if codes else frozenset()

    async def count(self) -> int:
        newest = select(func.count()).select_from(rows.meter).where(rows.meter.c.valid_until.is_(None))
        return int((await self._uow.connection.execute(newest)).scalar_one())

    async def insert(self, meter: Meter) -> None:
        row = {"tenant": self._uow.tenant, **row_mapping.meter_row(meter)}
        await self._uow.connection.execute(insert(rows.meter).values(**row))

    async def close(self, meter_id: str, valid_until: datetime) -> None:
        table = rows.meter
        ended = table.update().where(table.c.id == meter_id).values(valid_until=valid_until)
        await self._uow.connection.execute(ended)


_NEWER_SUBSCRIPTION = """
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, customer_id = excluded.customer_id,
        zone = excluded.zone, clock_id = excluded.clock_id, late_usage_policy = excluded.late_usage_policy,
        late_usage_days = excluded.late_usage_days
    WHERE metered_subscription.version < excluded.version
"""
_NEWER_ITEM = """
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, meter = excluded.meter
    WHERE metered_item.version < excluded.version
"""


class SubscriptionRepository:
    """Copies, written in bulk; of several versions in one batch only the newest is, with the items of all."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._learned: dict[str, MeteredSubscription] = {}

    def learn(self, subscription: MeteredSubscription) -> None:
        known = self._learned.get(subscription.id)
        if known is not None:
            older, newer = sorted((known, subscription), key=lambda version: version.version)
            items = {item.item_id: item for item in (*older.items, *newer.items)}
            subscription = replace(newer, items=tuple(items.values()))
        self._learned[subscription.id] = subscription

    def reset(self) -> None:
        self._learned.clear()

    async def late_usage_rules(self, subscription_ids: Collection[str]) -> Mapping[str, LateUsageRules]:
        """What was learned in this transaction counts as well: a preview asks before anything is written."""
        known = rows.metered_subscription.c
        wanted = select(known.id, known.late_usage_policy, known.late_usage_days, known.zone).where(
            known.id.in_(subscription_ids)
        )
        found = {
            row.id: LateUsageRules(LateUsageTerms(row.late_usage_policy, row.late_usage_days), row.zone)
            for row in await self._uow.connection.execute(wanted)
        }
        learned = (self._learned[id] for id in subscription_ids if id in self._learned)
        return {**found, **{one.id: LateUsageRules(one.late_usage, one.zone) for one in learned}}

    async def flush(self) -> None:
        learned, self._learned = sorted(self._learned.values(), key=lambda s: s.id), {}
        tenant = self._uow.tenant
        subscriptions = [
            {
                "tenant": tenant,
                "id": s.id,
                "version": s.version,
                "customer_id": s.customer_id,
                "zone": s.zone,
                "clock_id": s.clock_id,
                "late_usage_policy": s.late_usage.policy,
                "late_usage_days": s.late_usage.window_days,
            }
            for s in learned
        ]
        items = {
            item.item_id: {
                "tenant": tenant,
                "id": item.item_id,
                "version": s.version,
                "subscription_id": s.id,
                "meter": item.meter,
            }
            for s in learned
            for item in s.items
        }
        connection = self._uow.connection
        await bulk_insert(connection, rows.metered_subscription, subscriptions, tail=_NEWER_SUBSCRIPTION)
        await bulk_insert(
            connection, rows.metered_item, [items[id] for id in sorted(items)], tail=_NEWER_ITEM
        )
