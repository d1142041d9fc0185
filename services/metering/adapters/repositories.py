"""Meters, windows, bindings and subscriptions on one transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from sqlalchemy import func, insert, select

from libs.common.errors import NotFound
from libs.common.persistence.base import bulk_insert
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.metering.adapters import row_mapping, rows
from services.metering.application.ports import MeteredSubscription
from services.metering.application.queries import UsageWindowNotFound
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


class MeterRepository:
    """Meters are written one at a time and never changed."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def find_by_code(self, code: str) -> Meter | None:
        found = await self._uow.connection.execute(select(rows.meter).where(rows.meter.c.code == code))
        row = found.mappings().first()
        return row_mapping.meter_from(row) if row else None

    async def count(self) -> int:
        counted = await self._uow.connection.execute(select(func.count()).select_from(rows.meter))
        return int(counted.scalar_one())

    async def insert(self, meter: Meter) -> None:
        row = {"tenant": self._uow.tenant, **row_mapping.meter_row(meter)}
        await self._uow.connection.execute(insert(rows.meter).values(**row))


_NEWER_SUBSCRIPTION = """
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, customer_id = excluded.customer_id,
        zone = excluded.zone, clock_id = excluded.clock_id
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
