"""Invoices and their lines, and the numbers that they are issued under."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import update

from libs.common.persistence.base import bulk_insert
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.application import events
from services.billing.domain.invoice import NO_SELLER, Finalized, Invoice, InvoiceLine, InvoiceNotFound
from services.billing.domain.seller import invoice_number

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

    async def release_waiting_for_seller(self) -> None:
        """They are due since the business instant at which they were opened."""
        table = rows.invoice
        waiting = (
            (table.c.status == "draft") & (table.c.status_reason == NO_SELLER) & table.c.due_at.is_(None)
        )
        await self.uow.connection.execute(update(table).where(waiting).values(due_at=table.c.created_at))

    async def flush(self) -> None:
        final, self._final = self._final, {}
        numbers = await self._take_numbers([outcome.invoice for outcome in final.values()])
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

    async def _take_numbers(self, invoices: Sequence[Invoice]) -> dict[str, str]:
        """One statement takes all numbers of the batch, series in order; within a series by boundary, then id."""
        wanted: dict[tuple[str, str], list[Invoice]] = defaultdict(list)
        for invoice in sorted(invoices, key=lambda i: (i.boundary_at, i.id)):
            assert invoice.seller is not None
            wanted[invoice.seller.id, invoice.series].append(invoice)
        counters = [
            {"tenant": self.uow.tenant, "seller_id": key[0], "series": key[1], "next": len(wanted[key]) + 1}
            for key in sorted(wanted)
        ]
        taken = await bulk_insert(
            self.uow.connection,
            rows.number_series,
            counters,
            tail="ON CONFLICT (seller_id, series) DO UPDATE SET next = number_series.next + excluded.next - 1 "
            "RETURNING seller_id, series, next",
        )
        numbers: dict[str, str] = {}
        for row in taken:
            batch = wanted[row["seller_id"], row["series"]]
            for ordinal, invoice in enumerate(batch, start=row["next"] - len(batch)):
                assert invoice.seller is not None
                numbers[invoice.id] = invoice_number(invoice.seller.number_prefix, ordinal)
        return numbers
