"""Documents with all that they were made from, on one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, or_, select, tuple_

from libs.common.exact import text
from services.billing.adapters import mapping, rows
from services.billing.adapters.manual_lines import manual_line_from_row
from services.billing.adapters.queries import SqlBillingQueries
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.proof_queries import LineExplanation, PlanVersion, ProofParts
from services.billing.application.queries import InvoiceView, LineNotFound
from services.billing.domain.charge import Charge
from services.billing.domain.invoice import lines_of
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.manual_line import ManualLine
from services.billing.domain.settlement import settle_lines
from services.billing.domain.verification import InvoiceNotIssued, StoredInvoice, inputs_of
from services.billing.domain.window_digest import WindowDigest, sealing

NOT_ISSUED = ("draft", "skipped", "gathered")
# What says nothing of the document: who made the row, and what was tried since.
_LEFT_OUT = frozenset({"tenant", "attempts", "retry_at", "last_error", "traceparent", "recorded_at"})


class SqlProofQueries:
    def __init__(self, uow: BillingUnitOfWork) -> None:
        self._uow = uow
        self._queries = SqlBillingQueries(uow)

    async def get_stored(self, invoice_id: str, *, customer_id: str | None) -> StoredInvoice:
        view = await self._issued(invoice_id, customer_id)
        return StoredInvoice(
            invoice=view.invoice,
            lines=view.lines,
            charges=tuple(mapping.charge_from_row(row) for row in await self._charges(view)),
            manual=tuple(manual_line_from_row(row) for row in await self._manual(invoice_id)),
            postings=tuple(await self._uow.ledger.of_invoice(invoice_id)),
        )

    async def explain_line(
        self, invoice_id: str, line_id: str, *, customer_id: str | None
    ) -> LineExplanation:
        view = await self._queries.get_invoice(invoice_id, customer_id=customer_id)
        line = next((line for line in view.lines if line.id == line_id), None)
        if line is None:
            raise LineNotFound("no line of the invoice has this id")
        charges = [mapping.charge_from_row(row) for row in await self._charges(view)]
        manual = [manual_line_from_row(row) for row in await self._manual(invoice_id)]
        charge = next((charge for charge in charges if charge.id == line.charge_id), None)
        return LineExplanation(
            line=line,
            charge=charge,
            manual=next((one for one in manual if one.id == line.manual_line_id), None),
            derived=_derived(view, line, charges, manual),
            plan_version=None if charge is None else await self._plan_version(charge),
            sealed=None if charge is None else sealed_usage(await self._seals([charge]), charge),
            discounts=view.invoice.discounts,
        )

    async def get_proof_parts(self, invoice_id: str, *, customer_id: str | None) -> ProofParts:
        view = await self._issued(invoice_id, customer_id)
        charges = await self._charges(view)
        known = [mapping.charge_from_row(row) for row in charges]
        earlier = await self._earlier(known)
        table = rows.ledger_entry
        ledger = (
            select(table)
            .where(table.c.invoice_id == invoice_id)
            .order_by(table.c.posting_key, table.c.ordinal)
        )
        return ProofParts(
            tenant=self._uow.tenant,
            invoice=told(mapping.invoice_to_row(view.invoice)),
            lines=[told(mapping.line_to_row(line)) for line in view.lines],
            charges=[told(row) for row in charges],
            earlier_charges=[told(row) for row in earlier],
            manual_lines=[told(row) for row in await self._manual(invoice_id)],
            ledger=[told(row) for row in await self._fetch(ledger)],
            seals=[
                {
                    "window_id": seal.window_id,
                    "revision": seal.revision,
                    "seal": seal.seal,
                    "item_id": digest.item_id,
                    "price_id": digest.price_id,
                    "meter": digest.meter,
                    "quantity": text(digest.quantity),
                    "event_count": digest.event_count,
                    "leaf_count": digest.leaf_count,
                    "algorithm": digest.algorithm,
                    "root": digest.root,
                    "charge_id": charge.id,
                }
                for charge in known
                for seal, digest in [sealed_usage(await self._seals([charge]), charge) or (None, None)]
                if seal is not None and digest is not None
            ],
        )

    async def _issued(self, invoice_id: str, customer_id: str | None) -> InvoiceView:
        view = await self._queries.get_invoice(invoice_id, customer_id=customer_id)
        if view.invoice.status in NOT_ISSUED:
            raise InvoiceNotIssued(
                f"the document is {view.invoice.status}", remedy="Ask again when it has a number."
            )
        return view

    async def _charges(self, view: InvoiceView) -> list[RowMapping]:
        """Those that stand on it, or stood on it until it was voided."""
        table = rows.charge
        ids = {line.charge_id for line in view.lines if line.charge_id is not None}
        stood = table.c.id.in_(ids)
        wanted = stood if view.invoice.status == "void" else or_(stood, table.c.invoice_id == view.invoice.id)
        return await self._fetch(select(table).where(wanted).order_by(table.c.id))

    async def _earlier(self, charges: Iterable[Charge]) -> list[RowMapping]:
        """The charges of the same item, price, period and kind before those that correct them."""
        table = rows.charge
        later = {
            (charge.item_id, charge.price.id, charge.period_index, charge.kind): charge.revision
            for charge in charges
            if charge.revision and charge.kind == "usage"
        }
        if not later:
            return []
        identity = tuple_(table.c.item_id, table.c.price_id, table.c.period_index, table.c.kind)
        wanted = select(table).where(identity.in_(list(later))).order_by(table.c.id)
        return [
            row
            for row in await self._fetch(wanted)
            if row["revision"] < later[row["item_id"], row["price_id"], row["period_index"], row["kind"]]
        ]

    async def _manual(self, invoice_id: str) -> list[RowMapping]:
        table = rows.manual_line
        wanted = select(table).where(table.c.invoice_id == invoice_id)
        return await self._fetch(wanted.order_by(table.c.created_at, table.c.id))

    async def _seals(self, charges: Iterable[Charge]) -> list[WindowDigest]:
        windows = {charge.usage_window_id for charge in charges if charge.usage_window_id}
        return await self._uow.window_digests.of_windows(windows)

    async def _plan_version(self, charge: Charge) -> PlanVersion | None:
        """None of a fee, or of a price that one customer has by an agreement of his own."""
        if charge.plan_code is None:
            return None
        table = rows.plan_version
        has_price = table.c.plan["prices"].contains([{"id": charge.price.id}])
        wanted = select(table.c.id, table.c.code, table.c.number).where(
            table.c.code == charge.plan_code, has_price
        )
        found = next(iter(await self._fetch(wanted.limit(1))), None)
        return None if found is None else PlanVersion(found["id"], found["code"], found["number"])

    async def _fetch(self, wanted: Any) -> list[RowMapping]:
        return list((await self._uow.connection.execute(wanted)).mappings())


def sealed_usage(seals: Iterable[WindowDigest], charge: Charge) -> tuple[WindowDigest, Any] | None:
    """What pins the events behind the quantity of a charge."""
    if not charge.usage_window_id or charge.is_end:
        return None
    mine = [seal for seal in seals if seal.window_id == charge.usage_window_id]
    return sealing(mine, charge.item_id, charge.price.id, quantity=charge.quantity)


def told(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row in JSON: what is no whole number stands as text."""
    return {str(name): _plain(value) for name, value in row.items() if name not in _LEFT_OUT}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return text(value)
    if isinstance(value, date | datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


def _derived(
    view: InvoiceView, line: InvoiceLine, charges: list[Charge], manual: list[ManualLine]
) -> InvoiceLine | None:
    """Of an issued document, settled again as well; of a draft, as it was priced."""
    again = lines_of(view.invoice, charges, manual)
    if view.invoice.status not in NOT_ISSUED:
        again = list(settle_lines(again, inputs_of(view.invoice, view.lines), view.invoice.currency).lines)
    return next((one for one in again if one.id == line.id), None)
