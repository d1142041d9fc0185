"""Credit notes: issued once, with a number of their own series, beside what of the invoice is credited already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, select

from libs.common.money import Money
from libs.common.persistence.base import bulk_insert, is_among
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.adapters.credit_note_rows import credit_note, credit_note_line
from services.billing.adapters.numbers import NumberWanted, take_numbers
from services.billing.adapters.party_mapping import (
    customer_from_json,
    customer_to_json,
    seller_from_json,
    seller_to_json,
)
from services.billing.application import events
from services.billing.domain.credit_note import CreditNote, CreditNoteLine
from services.billing.domain.credited_amounts import CreditedTax
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.seller import number_head_of

_AMOUNTS = ("net", "tax", "total", "to_invoice", "to_balance", "to_refund")
_LINE_AMOUNTS = ("amount", "paid", "net")
_LINE_PLAIN = tuple(name for name in CreditNoteLine.__slots__ if name not in _LINE_AMOUNTS)


class CreditNoteRepository:
    """Notes are only ever added. Their numbers are taken when everything else has been written."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._added: list[CreditNote] = []
        self._is_any: bool | None = None

    def reset(self) -> None:
        self._is_any = None

    async def any_issued(self) -> bool:
        """Whether the tenant has any at all: most have none, and need not be asked about lines."""
        if self._is_any is None:
            table = credit_note
            first = select(table.c.id).where(table.c.tenant == self._uow.tenant).limit(1)
            self._is_any = (await self._uow.connection.execute(first)).first() is not None
        return self._is_any or bool(self._added)

    def add(self, note: CreditNote) -> None:
        """The number, and the event that tells it, come when the unit of work is flushed."""
        self._added.append(note)

    async def of_invoice(self, invoice_id: str) -> list[CreditNote]:
        """In the order in which they were issued."""
        table = credit_note
        mine = (table.c.tenant == self._uow.tenant) & (table.c.invoice_id == invoice_id)
        stored = select(table).where(mine).order_by(table.c.created_at, table.c.id)
        found = (await self._uow.connection.execute(stored)).mappings().all()
        written = await self.with_lines(found)
        return [*written, *(note for note in self._added if note.invoice_id == invoice_id)]

    async def with_lines(self, notes: Iterable[RowMapping]) -> list[CreditNote]:
        """These notes with their lines, read in one statement."""
        given = list(notes)
        lines: dict[str, list[CreditNoteLine]] = {row["id"]: [] for row in given}
        if given:
            table = credit_note_line
            wanted = select(table).where(is_among(table.c.credit_note_id, lines)).order_by(table.c.ordinal)
            for row in (await self._uow.connection.execute(wanted)).mappings():
                lines[row["credit_note_id"]].append(line_from_row(row))
        return [note_from_row(row, lines[row["id"]]) for row in given]

    async def lines_billed(self, invoice_id: str) -> list[InvoiceLine]:
        """The lines of an issued invoice, in their order."""
        table = rows.invoice_line
        stored = select(table).where(table.c.invoice_id == invoice_id).order_by(table.c.ordinal)
        found = (await self._uow.connection.execute(stored)).mappings()
        return [mapping.line_from_row(row) for row in found]

    async def taken_back(self, invoice_id: str) -> dict[str, Money]:
        """By line of the invoice: what lines of later documents gave back of it, without tax, as a positive amount."""
        line, own, invoice = rows.invoice_line, rows.invoice_line.alias("own"), rows.invoice
        wanted = (
            select(line.c.corrects_line_id, line.c.net_minor, line.c.currency)
            .join(own, own.c.id == line.c.corrects_line_id)
            .join(invoice, invoice.c.id == line.c.invoice_id)
            .where(own.c.invoice_id == invoice_id, line.c.net_minor < 0, invoice.c.status != "void")
        )
        found: dict[str, Money] = {}
        for id, minor, currency in await self._uow.connection.execute(wanted):
            found[id] = found.get(id, Money.zero(currency)) - Money(minor, currency)
        return found

    async def flush(self) -> None:
        added, self._added = self._added, []
        if not added:
            return
        numbers = await take_numbers((_wanted(note) for note in added), uow=self._uow)
        tenant = self._uow.tenant
        numbered = [replace(note, number=numbers[note.id]) for note in added]
        await bulk_insert(
            self._uow.connection, credit_note, [{"tenant": tenant, **note_to_row(note)} for note in numbered]
        )
        await bulk_insert(
            self._uow.connection,
            credit_note_line,
            [{"tenant": tenant, **line_to_row(line)} for note in numbered for line in note.lines],
        )
        for note in numbered:
            told = events.credit_note_issued(note, tenant=tenant)
            self._uow.outbox.append(told, key=note.id, traceparent=note.traceparent)


