"""Customers as last told: who owes, copied onto each invoice."""

from __future__ import annotations

from sqlalchemy import select

from libs.common.persistence.base import bulk_insert
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.domain.agreement import CustomerDetails


class CustomerRepository:
    """Customers as last told; the highest version wins, whatever the order."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._newest: dict[str, CustomerDetails] = {}

    def reset(self) -> None:
        self._newest.clear()

    async def find_for_update(self, id: str) -> CustomerDetails | None:
        table = rows.customer
        found = await self._uow.connection.execute(select(table).where(table.c.id == id).with_for_update())
        row = found.mappings().first()
        if row is None:
            return None
        return CustomerDetails(**{name: row[name] for name in CustomerDetails.__slots__})

    def keep_newest(self, customer: CustomerDetails) -> None:
        known = self._newest.get(customer.id)
        if known is None or known.version < customer.version:
            self._newest[customer.id] = customer

    async def flush(self) -> None:
        newest, self._newest = self._newest, {}
        columns = CustomerDetails.__slots__
        changes = ", ".join(f"{name} = excluded.{name}" for name in columns if name != "id")
        await bulk_insert(
            self._uow.connection,
            rows.customer,
            [
                {"tenant": self._uow.tenant, **{name: getattr(newest[id], name) for name in columns}}
                for id in sorted(newest)
            ],
            tail=f"ON CONFLICT (id) DO UPDATE SET {changes} WHERE customer.version < excluded.version",
        )
