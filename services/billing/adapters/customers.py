"""Customers as last told: who owes, copied onto each invoice."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select

from libs.common.persistence.base import bulk_insert
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.adapters.party_mapping import customer_from_row, customer_to_row
from services.billing.domain.agreement import CustomerDetails


class CustomerRepository:
    """Customers as last told; the highest version wins, whatever the order."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._newest: dict[str, CustomerDetails] = {}

    def reset(self) -> None:
        self._newest.clear()

    async def find(self, id: str) -> CustomerDetails | None:
        return await self._first(select(rows.customer).where(rows.customer.c.id == id))

    async def find_for_update(self, id: str) -> CustomerDetails | None:
        return await self._first(select(rows.customer).where(rows.customer.c.id == id).with_for_update())

    async def _first(self, statement: Select[Any]) -> CustomerDetails | None:
        row = (await self._uow.connection.execute(statement)).mappings().first()
        return None if row is None else customer_from_row(row)

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
            [{"tenant": self._uow.tenant, **customer_to_row(newest[id])} for id in sorted(newest)],
            tail=f"ON CONFLICT (id) DO UPDATE SET {changes} WHERE customer.version < excluded.version",
        )