def _wanted(note: CreditNote) -> NumberWanted:
    head = number_head_of(note.seller, "credit_note", note.issued_on)
    return NumberWanted(note.id, note.seller.id, note.series, head, (note.issued_at, note.id))


def note_to_row(note: CreditNote) -> dict[str, Any]:
    return {
        "id": note.id,
        "invoice_id": note.invoice_id,
        "invoice_number": note.invoice_number,
        "customer_id": note.customer_id,
        "customer": customer_to_json(note.customer),
        "seller_id": note.seller.id,
        "seller": seller_to_json(note.seller),
        "series": note.series,
        "number": note.number,
        "currency": note.currency,
        "zone": note.zone,
        "reason": note.reason,
        **{f"{name}_minor": getattr(note, name).amount_minor for name in _AMOUNTS},
        "taxes": [_tax_to_json(tax) for tax in note.taxes],
        "issued_at": note.issued_at,
        "issued_on": note.issued_on,
        "created_at": note.created_at,
        "clock_id": note.clock_id,
    }


def note_from_row(row: RowMapping, lines: Iterable[CreditNoteLine]) -> CreditNote:
    currency = row["currency"]
    seller = seller_from_json(row["seller"])
    assert seller is not None, "a credit note is a seller's"
    amounts: dict[str, Any] = {name: Money(row[f"{name}_minor"], currency) for name in _AMOUNTS}
    return CreditNote(
        id=row["id"],
        invoice_id=row["invoice_id"],
        invoice_number=row["invoice_number"],
        customer_id=row["customer_id"],
        customer=customer_from_json(row["customer"]),
        seller=seller,
        series=row["series"],
        currency=currency,
        zone=row["zone"],
        reason=row["reason"],
        **amounts,
        taxes=tuple(_tax_from_json(stored, currency) for stored in row["taxes"]),
        lines=tuple(lines),
        issued_at=row["issued_at"],
        created_at=row["created_at"],
        clock_id=row["clock_id"],
        number=row["number"],
    )


def line_to_row(line: CreditNoteLine) -> dict[str, Any]:
    amounts = {f"{name}_minor": getattr(line, name).amount_minor for name in _LINE_AMOUNTS}
    return {**{name: getattr(line, name) for name in _LINE_PLAIN}, **amounts, "currency": line.net.currency}


def line_from_row(row: RowMapping) -> CreditNoteLine:
    stored: dict[str, Any] = {name: row[name] for name in _LINE_PLAIN}
    for name in _LINE_AMOUNTS:
        stored[name] = Money(row[f"{name}_minor"], row["currency"])
    return CreditNoteLine(**stored)


def _tax_to_json(tax: CreditedTax) -> dict[str, Any]:
    return {
        "basis": tax.basis,
        "category": tax.category,
        "percent": format(tax.percent, "f"),
        "net_minor": tax.net.amount_minor,
        "tax_minor": tax.tax.amount_minor,
        "tax_on_top_minor": tax.tax_on_top.amount_minor,
    }


def _tax_from_json(stored: Mapping[str, Any], currency: str) -> CreditedTax:
    return CreditedTax(
        basis=stored["basis"],
        category=stored["category"],
        percent=Decimal(stored["percent"]),
        net=Money(stored["net_minor"], currency),
        tax=Money(stored["tax_minor"], currency),
        tax_on_top=Money(stored["tax_on_top_minor"], currency),
    )
