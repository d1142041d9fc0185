"""Rows ↔ domain objects, for any aggregate: load many, lock in id order, write what was saved in one statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, RowMapping, Table, select

from libs.common.errors import NotFound
from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import bulk_insert, bulk_update, is_among, missing_from
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork

T = TypeVar("T")


class Repository(Generic[T]):
    """Aggregates of one table within one unit of work.

    What was loaded for update stays at hand, so that a batch loads once and each use case finds its aggregate
    without another round trip. Loading for update locks rows in id order.
    """

    def __init__(
        self,
        uow: UnitOfWork,
        table: Table,
        *,
        to_row: Callable[[T], dict[str, Any]],
        from_row: Callable[[RowMapping], T],
        not_found: Callable[[str], NotFound],
        insert_tail: str = "",
    ) -> None:
        self.uow = uow
        self.table = table
        self._to_row, self._from_row, self._not_found = to_row, from_row, not_found
        self._insert_tail = insert_tail
        self._locked: dict[str, T | None] = {}
        self._added: dict[str, T] = {}
        self._saved: dict[str, T] = {}

    def reset(self) -> None:
        self._locked.clear()

    async def find(self, id: str) -> T | None:
        """The aggregate as it stands in this transaction, or None."""
        if id in self._locked:
            return self._locked[id]
        found = (
            await self.uow.connection.execute(select(self.table).where(self.table.c.id == id))
        ).mappings()
        row = found.first()
        return self._from_row(row) if row else None

    async def get(self, id: str) -> T:
        found = await self.find(id)
        if found is None:
            raise self._not_found(id)
        return found

    async def load_for_update(self, ids: Iterable[str]) -> None:
        """Lock and load many at once, in id order. Those already held are not loaded again."""
        missing = sorted(missing_from(ids, self._locked))
        if not missing:
            return
        statement = (
            select(self.table)
            .where(is_among(self.table.c.id, missing))
            .order_by(self.table.c.id)
            .with_for_update()
        )
        self._locked.update(dict.fromkeys(missing))
        for row in (await self.uow.connection.execute(statement)).mappings():
            self._locked[row["id"]] = self._from_row(row)

    async def find_for_update(self, id: str) -> T | None:
        await self.load_for_update([id])
        return self._locked[id]

    async def get_for_update(self, id: str) -> T:
        found = await self.find_for_update(id)
        if found is None:
            raise self._not_found(id)
        return found

    async def page_of(self, page: PageRequest, *conditions: ColumnElement[bool]) -> Slice[T]:
        """Those that meet all conditions, in the order in which they were created."""
        return await fetch_page(
            self.uow.connection,
            select(self.table).where(*conditions),
            created_at=self.table.c.created_at,
            id=self.table.c.id,
            page=page,
            to_view=self._from_row,
        )

    def add(self, aggregate: T) -> None:
        """A new aggregate. Whether an existing one is an error or left alone is said by `insert_tail`."""
        id = self._id(aggregate)
        self._added[id] = aggregate
        self._locked[id] = aggregate

    def save(self, aggregate: T) -> None:
        """A changed aggregate that was loaded for update, or added, in this unit of work."""
        id = self._id(aggregate)
        assert id in self._locked, f"{id} was not locked before it was saved"
        self._locked[id] = aggregate
        if id in self._added:
            self._added[id] = aggregate
        else:
            self._saved[id] = aggregate

    def _id(self, aggregate: T) -> str:
        id: str = aggregate.id  # type: ignore[attr-defined]
        return id

    def _rows(self, aggregates: Iterable[T]) -> Sequence[dict[str, Any]]:
        tenant = self.uow.tenant
        rows = ({"tenant": tenant, **self._to_row(aggregate)} for aggregate in aggregates)
        return sorted(rows, key=lambda row: row["id"])

    async def flush(self) -> None:
        added, self._added = self._added, {}
        saved, self._saved = self._saved, {}
        # Changes first: what was a customer's default must give way before the new one is inserted.
        await bulk_update(self.uow.connection, self.table, self._rows(saved.values()))
        await bulk_insert(self.uow.connection, self.table, self._rows(added.values()), tail=self._insert_tail)
