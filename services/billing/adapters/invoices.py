"""Invoices and their lines, and the numbers that they are issued under."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from sqlalchemy import update

from libs.common.periods import local_date
from libs.common.persistence.base import bulk_insert
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.adapters.numbers import NumberWanted, take_numbers
from services.billing.application import events
from services.billing.domain.invoice import NO_SELLER, Finalized, Invoice, InvoiceNotFound, numbered_kind
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.seller import number_head_of

SLICE = 100


class InvoiceRepository(Repository[Invoice]):
    """Invoices and their lines. Numbers are taken when everything else has been written."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.invoice,
            to_row=mapping.invoice_to_row,
            from_row=mapping.invoice_from_row,
            not_found=lambda id: InvoiceNotFound("no invoice has this id", id=id),
        )
        self._final: dict[str, Finalized] = {}

    def finalize(self, outcome: Finalized) -> None:
        """The number and the event come when the unit of work is flushed."""
        self.save(outcome.invoice)
        self._final[outcome.invoice.id] = outcome

    def unwritten(self) -> list[Invoice]:
        """Those that were made or changed, and are not written yet."""
        return [*self._added.values(), *self._saved.values()]

    def lines_to_issue(self, id: str) -> tuple[InvoiceLine, ...] | None:
        """Of a document that is issued in this unit of work, and not written yet."""
        outcome = self._final.get(id)
        return None if outcome is None else outcome.lines

    async def release_waiting_for_seller(self) -> None:
        """They are due since the business instant at which they were opened."""
        table = rows.invoice
        waiting = (
            (table.c.status == "draft") & (table.c.status_reason == NO_SELLER) & table.c.due_at.is_(None)
        )
        await self.uow.connection.execute(update(table).where(waiting).values(due_at=table.c.created_at))

    async def flush(self) -> None:
        final, self._final = self._final, {}
        numbers = await take_numbers((_wanted(outcome.invoice) for outcome in final.values()), uow=self.uow)
        lines: list[InvoiceLine] = []
        for index, (id, outcome) in enumerate(final.items(), start=1):
            if index % SLICE == 0:
                await asyncio.sleep(0)  # others may go on while a long batch is put into words
            current = self._locked[id]
            assert current is not None
            numbered = replace(current, number=numbers[id])
            self.save(numbered)
            lines.extend(outcome.lines)
            for event in events.invoice_issued(numbered, tenant=self.uow.tenant):
                self.uow.outbox.append(event, key=id, traceparent=numbered.traceparent)
        await super().flush()
        await bulk_insert(
            self.uow.connection,
            rows.invoice_line,
            [{"tenant": self.uow.tenant, **mapping.line_to_row(line)} for line in lines],
        )


def _wanted(invoice: Invoice) -> NumberWanted:
    """Of those with one head, numbers follow the boundary, then the id. The year is that of the date of issue."""
    seller, issued_at = invoice.seller, invoice.issued_at
    assert seller is not None
    assert issued_at is not None
    head = number_head_of(seller, numbered_kind(invoice.document_kind), local_date(issued_at, invoice.zone))
    return NumberWanted(invoice.id, seller.id, invoice.series, head, (invoice.boundary_at, invoice.id))
