"""Lines that somebody put on documents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import RowMapping, delete, select

from libs.common.persistence.base import is_among, missing_from
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.adapters.plain_fields import plain_fields
from services.billing.domain.manual_line import ManualLine, ManualLineNotFound


class ManualLineRepository(Repository[ManualLine]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.manual_line,
            to_row=manual_line_to_row,
            from_row=manual_line_from_row,
            not_found=lambda id: ManualLineNotFound("no manual line has this id", id=id),
        )
        self._of_invoice: dict[str, dict[str, ManualLine]] = {}

    def reset(self) -> None:
        super().reset()
        self._of_invoice.clear()

    async def load_of_invoices(self, invoice_ids: Iterable[str]) -> None:
        missing = sorted(missing_from(invoice_ids, self._of_invoice))
        if not missing:
            return
        self._of_invoice.update({id: {} for id in missing})
        table = self.table
        wanted = select(table).where(table.c.tenant == self.uow.tenant, is_among(table.c.invoice_id, missing))
        for row in (await self.uow.connection.execute(wanted)).mappings():
            line = manual_line_from_row(row)
            self._of_invoice[line.invoice_id][line.id] = line
        for line in (*self._added.values(), *self._saved.values()):
            if line.invoice_id in missing:
                self._of_invoice[line.invoice_id][line.id] = line

    async def of_invoice(self, invoice_id: str) -> list[ManualLine]:
        await self.load_of_invoices([invoice_id])
        found = self._of_invoice[invoice_id].values()
        return sorted(found, key=lambda line: (line.created_at, line.id))

    async def remove(self, line: ManualLine) -> None:
        """Written at once: what an issued document holds is kept by its lines. It was locked."""
        self._locked[line.id] = None
        self._added.pop(line.id, None)
        self._saved.pop(line.id, None)
        self._of_invoice.get(line.invoice_id, {}).pop(line.id, None)
        await self.uow.connection.execute(delete(self.table).where(self.table.c.id == line.id))

    def add(self, aggregate: ManualLine) -> None:
        super().add(aggregate)
        if aggregate.invoice_id in self._of_invoice:
            self._of_invoice[aggregate.invoice_id][aggregate.id] = aggregate

    def save(self, aggregate: ManualLine) -> None:
        super().save(aggregate)
        if aggregate.invoice_id in self._of_invoice:
            self._of_invoice[aggregate.invoice_id][aggregate.id] = aggregate

    def move(self, lines: Iterable[ManualLine], invoice_id: str) -> None:
        """Put lines of other drafts, which are locked, on this one; those of both were loaded."""
        for line in list(lines):
            self._of_invoice.get(line.invoice_id, {}).pop(line.id, None)
            self._locked[line.id] = line  # whoever has its draft has the line
            self.save(replace(line, invoice_id=invoice_id, version=line.version + 1))


def manual_line_to_row(line: ManualLine) -> dict[str, Any]:
    return plain_fields(line)


def manual_line_from_row(row: RowMapping) -> ManualLine:
    return ManualLine(**{name: row[name] for name in ManualLine.__slots__})
