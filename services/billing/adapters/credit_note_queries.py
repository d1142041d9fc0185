"""Reads of credit notes and deposits on one transaction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, Table, select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.paging import fetch_page
from services.billing.adapters.credit_note_rows import credit_note, deposit
from services.billing.adapters.credit_notes import CreditNoteRepository, note_from_row
from services.billing.adapters.deposits import deposit_from_row
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.domain.credit_note import CreditNote, CreditNoteNotFound
from services.billing.domain.deposit import Deposit, DepositNotFound


class CreditNoteQueries:
    """`customer_id` of None is anybody; else nothing of anybody else is there."""

    def __init__(self, uow: BillingUnitOfWork) -> None:
        self._connection = uow.connection
        self._notes: CreditNoteRepository = uow.credit_notes

    async def list_credit_notes(
        self, page: PageRequest, *, customer_id: str | None, invoice_id: str | None, number: str | None
    ) -> Slice[CreditNote]:
        """Without their lines."""
        table = credit_note
        wanted = _where(table, customer_id=customer_id, invoice_id=invoice_id, number=number)
        return await fetch_page(
            self._connection,
            wanted,
            created_at=table.c.created_at,
            id=table.c.id,
            page=page,
            to_view=lambda row: note_from_row(row, ()),
        )

    async def get_credit_note(self, id: str, *, customer_id: str | None) -> CreditNote:
        """Raises: CreditNoteNotFound, also when it is not `customer_id`'s."""
        wanted = _where(credit_note, customer_id=customer_id, id=id)
        found = (await self._connection.execute(wanted)).mappings().all()
        if not found:
            raise CreditNoteNotFound("no credit note has this id")
        (note,) = await self._notes.with_lines(found)
        return note

    async def list_deposits(
        self, page: PageRequest, *, customer_id: str | None, subscription_id: str | None, state: str | None
    ) -> Slice[Deposit]:
        table = deposit
        wanted = _where(table, customer_id=customer_id, subscription_id=subscription_id, state=state)
        return await fetch_page(
            self._connection,
            wanted,
            created_at=table.c.created_at,
            id=table.c.id,
            page=page,
            to_view=deposit_from_row,
        )

    async def get_deposit(self, id: str, *, customer_id: str | None) -> Deposit:
        """Raises: DepositNotFound, also when it is not `customer_id`'s."""
        row = (
            (await self._connection.execute(_where(deposit, customer_id=customer_id, id=id)))
            .mappings()
            .first()
        )
        if row is None:
            raise DepositNotFound("no deposit has this id")
        return deposit_from_row(row)


def _where(table: Table, **wanted: str | None) -> Select[Any]:
    statement: Select[Any] = select(table)
    for name, value in wanted.items():
        if value is not None:
            statement = statement.where(table.c[name] == value)
    return statement
