"""Subscriptions with their items, and the periods that they went through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import bulk_insert, is_among, missing_from
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters import mapping, rows
from services.subscriptions.application.ports import SubscriptionFilter
from services.subscriptions.domain.billing_period import BillingPeriod
from services.subscriptions.domain.subscription import Subscription, SubscriptionNotFound
from services.subscriptions.domain.subscription_item import ItemSegment

_CHANGE_PERIOD = """
    ON CONFLICT (subscription_id, index) DO UPDATE
    SET end_at = excluded.end_at, end_on = excluded.end_on, more = excluded.more
"""


class SubscriptionRepository(Repository[Subscription]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.subscription,
            to_row=mapping.subscription_to_row,
            from_row=mapping.subscription_from_row,
            not_found=lambda id: SubscriptionNotFound("there is no subscription with this id"),
        )
        self._periods: list[dict[str, Any]] = []
        self._period_changes: list[dict[str, Any]] = []
        self._known: dict[str, tuple[ItemSegment, ...]] = {}

    async def load_for_update(self, ids: Iterable[str]) -> None:
        missing = missing_from(ids, self._locked)
        await super().load_for_update(missing)
        found = [self._locked[id] for id in missing]
        for subscription in await self._with_segments([one for one in found if one is not None]):
            self._locked[subscription.id] = subscription

    async def find(self, id: str) -> Subscription | None:
        if id in self._locked:
            return self._locked[id]
        found = await super().find(id)
        return (await self._with_segments([found]))[0] if found is not None else None

    async def load_shared(self, *, ids: Iterable[str], item_ids: Iterable[str]) -> Sequence[Subscription]:
        """Locked against change and end, but not against others who do the same."""
        wanted, items = set(ids), rows.subscription_item.c
        by_item = select(items.subscription_id).where(is_among(items.id, set(item_ids)))
        wanted |= {row.subscription_id for row in await self.uow.connection.execute(by_item)}
        statement = (
            select(self.table)
            .where(is_among(self.table.c.id, wanted))
            .order_by(self.table.c.id)
            .with_for_update(read=True)
        )
        found = (await self.uow.connection.execute(statement)).mappings()
        return await self._with_segments([mapping.subscription_from_row(row) for row in found])

    def begin_period(self, subscription: Subscription, period: BillingPeriod) -> None:
        self._periods.append({"tenant": self.uow.tenant, **mapping.period_to_row(subscription.id, period)})

    def change_period(self, subscription: Subscription, period: BillingPeriod) -> None:
        self._period_changes.append(
            {"tenant": self.uow.tenant, **mapping.period_to_row(subscription.id, period)}
        )

    async def periods_from(self, subscription_id: str, at: datetime) -> Sequence[BillingPeriod]:
        table = rows.billing_period
        statement = (
            select(table)
            .where(table.c.subscription_id == subscription_id, table.c.end_at > at)
            .order_by(table.c.index)
        )
        found = (await self.uow.connection.execute(statement)).mappings()
        return [mapping.period_from_row(row) for row in found]

    async def periods_numbered(
        self, wanted: Mapping[str, Iterable[int]]
    ) -> Mapping[str, Mapping[int, BillingPeriod]]:
        numbers = {id: set(indexes) for id, indexes in wanted.items() if indexes}
        if not numbers:
            return {}
        table, least = rows.billing_period, min(min(indexes) for indexes in numbers.values())
        statement = select(table).where(is_among(table.c.subscription_id, numbers), table.c.index >= least)
        periods: dict[str, dict[int, BillingPeriod]] = defaultdict(dict)
        for row in (await self.uow.connection.execute(statement)).mappings():
            if row["index"] in numbers[row["subscription_id"]]:
                periods[row["subscription_id"]][row["index"]] = mapping.period_from_row(row)
        return periods

    async def find_on_version(self, plan_version_id: str, *, after_id: str | None, length: int) -> list[str]:
        column = self.table.c
        statement = (
            select(column.id)
            .where(column.plan_version_id == plan_version_id, column.ended_at.is_(None))
            .order_by(column.id)
            .limit(length)
        )
        if after_id is not None:
            statement = statement.where(column.id > after_id)
        return list((await self.uow.connection.execute(statement)).scalars())

    async def list_page(self, wanted: SubscriptionFilter, page: PageRequest) -> Slice[Subscription]:
        statement, column = select(self.table), self.table.c
        for filtered, value in (
            (column.customer_id, wanted.customer_id),
            (column.state, wanted.state),
            (column.external_id, wanted.external_id),
            (column.plan_code, wanted.plan_code),
        ):
            if value is not None:
                statement = statement.where(filtered == value)
        found = await fetch_page(
            self.uow.connection,
            statement,
            created_at=column.created_at,
            id=column.id,
            page=page,
            to_view=mapping.subscription_from_row,
        )
        return Slice(items=tuple(await self._with_segments(found.items)), next=found.next)

    async def flush(self) -> None:
        written = {**self._added, **self._saved}
        await super().flush()
        changed = [one for one in written.values() if self._known.get(one.id) != one.segments]
        tenant, connection = self.uow.tenant, self.uow.connection
        await bulk_insert(
            connection,
            rows.subscription_item,
            [
                {"tenant": tenant, **mapping.item_to_row(item, subscription_id=one.id, position=position)}
                for one in changed
                for position, item in enumerate({s.item.id: s.item for s in reversed(one.segments)}.values())
            ],
            tail="ON CONFLICT (id) DO NOTHING",
        )
        table = rows.item_segment
        known = [one.id for one in changed if self._known.get(one.id)]
        if known:
            await connection.execute(delete(table).where(is_among(table.c.subscription_id, known)))
        await bulk_insert(
            connection,
            table,
            [
                {"tenant": tenant, **mapping.segment_to_row(segment, subscription_id=one.id, ordinal=ordinal)}
                for one in changed
                for ordinal, segment in enumerate(one.segments)
            ],
        )
        self._known.update({one.id: one.segments for one in changed})
        periods, self._periods = self._periods, []
        await bulk_insert(connection, rows.billing_period, periods)
        changes, self._period_changes = self._period_changes, []
        await bulk_insert(connection, rows.billing_period, changes, tail=_CHANGE_PERIOD)

    async def _with_segments(self, subscriptions: Sequence[Subscription]) -> list[Subscription]:
        if not subscriptions:
            return []
        table = rows.item_segment
        statement = (
            select(table)
            .where(is_among(table.c.subscription_id, {subscription.id for subscription in subscriptions}))
            .order_by(table.c.subscription_id, table.c.ordinal)
        )
        segments: dict[str, list[ItemSegment]] = defaultdict(list)
        for row in (await self.uow.connection.execute(statement)).mappings():
            segments[row["subscription_id"]].append(mapping.segment_from_row(row))
        found = [replace(one, segments=tuple(segments[one.id])) for one in subscriptions]
        self._known.update({one.id: one.segments for one in found})
        return found
