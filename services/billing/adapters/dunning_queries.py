"""Reads of dunnings, each with the invoice that it is about."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Select, exists, select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import is_among
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.adapters.dunning_rows import dunning as table
from services.billing.adapters.dunnings import dunning_from_row
from services.billing.application.queries import DunningFilter, DunningView
from services.billing.domain.dunning import Dunning, DunningNotFound
from services.billing.domain.invoice import Invoice, InvoiceNotFound


class DunningQueries:
    def __init__(self, uow: UnitOfWork) -> None:
        self._connection = uow.connection

    async def list_dunnings(self, wanted: DunningFilter, page: PageRequest) -> Slice[DunningView]:
        """In the order in which they began. One whose invoice owes nothing any more is settled, whatever it says."""
        statement = select(table)
        if wanted.customer_id is not None:
            statement = statement.where(table.c.customer_id == wanted.customer_id)
        if wanted.state is not None:
            statement = _in_state(statement, wanted.state)
        if wanted.due_until is not None:
            statement = _in_state(statement, None).where(table.c.due_at <= wanted.due_until)
        found = await fetch_page(
            self._connection,
            statement,
            created_at=table.c.created_at,
            id=table.c.id,
            page=page,
            to_view=dunning_from_row,
        )
        invoices = await self._invoices(one.invoice_id for one in found.items)
        return found.map(lambda one: DunningView(one, invoices[one.invoice_id]))

    async def get_of_invoice(self, invoice_id: str) -> DunningView:
        """Raises: InvoiceNotFound, DunningNotFound."""
        invoice = (await self._invoices([invoice_id])).get(invoice_id)
        if invoice is None:
            raise InvoiceNotFound("no invoice has this id")
        statement = select(table).where(table.c.invoice_id == invoice_id)
        row = (await self._connection.execute(statement)).mappings().first()
        if row is None:
            raise DunningNotFound("nothing was ever overdue of the invoice")
        return DunningView(dunning_from_row(row), invoice)

    async def _invoices(self, ids: Iterable[str]) -> dict[str, Invoice]:
        statement = select(rows.invoice).where(is_among(rows.invoice.c.id, set(ids)))
        found = (await self._connection.execute(statement)).mappings()
        return {row["id"]: mapping.invoice_from_row(row) for row in found}


def _in_state(statement: Select[tuple[Dunning]], state: str | None) -> Select[tuple[Dunning]]:
    invoice = rows.invoice.c
    is_owed = exists().where(invoice.id == table.c.invoice_id, invoice.status == "finalized")
    if state == "settled":
        return statement.where(~is_owed)
    return statement.where(is_owed) if state is None else statement.where(is_owed, table.c.state == state)
