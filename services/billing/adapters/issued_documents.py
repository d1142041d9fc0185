"""Issued documents, each read in three statements: itself, its lines with their charges, and what it follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import RowMapping, and_, or_, select, text

from libs.common.periods import local_date
from libs.common.persistence.base import is_among
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.adapters.contact_json import delivery_from_json, seller_details_from_json
from services.billing.adapters.credit_note_rows import credit_note, credit_note_line
from services.billing.adapters.credit_notes import line_from_row, note_from_row
from services.billing.application.issued_documents import DocumentNotIssued
from services.billing.domain.credit_note import CreditNoteNotFound
from services.billing.domain.invoice import Invoice, InvoiceNotFound
from services.billing.domain.issued_document import (
    DocumentFacts,
    IssuedDocument,
    LineFacts,
    PrecedingDocument,
    document_of_credit_note,
    document_of_invoice,
)

NOT_ISSUED = ("draft", "skipped", "gathered")
CREDIT_NOTE_PREFIX = "crn_"
STANDING = ("finalized", "paid", "uncollectible")
PlanAndPrice = tuple[str, str]
GIVEN_BACK_MAX = 100  # lines; documents that give back more than that are looked up by these

# Of each plan and price the version that sold it; of a price that a customer has to himself, the plan's first.
_PLAN_NAMES = text("""
    SELECT DISTINCT ON (wanted.code, wanted.price_id) wanted.code, wanted.price_id, version.plan->>'name' AS name
    FROM unnest(CAST(:codes AS text[]), CAST(:price_ids AS text[])) AS wanted(code, price_id)
    JOIN plan_version version ON version.tenant = :tenant AND version.code = wanted.code
    ORDER BY wanted.code, wanted.price_id,
             version.plan->'prices' @> jsonb_build_array(jsonb_build_object('id', wanted.price_id)) DESC, version.number
