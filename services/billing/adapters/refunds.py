"""Money that is to be given back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping, func, select

from libs.common.money import Money
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters.credit_note_rows import refund
from services.billing.domain.refund import Refund, RefundNotFound

_PLAIN = tuple(name for name in Refund.__slots__ if name != "amount")


class RefundRepository(Repository[Refund]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            refund,
            to_row=refund_to_row,
            from_row=refund_from_row,
            not_found=lambda id: RefundNotFound("no refund has this id", id=id),
        )

    async def of_invoice(self, invoice_id: str, currency: str) -> Money:
        """What is given back of an invoice as money, all refunds together."""
        table = refund
        mine = (table.c.tenant == self.uow.tenant) & (table.c.invoice_id == invoice_id)
        summed = select(func.coalesce(func.sum(table.c.amount_minor), 0)).where(mine)
        written = int((await self.uow.connection.execute(summed)).scalar_one())
        new = sum(one.amount.amount_minor for one in self._added.values() if one.invoice_id == invoice_id)
        return Money(written + new, currency)


def refund_to_row(given: Refund) -> dict[str, Any]:
    plain = {name: getattr(given, name) for name in _PLAIN}
    return {**plain, "amount_minor": given.amount.amount_minor, "currency": given.amount.currency}


def refund_from_row(row: RowMapping) -> Refund:
    return Refund(**{name: row[name] for name in _PLAIN}, amount=Money(row["amount_minor"], row["currency"]))
