"""The demand: draft → finalized → paid. A finalized invoice never changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal

from libs.common.errors import Conflict, NotFound
from libs.common.ids import derived_id
from libs.common.money import Money
from libs.common.periods import local_date
from services.billing.domain.agreement import Agreement, CustomerDetails
from services.billing.domain.charge import Charge, rated_lines
from services.billing.domain.rating.rate import RatedLine
from services.billing.domain.seller import Seller

InvoiceStatus = Literal["draft", "finalized", "paid", "void", "uncollectible", "skipped"]

MAIN_SERIES = "main"


class InvoiceNotFound(NotFound):
    code = "invoice_not_found"
    title = "There is no such invoice"


class InvoiceNotPayable(Conflict):
    code = "invoice_not_payable"
    title = "The invoice cannot be paid now"


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One row: a price (or one tier of it) over one service period. `net` is rounded, once."""

    id: str
    invoice_id: str
    charge_id: str
    ordinal: int
    description: str
    rated: RatedLine
    service_start_on: date
    service_end_on: date


@dataclass(frozen=True, slots=True)
class Invoice:
    """One document of a subscription at one boundary. Its identity is subscription, boundary, kind and issue.

    A draft waits for the lifecycle event of its boundary, and for the usage of the period that ended there.
    `skipped` is a draft that had nothing to pay. `number` is taken in the very last step.
    """

    id: str
    subscription_id: str
    customer_id: str
    boundary_at: datetime
    document_kind: str
    issue: int
    period_index: int
    status: InvoiceStatus
    awaits_lifecycle: bool
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
    status_reason: str | None = None
    seller: Seller | None = None
    customer: CustomerDetails | None = None
    number: str | None = None
    issued_at: datetime | None = None
    due_on: date | None = None
    paid_at: datetime | None = None
    due_at: datetime | None = None
    version: int = 1

    @property
    def is_complete(self) -> bool:
        return not (self.awaits_lifecycle or self.awaits_window)

    @property
    def due(self) -> Money:
        return self.total - self.paid


def invoice_id(
    subscription_id: str, boundary_at: datetime, document_kind: str = "invoice", issue: int = 1
) -> str:
    """Derived from the document's identity, so that whoever comes first opens the one draft."""
    return derived_id("inv", subscription_id, boundary_at.isoformat(), document_kind, str(issue))


def open_draft(
    agreement_id: str,
    *,
    customer_id: str,
    boundary_at: datetime,
    period_index: int,
    currency: str,
    zone: str,
    clock_id: str | None,
    traceparent: str | None,
    now: datetime,
) -> Invoice:
    """A draft that still waits for everything. `period_index` is that of the period beginning at the boundary."""
    zero = Money.zero(currency)
    return Invoice(
        id=invoice_id(agreement_id, boundary_at),
        subscription_id=agreement_id,
        customer_id=customer_id,
        boundary_at=boundary_at,
        document_kind="invoice",
        issue=1,
        period_index=period_index,
        status="draft",
        awaits_lifecycle=True,
        awaits_window=False,
        currency=currency,
        zone=zone,
        series=clock_id or MAIN_SERIES,  # each test clock has numbers of its own
        created_at=now,
        clock_id=clock_id,
        traceparent=traceparent,
        net=zero,
        tax=zero,
        total=zero,
        paid=zero,
    )


def lines_of(invoice: Invoice, charges: Sequence[Charge]) -> list[InvoiceLine]:
    """The lines that the charges come to: what is behind first, then what is ahead; tiers in their order.

    Lines of zero are left out, unless they are all there is to tell about a charge that has a quantity.
    """
    lines: list[InvoiceLine] = []
    ordered = sorted(charges, key=lambda c: (c.service_start, c.kind, c.price.code, c.item_id, c.revision))
    for charge in ordered:
        for rated in rated_lines(charge):
            if rated.amount.amount_minor == 0 and rated.quantity == 0:
                continue
            ordinal = len(lines) + 1
            lines.append(
                InvoiceLine(
                    id=derived_id("lin", invoice.id, charge.id, str(rated.tier or 0)),
                    invoice_id=invoice.id,
                    charge_id=charge.id,
                    ordinal=ordinal,
                    description=charge.price.description,
                    rated=rated,
                    service_start_on=charge.service_start_on,
                    service_end_on=charge.service_end_on,
                )
            )
    return lines


@dataclass(frozen=True, slots=True)
class Finalized:
    invoice: Invoice
    lines: tuple[InvoiceLine, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """Nothing to pay gives no invoice."""

    invoice: Invoice


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not yet: the draft says what for."""

    invoice: Invoice


def decide_finalization(
    invoice: Invoice,
    charges: Sequence[Charge],
    *,
    customer: CustomerDetails,
    seller: Seller | None,
    now: datetime,
) -> Finalized | Skipped | Waiting:
    """Finalize a draft that awaits nothing more. The number is taken later, when everything else is done.

    Tax: none yet; the total is the net.
    """
    lines = lines_of(invoice, charges)
    net = sum((line.rated.amount for line in lines), Money.zero(invoice.currency))
    totalled = replace(invoice, net=net, total=net + invoice.tax, version=invoice.version + 1)
    if not totalled.is_complete:
        return Waiting(totalled)
    if totalled.total.amount_minor == 0:
        return Skipped(replace(totalled, status="skipped", status_reason="nothing_due", due_at=None))
    if seller is None:
        return Waiting(replace(totalled, status_reason="no_seller"))
    issued_on = local_date(now, invoice.zone)
    return Finalized(
        replace(
            totalled,
            status="finalized",
            status_reason=None,
            seller=seller,
            customer=customer,
            issued_at=now,
            due_on=issued_on + timedelta(days=seller.payment_terms_days),
            due_at=None,
        ),
        tuple(lines),
    )


def with_lifecycle(invoice: Invoice, agreement: Agreement, *, awaits_window: bool) -> Invoice:
    """The lifecycle event of the boundary has come; it says whether usage is still to come."""
    return replace(
        invoice,
        awaits_lifecycle=False,
        awaits_window=awaits_window,
        customer_id=agreement.customer.id,
        version=invoice.version + 1,
    )


def paid_in_full(invoice: Invoice, *, now: datetime) -> Invoice:
    return replace(invoice, status="paid", paid=invoice.total, paid_at=now, version=invoice.version + 1)