""")

_CHARGE = (
    rows.charge.c.plan_code.label("charge_plan_code"),
    rows.charge.c.price_id.label("charge_price_id"),
    rows.charge.c.kind.label("charge_kind"),
    rows.charge.c.price["unit"].as_string().label("charge_unit"),
    rows.charge.c.price["meter"].as_string().label("charge_meter"),
    rows.charge.c.event_count.label("charge_event_count"),
    rows.charge.c.estimated_quantity.label("charge_estimated_quantity"),
)


class IssuedDocumentReader:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def get(self, id: str, *, customer_id: str | None = None) -> IssuedDocument:
        """Raises: InvoiceNotFound, CreditNoteNotFound, also when it is not `customer_id`'s; DocumentNotIssued."""
        if id.startswith(CREDIT_NOTE_PREFIX):
            return await self._credit_note(id, customer_id)
        return await self._invoice(id, customer_id)

    async def _invoice(self, id: str, customer_id: str | None) -> IssuedDocument:
        invoice = rows.invoice
        found = (
            (
                await self._uow.connection.execute(
                    _with_contacts(select(invoice), invoice.c.seller_id, invoice.c.customer_id).where(
                        invoice.c.tenant == self._uow.tenant, invoice.c.id == id
                    )
                )
            )
            .mappings()
            .first()
        )
        if found is None or (customer_id is not None and found["customer_id"] != customer_id):
            raise InvoiceNotFound("no invoice has this id")
        if found["status"] in NOT_ISSUED:
            raise DocumentNotIssued(
                f"the invoice is {found['status']}",
                remedy="Finalize the draft first."
                if found["status"] == "draft"
                else "Ask for the document on which its charges stand."
                if found["status"] == "gathered"
                else "Nothing was owed on it, so that no document was issued.",
            )
        told = mapping.invoice_from_row(found)
        line = rows.invoice_line
        stored = (
            select(line, *_CHARGE)
            .outerjoin(rows.charge, _same(rows.charge, line.c.charge_id))
            .where(line.c.tenant == self._uow.tenant, line.c.invoice_id == id)
            .order_by(line.c.ordinal)
        )
        read = (await self._uow.connection.execute(stored)).mappings().all()
        corrects = {row["id"]: row["corrects_line_id"] for row in read if row["corrects_line_id"] is not None}
        by_line = await self._documents_of_lines(corrects.values())
        plans = await self._plan_names(read)
        followed = [] if told.replaces_id is None else await self._documents([told.replaces_id])
        if told.total.amount_minor < 0 and not by_line:
            followed += await self._gives_back(told, read)
        facts = DocumentFacts(
            lines={
                row["id"]: _facts(
                    row, by_line.get(corrects[row["id"]]) if row["id"] in corrects else None, plans
                )
                for row in read
            },
            preceding=tuple(followed),
            **_contacts(found),
        )
        return document_of_invoice(told, [mapping.line_from_row(row) for row in read], facts)

    async def _credit_note(self, id: str, customer_id: str | None) -> IssuedDocument:
        note, line, billed = credit_note, credit_note_line, rows.invoice_line
        tenant = self._uow.tenant
        wanted = _with_contacts(select(note), note.c.seller_id, note.c.customer_id)
        connection = self._uow.connection
        found = (
            (await connection.execute(wanted.where(note.c.tenant == tenant, note.c.id == id)))
            .mappings()
            .first()
        )
        if found is None or (customer_id is not None and found["customer_id"] != customer_id):
            raise CreditNoteNotFound("no credit note has this id")
        stored = (
            select(line, *_CHARGE)
            .outerjoin(billed, _same(billed, line.c.invoice_line_id))
            .outerjoin(rows.charge, _same(rows.charge, billed.c.charge_id))
            .where(line.c.tenant == tenant, line.c.credit_note_id == id)
            .order_by(line.c.ordinal)
        )
        read = (await connection.execute(stored)).mappings().all()
        credited = select(rows.invoice).where(
            rows.invoice.c.tenant == tenant, rows.invoice.c.id == found["invoice_id"]
        )
        invoice = (await connection.execute(credited)).mappings().one()
        plans = await self._plan_names(read)
        facts = DocumentFacts(
            lines={row["invoice_line_id"]: _facts(row, None, plans) for row in read}, **_contacts(found)
        )
        told = note_from_row(found, [line_from_row(row) for row in read])
        return document_of_credit_note(told, mapping.invoice_from_row(invoice), facts)

    async def _plan_names(self, lines: Iterable[RowMapping]) -> dict[PlanAndPrice, str]:
        wanted = sorted({_plan_and_price(row) for row in lines if row["charge_plan_code"]})
        if not wanted:
            return {}
        asked = {"codes": [code for code, _ in wanted], "price_ids": [price_id for _, price_id in wanted]}
        found = await self._uow.connection.execute(_PLAN_NAMES, {**asked, "tenant": self._uow.tenant})
        return {(row.code, row.price_id): row.name for row in found}

    async def _documents(self, ids: Iterable[str]) -> list[PrecedingDocument]:
        table = rows.invoice.c
        wanted = select(table.id, table.number, table.issued_at, table.zone).where(
            table.tenant == self._uow.tenant, is_among(table.id, ids), table.number.is_not(None)
        )
        return [_preceding(row) for row in (await self._uow.connection.execute(wanted)).mappings()]

    async def _gives_back(self, invoice: Invoice, lines: Iterable[RowMapping]) -> list[PrecedingDocument]:
        """The documents that billed what this one gives back, where no line says which one it puts right."""
        given = [row for row in lines if row["net_minor"] < 0 and row["item_id"] is not None]
        if not given:
            return []
        line, table = rows.invoice_line.c, rows.invoice.c
        billed = [
            and_(
                line.item_id == row["item_id"],
                line.service_start_on < row["service_end_on"],
                line.service_end_on > row["service_start_on"],
            )
            for row in given[:GIVEN_BACK_MAX]
        ]
        wanted = (
            select(table.id, table.number, table.issued_at, table.zone)
            .distinct()
            .join(rows.invoice_line, and_(line.tenant == table.tenant, line.invoice_id == table.id))
            .where(
                table.tenant == self._uow.tenant,
                table.customer_id == invoice.customer_id,
                table.id != invoice.id,
                table.status.in_(STANDING),
                line.net_minor > 0,
                or_(*billed),
            )
            .order_by(table.issued_at, table.id)
        )
        return [_preceding(row) for row in (await self._uow.connection.execute(wanted)).mappings()]

    async def _documents_of_lines(self, line_ids: Iterable[str]) -> dict[str, PrecedingDocument]:
        """By line: the document on which it stands."""
        ids = list(line_ids)
        if not ids:
            return {}
        line, table = rows.invoice_line.c, rows.invoice.c
        wanted = (
            select(line.id.label("line_id"), table.id, table.number, table.issued_at, table.zone)
            .join(rows.invoice, _same(rows.invoice, line.invoice_id))
            .where(line.tenant == self._uow.tenant, is_among(line.id, ids), table.number.is_not(None))
        )
        read = (await self._uow.connection.execute(wanted)).mappings()
        return {row["line_id"]: _preceding(row) for row in read}


def _same(table: Any, id: Any) -> Any:
    """The row of `table` with this id, of the same tenant."""
    return and_(table.c.tenant == id.table.c.tenant, table.c.id == id)


def _with_contacts(statement: Any, seller_id: Any, customer_id: Any) -> Any:
    """With how seller and customer are reached by now."""
    seller, profile = rows.seller, rows.billing_profile
    return (
        statement.add_columns(
            seller.c.details.label("present_details"), profile.c.delivery.label("present_delivery")
        )
        .outerjoin(seller, _same(seller, seller_id))
        .outerjoin(profile, _same(profile, customer_id))
    )


def _contacts(row: RowMapping) -> Mapping[str, Any]:
    return {
        "seller_details": seller_details_from_json(row["present_details"]),
        "delivery": delivery_from_json(row["present_delivery"]),
    }


def _plan_and_price(row: RowMapping) -> PlanAndPrice:
    return row["charge_plan_code"], row["charge_price_id"]


def _facts(
    row: RowMapping, corrects: PrecedingDocument | None, plans: Mapping[PlanAndPrice, str]
) -> LineFacts:
    return LineFacts(
        kind=row["charge_kind"],
        unit=row["charge_unit"],
        meter=row["charge_meter"],
        event_count=row["charge_event_count"],
        is_estimated=row["charge_estimated_quantity"] is not None,
        corrects=corrects,
        plan=plans.get(_plan_and_price(row)),
    )


def _preceding(row: RowMapping) -> PrecedingDocument:
    return PrecedingDocument(row["id"], row["number"], local_date(row["issued_at"], row["zone"]))
