"""Every document derived again from what is stored with it: some at a time, whatever their number."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, RowMapping, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.persistence.audit import AuditCheck, check_of, tell_progress
from libs.common.persistence.base import is_among
from services.billing.adapters import mapping, rows
from services.billing.adapters.ledger import postings_from
from services.billing.adapters.manual_lines import manual_line_from_row
from services.billing.domain.charge import Charge, rated_lines
from services.billing.domain.verification import StoredInvoice, agrees, verify_invoice

NAME = "rated_again_gives_the_same"
DOCUMENTS_AT_ONCE = 250
CHARGES_AT_ONCE = 1_000
PROBLEMS_KEPT_MAX = 1_000

Row = RowMapping

_ON_NO_DOCUMENT = ~(
    select(rows.invoice.c.id)
    .where(rows.invoice.c.id == rows.charge.c.invoice_id, rows.invoice.c.number.is_not(None))
    .exists()
)


async def rated_again(connection: AsyncConnection) -> AuditCheck:
    """Each issued document, and each charge that is on none, comes out again as it is stored.

    Memory is bounded by a batch; the sums are made in a thread, so that whoever else asks this process is answered.
    """
    problems: list[str] = []
    counted = 0
    issued = rows.invoice.c.number.is_not(None)
    charges = await _count(connection, rows.charge, _ON_NO_DOCUMENT)
    documents = await _count(connection, rows.invoice, issued)
    last = ""
    while True:
        batch = select(rows.invoice).where(issued, rows.invoice.c.id > last).order_by(rows.invoice.c.id)
        found = (await connection.execute(batch.limit(DOCUMENTS_AT_ONCE))).mappings().all()
        if not found:
            break
        problems += await asyncio.to_thread(_documents_amiss, found, await _parts_of(connection, found))
        counted += len(found)
        tell_progress(NAME, counted, documents + charges)
        last = found[-1]["id"]
        del problems[PROBLEMS_KEPT_MAX:]
    last = ""
    while True:
        ordered = (
            select(rows.charge).where(_ON_NO_DOCUMENT, rows.charge.c.id > last).order_by(rows.charge.c.id)
        )
        page = (await connection.execute(ordered.limit(CHARGES_AT_ONCE))).mappings().all()
        if not page:
            break
        problems += await asyncio.to_thread(_charges_amiss, page)
        counted += len(page)
        tell_progress(NAME, counted, documents + charges)
        last = page[-1]["id"]
        del problems[PROBLEMS_KEPT_MAX:]
    return check_of(NAME, checked_count=counted, problems=problems)


async def _count(connection: AsyncConnection, table: Table, *conditions: ColumnElement[bool]) -> int:
    return int(
        (await connection.execute(select(func.count()).select_from(table).where(*conditions))).scalar_one()
    )


class _Parts:
    """The rows that belong to the documents of a batch, by document."""

    def __init__(self) -> None:
        self.lines: dict[str, list[Row]] = defaultdict(list)
        self.charges: dict[str, Row] = {}
        self.charges_on: dict[str, list[str]] = defaultdict(list)
        self.manual: dict[str, list[Row]] = defaultdict(list)
        self.ledger: dict[str, list[Row]] = defaultdict(list)


async def _parts_of(connection: AsyncConnection, documents: Sequence[Row]) -> _Parts:
    """By statements that indexes serve: those begin with the tenant."""
    parts = _Parts()
    tenants, ids = {str(row["tenant"]) for row in documents}, {row["id"] for row in documents}

    def of_them(table: Table) -> ColumnElement[bool]:
        return is_among(table.c.tenant, tenants) & is_among(table.c.invoice_id, ids)

    for table, by_document in (
        (rows.invoice_line, parts.lines),
        (rows.manual_line, parts.manual),
        (rows.ledger_entry, parts.ledger),
    ):
        for row in (await connection.execute(select(table).where(of_them(table)))).mappings():
            by_document[row["invoice_id"]].append(row)
    charge = rows.charge
    named = {row["charge_id"] for lines in parts.lines.values() for row in lines if row["charge_id"]}
    for wanted in (is_among(charge.c.id, named), is_among(charge.c.invoice_id, ids)):
        for row in (await connection.execute(select(charge).where(wanted))).mappings():
            parts.charges[row["id"]] = row
    for row in parts.charges.values():
        if row["invoice_id"] is not None:
            parts.charges_on[row["invoice_id"]].append(row["id"])
    return parts


def _documents_amiss(documents: Sequence[Row], parts: _Parts) -> list[str]:
    problems: list[str] = []
    for row in documents:
        stored = _stored(row, parts)
        if agrees(stored):
            continue
        problems += [
            f"invoice={row['id']}, at {found.pointer}: {found.stored} is stored, {found.derived} comes out"
            for found in verify_invoice(stored)
        ]
    return problems


def _stored(row: Row, parts: _Parts) -> StoredInvoice:
    """With the charges that stand on it; those of a void one stand on it no more, and its lines name them."""
    id = row["id"]
    lines = sorted(parts.lines[id], key=lambda line: line["ordinal"])
    known = {line["charge_id"] for line in lines if line["charge_id"] is not None}
    if row["status"] != "void":
        known.update(parts.charges_on[id])
    manual = [manual_line_from_row(line) for line in parts.manual[id]]
    return StoredInvoice(
        invoice=mapping.invoice_from_row(row),
        lines=tuple(mapping.line_from_row(line) for line in lines),
        charges=tuple(
            mapping.charge_from_row(parts.charges[charge])
            for charge in sorted(known)
            if charge in parts.charges
        ),
        manual=tuple(sorted(manual, key=lambda line: (line.created_at, line.id))),
        postings=tuple(postings_from(parts.ledger[id])),
    )


def _charges_amiss(found: Iterable[Row]) -> list[str]:
    return [
        f"charge={charge.id}, the amount is not what its price and quantity give"
        for charge in map(mapping.charge_from_row, found)
        if _derived_minor(charge) != charge.amount.amount_minor
    ]


def _derived_minor(charge: Charge) -> int:
    return sum(line.amount.amount_minor for line in rated_lines(charge))
