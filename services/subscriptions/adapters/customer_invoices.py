"""What billing told of invoices: who has to pay which by when. News may come in any order, and each comes once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from libs.common.contracts.billing import (
    CreditNoteIssuedV1,
    InvoiceV1,
    PaymentReceivedV1,
)
from libs.common.persistence.base import bulk_insert, raw
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters.revenue_rows import customer_invoice
from services.subscriptions.domain.customer_standing import OwedInvoice

_TAIL = """
    ON CONFLICT (tenant, id) DO UPDATE SET
        owed_minor = coalesce(excluded.owed_minor, customer_invoice.owed_minor),
        due_on = coalesce(excluded.due_on, customer_invoice.due_on),
        credited_minor = customer_invoice.credited_minor + excluded.credited_minor,
        paid_minor = customer_invoice.paid_minor + excluded.paid_minor,
        reopened_minor = customer_invoice.reopened_minor + excluded.reopened_minor,
        open_round = greatest(customer_invoice.open_round, excluded.open_round),
        paid_round = greatest(customer_invoice.paid_round, excluded.paid_round),
        is_void = customer_invoice.is_void OR excluded.is_void"""

# Of what was paid once, no more is due than was taken back, also where nobody told of the payments.
_OWED = """
    SELECT id, customer_id, currency, due_on,
           greatest(least(
               owed_minor - credited_minor - greatest(paid_minor - reopened_minor, 0),
               CASE WHEN paid_round >= 0 THEN reopened_minor END
           ), 0) AS due_minor
    FROM customer_invoice
    WHERE customer_id = ANY ($1::text[]) AND paid_round < open_round AND NOT is_void
      AND owed_minor IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class _Heard:
    id: str
    customer_id: str
    currency: str
    owed_minor: int | None = None
    due_on: date | None = None
    credited_minor: int = 0
    paid_minor: int = 0
    reopened_minor: int = 0
    open_round: int = 0
    paid_round: int = -1
    is_void: bool = False


class CustomerInvoices:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._heard: dict[str, _Heard] = {}

    def reset(self) -> None:
        """Nothing is kept at hand."""

    def issued(self, invoice: InvoiceV1) -> None:
        self._hear(_of(invoice))

    def paid(self, invoice: InvoiceV1) -> None:
        self._hear(replace(_of(invoice), paid_round=invoice.reopened_count))

    def reopened(self, invoice: InvoiceV1, due_minor: int) -> None:
        self._hear(replace(_of(invoice), reopened_minor=due_minor))

    def voided(self, invoice: InvoiceV1) -> None:
        self._hear(replace(_of(invoice), is_void=True))

    def credited(self, event: CreditNoteIssuedV1) -> None:
        note = event.credit_note
        if note.to_invoice_minor:
            self._hear(
                _Heard(note.invoice_id, note.customer_id, note.currency, credited_minor=note.to_invoice_minor)
            )

    def received(self, event: PaymentReceivedV1) -> None:
        for part in event.allocations:
            self._hear(
                _Heard(part.invoice_id, event.customer_id, event.currency, paid_minor=part.amount_minor)
            )

    def _hear(self, news: _Heard) -> None:
        known = self._heard.get(news.id)
        self._heard[news.id] = news if known is None else _together(known, news)

    async def flush(self) -> None:
        heard, self._heard = self._heard, {}
        rows = [
            {"tenant": self._uow.tenant, **{name: getattr(news, name) for name in _Heard.__slots__}}
            for _, news in sorted(heard.items())
        ]
        await bulk_insert(self._uow.connection, customer_invoice, rows, tail=_TAIL)

    async def owed_by(self, customer_ids: Iterable[str]) -> Mapping[str, Sequence[OwedInvoice]]:
        driver = await raw(self._uow.connection)
        found: dict[str, list[OwedInvoice]] = defaultdict(list)
        for row in await driver.fetch(_OWED, sorted(customer_ids)):
            owed = OwedInvoice(row["id"], row["currency"], row["due_minor"], row["due_on"])
            found[row["customer_id"]].append(owed)
        return found


def _of(invoice: InvoiceV1) -> _Heard:
    return _Heard(
        id=invoice.invoice_id,
        customer_id=invoice.customer_id,
        currency=invoice.currency,
        owed_minor=invoice.total_minor - invoice.balance_applied_minor - invoice.credits_applied_minor,
        due_on=invoice.due_on,
        open_round=invoice.reopened_count,
    )


def _together(one: _Heard, other: _Heard) -> _Heard:
    return _Heard(
        id=one.id,
        customer_id=other.customer_id,
        currency=other.currency,
        owed_minor=one.owed_minor if other.owed_minor is None else other.owed_minor,
        due_on=other.due_on or one.due_on,
        credited_minor=one.credited_minor + other.credited_minor,
        paid_minor=one.paid_minor + other.paid_minor,
        reopened_minor=one.reopened_minor + other.reopened_minor,
        open_round=max(one.open_round, other.open_round),
        paid_round=max(one.paid_round, other.paid_round),
        is_void=one.is_void or other.is_void,
    )
