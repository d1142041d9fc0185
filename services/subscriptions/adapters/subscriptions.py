"""Subscriptions with their items, and the periods that they went through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import bulk_insert, is_among
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters import mapping, rows
from services.subscriptions.application.ports import SubscriptionFilter
from services.subscriptions.domain.billing_period import BillingPeriod
from services.subscriptions.domain.subscription import Subscription, SubscriptionNotFound
from services.subscriptions.domain.subscription_item import SubscriptionItem


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

    async def load_for_update(self, ids: Iterable[str]) -> None:
        missing = set(ids) - self._locked.keys()
        await super().load_for_update(missing)
        found = [self._locked[id] for id in missing]
        for subscription in await self._with_items([one for one in found if one is not None]):
            self._locked[subscription.id] = subscription

    async def find(self, id: str) -> Subscription | None:
        if id in self._locked:
            return self._locked[id]
        found = await super().find(id)
        return (await self._with_items([found]))[0] if found is not None else None

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
        return await self._with_items([mapping.subscription_from_row(row) for row in found])

    def begin_period(self, subscription: Subscription, period: BillingPeriod) -> None:
        self._periods.append({"tenant": self.uow.tenant, **mapping.period_to_row(subscription.id, period)})

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
        return Slice(items=tuple(await self._with_items(found.items)), next=found.next)

    async def flush(self) -> None:
        added = list(self._added.values())
        await super().flush()
        items = [
            {
                "tenant": self.uow.tenant,
                **mapping.item_to_row(item, subscription_id=subscription.id, position=position),
            }
            for subscription in added
            for position, item in enumerate(subscription.items)
        ]
        await bulk_insert(self.uow.connection, rows.subscription_item, items)
        periods, self._periods = self._periods, []
        await bulk_insert(self.uow.connection, rows.billing_period, periods)

    async def _with_items(self, subscriptions: Sequence[Subscription]) -> list[Subscription]:
        if not subscriptions:
            return []
        table = rows.subscription_item
        statement = (
            select(table)
            .where(is_among(table.c.subscription_id, {subscription.id for subscription in subscriptions}))
            .order_by(table.c.subscription_id, table.c.position)
        )
        items: dict[str, list[SubscriptionItem]] = defaultdict(list)
        for row in (await self.uow.connection.execute(statement)).mappings():
            items[row["subscription_id"]].append(mapping.item_from_row(row))
        return [replace(one, items=tuple(items[one.id])) for one in subscriptions]
