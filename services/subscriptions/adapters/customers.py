"""Customers in their table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Select, literal, or_, select, text

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import is_among, missing_from
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters import mapping, rows
from services.subscriptions.application.ports import CustomerFilter
from services.subscriptions.domain.customer import FAMILY_LEVELS_MAX, Customer, CustomerNotFound, InTheWay
from services.subscriptions.domain.invoice_standing import InvoiceStanding

NAMED_MAX = 5
_LAST_CHARACTER = "\U0010ffff"
_HOLD_FAMILIES = text("SELECT pg_advisory_xact_lock(hashtextextended('customer_families/' || :tenant, 0))")


class CustomerRepository(Repository[Customer]):
    """Those that were read for a batch stay at hand, unlocked, and so do all above them."""

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
        missing = missing_from(ids, self._read)
        while missing:
            read = await self._all(select(self.table).where(is_among(self.table.c.id, missing)))
            self._read.update({customer.id: customer for customer in read})
            missing = {one.parent_id for one in read if one.parent_id is not None} - self._read.keys()

    async def find(self, id: str) -> Customer | None:
        if id not in self._locked and id in self._read:
            return self._read[id]
        return await super().find(id)

    async def get_shared(self, id: str) -> Customer:
        """A lock that an insert of a row that names the customer takes too: it only keeps changes and erasures out."""
        statement = select(self.table).where(self.table.c.id == id)
        found = await self._all(statement.with_for_update(read=True, key_share=True))
        self._read.update({customer.id: customer for customer in found})
        return await self.get(id)

    async def hold_families(self) -> None:
        await self.uow.connection.execute(_HOLD_FAMILIES, {"tenant": self.uow.tenant})

    async def ancestors_of(self, id: str) -> Sequence[Customer]:
        found = [await self.get(id)]
        while found[-1].parent_id is not None:
            assert len(found) <= FAMILY_LEVELS_MAX, f"{id} stands in a circle"
            found.append(await self.get(found[-1].parent_id))
        return found

    async def count_levels_below(self, id: str) -> int:
        levels, above = 0, {id}
        while above and levels < FAMILY_LEVELS_MAX:
            children = select(self.table.c.id).where(is_among(self.table.c.parent_id, above))
            above = {row.id for row in await self.uow.connection.execute(children)}
            levels += bool(above)
        return levels

    async def find_in_the_way(self, id: str) -> InTheWay:
        agreed, invoice = rows.subscription.c, rows.subscription_invoice.c
        theirs = or_(agreed.customer_id == id, agreed.payer_id == id)
        open_ones = select(agreed.id).where(theirs, agreed.ended_at.is_(None))
        children = select(self.table.c.id).where(
            self.table.c.parent_id == id, self.table.c.erased_at.is_(None)
        )
        unpaid = (
            select(invoice.invoice_id.label("id"))
            .join(rows.subscription, agreed.id == invoice.subscription_id)
            .where(theirs, invoice.standing != InvoiceStanding.PAID.value)
        )
        return InTheWay(await self._first(open_ones), await self._first(children), await self._first(unpaid))

    async def list_page(self, wanted: CustomerFilter, page: PageRequest) -> Slice[Customer]:
        column = self.table.c
        given = [
            (column.external_id, wanted.external_id),
            (column.email_key, wanted.email.casefold() if wanted.email is not None else None),
            (column.parent_id, wanted.parent_id),
        ]
        conditions = [filtered == value for filtered, value in given if value is not None]
        if wanted.name_prefix is not None:
            prefix = wanted.name_prefix.casefold()
            conditions += [column.name_key >= prefix, column.name_key < literal(prefix + _LAST_CHARACTER)]
        return await self.page_of(page, *conditions)

    async def _all(self, statement: Select[Any]) -> list[Customer]:
        found = (await self.uow.connection.execute(statement)).mappings()
        return [mapping.customer_from_row(row) for row in found]

    async def _first(self, statement: Select[Any]) -> tuple[str, ...]:
        found = await self.uow.connection.execute(statement.order_by("id").limit(NAMED_MAX))
        return tuple(row.id for row in found)
