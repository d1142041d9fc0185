"""Reads of payments and bank statements on one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Select, exists, select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import is_among
from libs.common.persistence.paging import fetch_page
from services.billing.adapters import payment_rows, statement_rows
from services.billing.adapters.bank_statements import entry_from_row, statement_from_row
from services.billing.adapters.received_payments import allocation_from_row, payment_from_row
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.domain.bank_statement import (
    BankStatement,
    BankStatementEntry,
    BankStatementEntryNotFound,
    BankStatementNotFound,
)
from services.billing.domain.payment_received import Payment, PaymentAllocation, PaymentNotFound
from services.billing.domain.statement_matching import Proposal, propose, quoted_in


@dataclass(frozen=True, slots=True)
class PaymentFilter:
    """`customer_id` is whose payments alone may be seen. `has_unapplied`: something of it waits, or nothing does."""

    customer_id: str | None = None
    invoice_id: str | None = None
    state: str | None = None
    way: str | None = None
    received_from: date | None = None
    received_to: date | None = None
    has_unapplied: bool | None = None


@dataclass(frozen=True, slots=True)
class PaymentView:
    payment: Payment
    allocations: tuple[PaymentAllocation, ...]


@dataclass(frozen=True, slots=True)
class EntryView:
    entry: BankStatementEntry
    proposals: tuple[Proposal, ...]


@dataclass(frozen=True, slots=True)
class StatementView:
    """`states` counts its entries, as far as it was the first to tell of them."""

    statement: BankStatement
    states: dict[str, int]


class PaymentQueries:
    def __init__(self, uow: BillingUnitOfWork) -> None:
        self._uow = uow
        self._connection = uow.connection

    async def list_payments(self, wanted: PaymentFilter, page: PageRequest) -> Slice[PaymentView]:
        table = payment_rows.payment
        found = await fetch_page(
            self._connection,
            _filtered(wanted),
            created_at=table.c.received_at,
            id=table.c.id,
            page=page,
            to_view=payment_from_row,
        )
        allocations = await self._allocations_of(one.id for one in found.items)
        return found.map(lambda one: PaymentView(one, tuple(allocations.get(one.id, ()))))

    async def get_payment(self, id: str, *, customer_id: str | None) -> PaymentView:
        """Raises: PaymentNotFound, also when it is not `customer_id`'s."""
        table = payment_rows.payment
        wanted = select(table).where(table.c.id == id)
        if customer_id is not None:
            wanted = wanted.where(table.c.customer_id == customer_id)
        row = (await self._connection.execute(wanted)).mappings().first()
        if row is None:
            raise PaymentNotFound("no payment has this id", id=id)
        allocations = await self._allocations_of([id])
        return PaymentView(payment_from_row(row), tuple(allocations.get(id, ())))

    async def list_statements(self, page: PageRequest) -> Slice[StatementView]:
        table = statement_rows.bank_statement
        found = await fetch_page(
            self._connection,
            select(table),
            created_at=table.c.created_at,
            id=table.c.id,
            page=page,
            to_view=statement_from_row,
        )
        states = await self._uow.bank_statements.states_of(one.id for one in found.items)
        return found.map(lambda one: StatementView(one, states.get(one.id, {})))

    async def get_statement(self, id: str) -> StatementView:
        """Raises: BankStatementNotFound."""
        table = statement_rows.bank_statement
        row = (await self._connection.execute(select(table).where(table.c.id == id))).mappings().first()
        if row is None:
            raise BankStatementNotFound("no bank statement has this id", id=id)
        states = await self._uow.bank_statements.states_of([id])
        return StatementView(statement_from_row(row), states.get(id, {}))

    async def list_entries(
        self,
        page: PageRequest,
        *,
        state: str | None,
        statement_id: str | None,
        direction: str | None,
    ) -> Slice[EntryView]:
        """Those that wait for a person come with what they may pay."""
        table = statement_rows.bank_statement_entry
        wanted: Select[Any] = select(table)
        for column, value in (
            (table.c.state, state),
            (table.c.statement_id, statement_id),
            (table.c.direction, direction),
        ):
            if value is not None:
                wanted = wanted.where(column == value)
        found = await fetch_page(
            self._connection,
            wanted,
            created_at=table.c.created_at,
            id=table.c.id,
            page=page,
            to_view=entry_from_row,
        )
        proposals = await self._proposals_for(found.items)
        return found.map(lambda one: EntryView(one, proposals.get(one.id, ())))

    async def get_entry(self, id: str) -> EntryView:
        """Raises: BankStatementEntryNotFound."""
        table = statement_rows.bank_statement_entry
        row = (await self._connection.execute(select(table).where(table.c.id == id))).mappings().first()
        if row is None:
            raise BankStatementEntryNotFound("no entry has this id", id=id)
        entry = entry_from_row(row)
        return EntryView(entry, (await self._proposals_for([entry])).get(id, ()))

    async def _proposals_for(self, entries: Sequence[BankStatementEntry]) -> dict[str, tuple[Proposal, ...]]:
        waiting = [
            (entry, quoted_in(entry)) for entry in entries if entry.state == "unmatched" and entry.is_incoming
        ]
        if not waiting:
            return {}
        known = await self._uow.bank_statement_entries.known_for(waiting, names=True)
        return {entry.id: tuple(propose(entry, quoted, known)) for entry, quoted in waiting}

    async def _allocations_of(self, ids: Iterable[str]) -> dict[str, list[PaymentAllocation]]:
        table = payment_rows.payment_allocation
        wanted = (
            select(table)
            .where(table.c.tenant == self._uow.tenant, is_among(table.c.payment_id, ids))
            .order_by(table.c.payment_id, table.c.ordinal)
        )
        found: dict[str, list[PaymentAllocation]] = {}
        for row in (await self._connection.execute(wanted)).mappings():
            found.setdefault(row["payment_id"], []).append(allocation_from_row(row))
        return found


def _filtered(wanted: PaymentFilter) -> Select[Any]:
    table, part = payment_rows.payment, payment_rows.payment_allocation
    statement: Select[Any] = select(table)
    for column, value in (
        (table.c.customer_id, wanted.customer_id),
        (table.c.state, wanted.state),
        (table.c.way, wanted.way),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if wanted.invoice_id is not None:
        statement = statement.where(
            exists().where(
                part.c.tenant == table.c.tenant,
                part.c.payment_id == table.c.id,
                part.c.invoice_id == wanted.invoice_id,
            )
        )
    if wanted.received_from is not None:
        statement = statement.where(table.c.received_on >= wanted.received_from)
    if wanted.received_to is not None:
        statement = statement.where(table.c.received_on < wanted.received_to)
    if wanted.has_unapplied is not None:
        waits = table.c.unapplied_minor > 0
        statement = statement.where(waits if wanted.has_unapplied else ~waits)
    return statement
