"""Manual lines in memory, for tests of use cases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from services.billing.domain.manual_line import ManualLine
from tests.support.memory import MemoryRepository


class MemoryManualLines(MemoryRepository[ManualLine]):
    async def of_invoice(self, invoice_id: str) -> list[ManualLine]:
        mine = [line for line in self.by_id.values() if line.invoice_id == invoice_id]
        return sorted(mine, key=lambda line: (line.created_at, line.id))

    async def remove(self, line: ManualLine) -> None:
        del self.by_id[line.id]

    async def load_of_invoices(self, invoice_ids: Iterable[str]) -> None:
        """Everything is at hand."""

    def move(self, lines: Iterable[ManualLine], invoice_id: str) -> None:
        for line in list(lines):
            self.by_id[line.id] = replace(line, invoice_id=invoice_id)
