"""The lines on which charges stand, of documents that are issued, those of this transaction included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from sqlalchemy import func, select

from libs.common.money import Money
from libs.common.persistence.base import is_among
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.adapters.credit_note_rows import credit_note_line
from services.billing.domain.charge import Charge
from services.billing.domain.invoice_line import InvoiceLine


class _Issued(Protocol):
    def lines_to_issue(self, id: str) -> tuple[InvoiceLine, ...] | None: ...


class BilledLines:
    """Nothing is kept of what was read: it is asked for where something is given back, which is seldom."""

    def __init__(self, uow: UnitOfWork, issued: _Issued) -> None:
        self._uow, self._issued = uow, issued

    async def of(self, charges: Sequence[Charge]) -> list[InvoiceLine]:
        """A charge that a voided document has freed stands on no line."""
        wanted = {charge.id: charge.invoice_id for charge in charges if charge.invoice_id is not None}
        found: list[InvoiceLine] = []
        written: set[str] = set()
        for id in sorted(set(wanted.values())):
            lines = self._issued.lines_to_issue(id)
            if lines is None:
                written.add(id)
            else:
                found += [line for line in lines if wanted.get(line.charge_id or "") == id]
        if written:
            line = rows.invoice_line.c
            stored = select(rows.invoice_line).where(
                line.tenant == self._uow.tenant,
                is_among(line.invoice_id, sorted(written)),
                is_among(line.charge_id, sorted(wanted)),
            )
            read = (await self._uow.connection.execute(stored)).mappings()
            lines_read = [mapping.line_from_row(row) for row in read]
            found += [each for each in lines_read if wanted.get(each.charge_id or "") == each.invoice_id]
        return await self._less_credited(found)

    async def _less_credited(self, lines: list[InvoiceLine]) -> list[InvoiceLine]:
        """What credit notes gave back of a line counts as taken off it: nothing of that is given back again."""
        note_line = credit_note_line.c
        ids = [line.id for line in lines]
        summed = (
            select(note_line.invoice_line_id, func.sum(note_line.paid_minor))
            .where(note_line.tenant == self._uow.tenant, is_among(note_line.invoice_line_id, ids))
            .group_by(note_line.invoice_line_id)
        )
        credited = {id: int(minor) for id, minor in await self._uow.connection.execute(summed)} if ids else {}
        return [
            replace(line, discount=line.discount + Money(credited[line.id], line.discount.currency))
            if line.id in credited
            else line
            for line in lines
        ]
