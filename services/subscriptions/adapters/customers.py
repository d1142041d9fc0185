"""Customers in their table."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import is_among
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters import mapping, rows
from services.subscriptions.application.ports import CustomerFilter
from services.subscriptions.domain.customer import Customer, CustomerNotFound


class CustomerRepository(Repository[Customer]):
    """Those that were read for a batch stay at hand, unlocked."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.customer,
            to_row=mapping.customer_to_row,
            from_row=mapping.customer_from_row,
            not_found=lambda id: CustomerNotFound("there is no customer with this id"),
        )
        self._read: dict[str, Customer] = {}

    def reset(self) -> None:
        super().reset()
        self._read.clear()

    async def load(self, ids: Iterable[str]) -> None:
        missing = set(ids) - self._read.keys()
        if missing:
            found = await self.uow.connection.execute(
                select(self.table).where(is_among(self.table.c.id, missing))
            )
            self._read.update({row["id"]: mapping.customer_from_row(row) for row in found.mappings()})

    async def find(self, id: str) -> Customer | None:
        if id not in self._locked and id in self._read:
            return self._read[id]
        return await super().find(id)

    async def list_page(self, wanted: CustomerFilter, page: PageRequest) -> Slice[Customer]:
        statement = select(self.table)
        if wanted.external_id is not None:
            statement = statement.where(self.table.c.external_id == wanted.external_id)
        return await fetch_page(
            self.uow.connection,
            statement,
            created_at=self.table.c.created_at,
            id=self.table.c.id,
            page=page,
            to_view=mapping.customer_from_row,
        )
