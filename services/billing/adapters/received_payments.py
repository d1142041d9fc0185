"""Money that came, and what it was put on."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping, select

from libs.common.money import Money
from libs.common.persistence.base import bulk_insert
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import payment_rows as rows
from services.billing.adapters.rows import invoice
from services.billing.domain.payment_received import Payment, PaymentAllocation, PaymentNotFound

_AMOUNTS = ("amount", "reversed", "allocated", "to_balance")
_PLAIN = tuple(name for name in Payment.__slots__ if name not in _AMOUNTS)
_ALLOCATION_PLAIN = tuple(name for name in PaymentAllocation.__slots__ if name != "amount")


class PaymentRepository(Repository[Payment]):
    """Payments are locked before the invoices that they pay. Allocations are only ever added."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.payment,
            to_row=payment_to_row,
            from_row=payment_from_row,
            not_found=lambda id: PaymentNotFound("no payment has this id", id=id),
        )
        self._allocated: list[PaymentAllocation] = []

    def allocate(self, allocation: PaymentAllocation) -> None:
        self._allocated.append(allocation)

    async def owed_by(self, customer_id: str, currency: str) -> list[str]:
        table = invoice
        owed = (
            select(table.c.id)
            .where(
                table.c.tenant == self.uow.tenant,
                table.c.customer_id == customer_id,
                table.c.currency == currency,
                table.c.status == "finalized",
            )
            .order_by(table.c.due_on, table.c.issued_at, table.c.id)
        )
        return list((await self.uow.connection.execute(owed)).scalars())

    async def allocations_of(self, payment_id: str) -> list[PaymentAllocation]:
        """In the order in which they were made."""
        table = rows.payment_allocation
        mine = (table.c.tenant == self.uow.tenant) & (table.c.payment_id == payment_id)
        stored = select(table).where(mine).order_by(table.c.ordinal)
        written = [allocation_from_row(row) for row in (await self.uow.connection.execute(stored)).mappings()]
        return written + [one for one in self._allocated if one.payment_id == payment_id]

    async def flush(self) -> None:
        allocated, self._allocated = self._allocated, []
        await super().flush()
        await bulk_insert(
            self.uow.connection,
            rows.payment_allocation,
            [{"tenant": self.uow.tenant, **allocation_to_row(one)} for one in allocated],
        )


def payment_to_row(given: Payment) -> dict[str, Any]:
    stored: dict[str, Any] = {name: getattr(given, name) for name in _PLAIN}
    for name in _AMOUNTS:
        stored[f"{name}_minor"] = getattr(given, name).amount_minor
    stored["unapplied_minor"] = given.unapplied.amount_minor
    stored["currency"] = given.amount.currency
    return stored


def payment_from_row(row: RowMapping) -> Payment:
    amounts: dict[str, Any] = {name: Money(row[f"{name}_minor"], row["currency"]) for name in _AMOUNTS}
    return Payment(**{name: row[name] for name in _PLAIN}, **amounts)


def allocation_to_row(given: PaymentAllocation) -> dict[str, Any]:
    stored: dict[str, Any] = {name: getattr(given, name) for name in _ALLOCATION_PLAIN}
    return {**stored, "amount_minor": given.amount.amount_minor, "currency": given.amount.currency}


def allocation_from_row(row: RowMapping) -> PaymentAllocation:
    amount = Money(row["amount_minor"], row["currency"])
    return PaymentAllocation(**{name: row[name] for name in _ALLOCATION_PLAIN}, amount=amount)
