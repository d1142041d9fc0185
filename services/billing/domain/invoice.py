"""The demand: draft → finalized → paid. A finalized invoice never changes.

A document may come out below zero: it gives to the balance of who pays, from which later invoices are paid first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Literal

from libs.common.errors import Conflict, NotFound
from libs.common.ids import derived_id
from libs.common.money import Money
from libs.common.periods import local_date
from services.billing.domain.agreement import Agreement, CustomerDetails
from services.billing.domain.charge import Charge, rated_lines
from services.billing.domain.customer_balance import balance_applied
from services.billing.domain.invoice_totals import TaxedAmount, invoice_totals
from services.billing.domain.seller import Seller

InvoiceStatus = Literal["draft", "finalized", "paid", "void", "uncollectible", "skipped"]
DocumentKind = Literal["invoice", "change", "credit"]

MAIN_SERIES = "main"
NO_SELLER = "no_seller"
NOTHING_DUE = "nothing_due"


class InvoiceNotFound(NotFound):
    code = "invoice_not_found"
    title = "There is no such invoice"


class InvoiceNotPayable(Conflict):
    code = "invoice_not_payable"
    title = "The invoice cannot be paid now"


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One row: a price (or one tier of it) over one service period. `net` is rounded, once.

    `quantity` is for people, with the part of the period counted in; `formula` is how `net` came about.
    """

    id: str
    invoice_id: str
    charge_id: str
    ordinal: int
    tier: int | None
    description: str
    quantity: Decimal
    unit_amount: Decimal
    net: Money
    formula: str
    service_start_on: date
    service_end_on: date


@dataclass(frozen=True, slots=True)
class Invoice:
    """One document of a subscription at one boundary. Its identity is subscription, boundary, kind and issue.

    An `invoice` is raised at a boundary of periods, a `change` where a change is settled at once, a `credit` where what
    a change gives back goes to the balance. `customer` pays. `balance_applied` is what the balance paid of the total;
    where that is below zero, what the balance was given, as a negative amount.
    `period_index` is that of the period beginning at the boundary; while `awaits_window`, the draft waits for
    the usage of the period before it. `skipped` is a draft that had nothing to pay. `due_at` is set on a draft
    that the scheduler shall finalize. `number` is taken in the very last step.
    """

    id: str
    subscription_id: str
    customer_id: str
    boundary_at: datetime
    document_kind: DocumentKind
    issue: int
    period_index: int
    status: InvoiceStatus
    awaits_window: bool
    currency: str
    zone: str
    series: str
    created_at: datetime
    clock_id: str | None
    traceparent: str | None
    net: Money
    tax: Money
    total: Money
    paid: Money
    balance_applied: Money
    customer: CustomerDetails
    status_reason: str | None = None
    seller: Seller | None = None
    number: str | None = None
    issued_at: datetime | None = None
    due_on: date | None = None
    paid_at: datetime | None = None
    due_at: datetime | None = None
    version: int = 1

    @property
    def due(self) -> Money:
        """What is still to be paid with money."""
        return self.total - self.balance_applied - self.paid

    def awaits_usage_of(self, period_index: int) -> bool:
        """Whether the usage of that period is what this draft waits for."""
        return self.status == "draft" and self.awaits_window and period_index == self.period_index - 1


def invoice_id(
    subscription_id: str, boundary_at: datetime, document_kind: DocumentKind = "invoice", issue: int = 1
) -> str:
    """Derived from the document's identity, so that there is one, however often it is made."""
    instant = boundary_at.astimezone(UTC).isoformat()
    return derived_id("inv", subscription_id, instant, document_kind, str(issue))


def open_draft(
    agreement: Agreement,
    *,
    boundary_at: datetime,
    period_index: int,
    awaits_window: bool,
    traceparent: str | None,
    now: datetime,
    document_kind: DocumentKind = "invoice",
    issue: int = 1,
) -> Invoice:
    """A draft without charges yet, for who pays, as the boundary found him."""
    zero = Money.zero(agreement.currency)
    return Invoice(
        id=invoice_id(agreement.id, boundary_at, document_kind, issue),
        subscription_id=agreement.id,
        customer_id=agreement.pays.id,
        boundary_at=boundary_at,
        document_kind=document_kind,
        issue=issue,
        period_index=period_index,
        status="draft",
        awaits_window=awaits_window,
        currency=agreement.currency,
        zone=agreement.zone,
        series=agreement.clock_id or MAIN_SERIES,  # each test clock has numbers of its own
        created_at=now,
        clock_id=agreement.clock_id,
        traceparent=traceparent,
        net=zero,
        tax=zero,
        total=zero,
        paid=zero,
        balance_applied=zero,
        customer=agreement.pays,
    )


