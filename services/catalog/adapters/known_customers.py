"""Rows ↔ customers and subscriptions that the catalog has heard of."""

from __future__ import annotations

from sqlalchemy import select

from libs.common.persistence.base import bulk_insert
from libs.common.persistence.unit_of_work import UnitOfWork
from services.catalog.adapters import rows
from services.catalog.domain.known_customer import KnownSubscription

_ONCE = "ON CONFLICT DO NOTHING"


class KnownCustomerRepository:
    """What is heard is written in one statement for each kind, however many there are in a batch."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._customer_ids: set[str] = set()
        self._subscriptions: dict[str, KnownSubscription] = {}

    async def is_known(self, customer_id: str) -> bool:
        table = rows.known_customer
        wanted = select(table.c.id).where(table.c.id == customer_id)
        return (await self._uow.connection.execute(wanted)).first() is not None

    async def find_subscription(self, subscription_id: str) -> KnownSubscription | None:
        table = rows.known_subscription
        wanted = select(table).where(table.c.id == subscription_id)
        found = (await self._uow.connection.execute(wanted)).first()
        return KnownSubscription(found.id, found.customer_id, found.clock_id) if found else None

    def put(self, customer_id: str) -> None:
        self._customer_ids.add(customer_id)

    def put_subscription(self, subscription: KnownSubscription) -> None:
        self._subscriptions[subscription.id] = subscription

    async def flush(self) -> None:
        tenant, connection = self._uow.tenant, self._uow.connection
        customers = [{"tenant": tenant, "id": id} for id in sorted(self._customer_ids)]
        subscriptions = [
            {"tenant": tenant, "id": id, "customer_id": told.customer_id, "clock_id": told.clock_id}
            for id, told in sorted(self._subscriptions.items())
        ]
        self.reset()
        await bulk_insert(connection, rows.known_customer, customers, tail=_ONCE)
        await bulk_insert(connection, rows.known_subscription, subscriptions, tail=_ONCE)

    def reset(self) -> None:
        self._customer_ids.clear()
        self._subscriptions.clear()
