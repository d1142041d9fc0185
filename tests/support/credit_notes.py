"""Credit notes, refunds and deposits in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from libs.common.money import Money, total
from services.billing.application import events
from services.billing.domain.credit_note import CreditNote
from services.billing.domain.document_number import document_number
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.refund import Refund, RefundSource
from services.billing.domain.seller import number_head_of

if TYPE_CHECKING:
    from tests.support.billing import MemoryBilling


class MemoryCreditNotes:
    """Numbered at once: there is nobody to wait for."""

    def __init__(self, uow: MemoryBilling) -> None:
        self._uow = uow
        self.notes: list[CreditNote] = []

    def add(self, note: CreditNote) -> None:
        head = number_head_of(note.seller, "credit_note", note.issued_on)
        numbered = replace(note, number=document_number(head, len(self.notes) + 1))
        self.notes.append(numbered)
        told = events.credit_note_issued(numbered, tenant=self._uow.tenant)
        self._uow.outbox.append(told, key=note.id, traceparent=note.traceparent)

    async def any_issued(self) -> bool:
        return bool(self.notes)

    async def of_invoice(self, invoice_id: str) -> list[CreditNote]:
        return [note for note in self.notes if note.invoice_id == invoice_id]

    async def lines_billed(self, invoice_id: str) -> list[InvoiceLine]:
        return list(self._uow.invoices.lines.get(invoice_id, ()))

    async def taken_back(self, invoice_id: str) -> Mapping[str, Money]:
        return {}


class MemoryRefunds:
    def __init__(self) -> None:
        self.refunds: list[Refund] = []

    def add(self, aggregate: Refund) -> None:
        self.refunds.append(aggregate)

    async def of_invoice(self, invoice_id: str, currency: str) -> Money:
        return total((one.amount for one in self.refunds if one.invoice_id == invoice_id), currency)

    async def sources_of_invoice(
        self, invoice_id: str, currency: str, *, deposit_id: str | None = None
    ) -> list[RefundSource]:
        """No payment is known: a person sees to it."""
        return []