def with_usage(draft: Invoice) -> Invoice:
    """The usage that the draft waited for has come."""
    return replace(draft, awaits_window=False, version=draft.version + 1)


def lines_of(invoice: Invoice, charges: Sequence[Charge]) -> list[InvoiceLine]:
    """The lines that the charges come to: what is behind first, then what is ahead; tiers in their order.

    Lines of nothing (no quantity, no amount) are left out; something that was free is shown.
    """
    lines: list[InvoiceLine] = []
    for charge in sorted(charges, key=_place):
        for rated in rated_lines(charge):
            if not rated.rounded and not rated.quantity:
                continue
            lines.append(
                InvoiceLine(
                    id=derived_id("lin", invoice.id, charge.id, rated.key),
                    invoice_id=invoice.id,
                    charge_id=charge.id,
                    ordinal=len(lines) + 1,
                    tier=rated.tier or None,
                    description=rated.description,
                    quantity=rated.shown_quantity,
                    unit_amount=rated.shown_unit_amount,
                    net=rated.amount,
                    formula=rated.formula,
                    service_start_on=charge.service_start_on,
                    service_end_on=charge.service_end_on,
                )
            )
    return lines


def _place(charge: Charge) -> tuple[datetime, str, str, str, int]:
    return charge.service_start, charge.kind, charge.price.code, charge.item_id, charge.revision


@dataclass(frozen=True, slots=True)
class Finalized:
    """Issued, and also paid where nothing is left to be paid with money."""

    invoice: Invoice
    lines: tuple[InvoiceLine, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A document on which nothing is owed, either way, is not issued."""

    invoice: Invoice


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not yet: the draft says what for."""

    invoice: Invoice


def decide_finalization(
    draft: Invoice, charges: Sequence[Charge], *, seller: Seller | None, balance: Money, now: datetime
) -> Finalized | Skipped | Waiting:
    """Finalize a draft that awaits nothing more. The number is taken later, when everything else is done.

    A total above zero draws on `balance`, one below zero gives to it; where nothing is left to be paid, the invoice
    is paid at once. Credits that equal the charges are issued too: all of them must stand on a document.
    Tax: none yet; the total is the net.
    Raises: CurrencyMismatch.
    """
    assert draft.status == "draft", "only a draft can be finalized"
    lines = lines_of(draft, charges)
    totals = invoice_totals([TaxedAmount(line.net) for line in lines], draft.currency)
    totalled = replace(
        draft, net=totals.net, tax=totals.tax, total=totals.total, due_at=None, version=draft.version + 1
    )
    if totalled.awaits_window:
        return Waiting(totalled)
    if not any(charge.amount.amount_minor for charge in charges):
        return Skipped(replace(totalled, status="skipped", status_reason=NOTHING_DUE))
    if seller is None:
        return Waiting(replace(totalled, status_reason=NO_SELLER))
    issued = _issued(totalled, seller, balance_applied(totalled.total, balance), now)
    if issued.due.amount_minor == 0:
        issued = paid_in_full(issued, now=now)
    return Finalized(issued, tuple(lines))


def _issued(draft: Invoice, seller: Seller, applied: Money, now: datetime) -> Invoice:
    """Due after as many days as were agreed on with the customer, or else after the seller's."""
    agreed_days = draft.customer.payment_terms_days
    days = seller.payment_terms_days if agreed_days is None else agreed_days
    return replace(
        draft,
        status="finalized",
        status_reason=None,
        seller=seller,
        balance_applied=applied,
        issued_at=now,
        due_on=local_date(now, draft.zone) + timedelta(days=days),
    )


def paid_in_full(invoice: Invoice, *, now: datetime) -> Invoice:
    assert invoice.status == "finalized", "only a finalized invoice can be paid"
    paid = invoice.paid + invoice.due
    return replace(invoice, status="paid", paid=paid, paid_at=now, version=invoice.version + 1)
