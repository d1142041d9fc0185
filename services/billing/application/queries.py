"""What billing's screens and reports read; nothing here changes anything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from libs.common.errors import NotFound
from libs.common.money import Money
from services.billing.domain.dunning import Dunning
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_line import InvoiceLine


class LineNotFound(NotFound):
    code = "invoice_line_not_found"
    title = "There is no such line on the invoice"


@dataclass(frozen=True, slots=True)
class InvoiceView:
    """An invoice with its lines; those of a draft are as they would be now."""

    invoice: Invoice
    lines: tuple[InvoiceLine, ...]


@dataclass(frozen=True, slots=True)
class DunningView:
    """A dunning with the invoice that it is about."""

    dunning: Dunning
    invoice: Invoice


@dataclass(frozen=True, slots=True)
class DunningFilter:
    """None means any. `due_until` asks for those whose next step comes by then."""

    customer_id: str | None = None
    state: str | None = None
    due_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class LedgerEntryView:
    id: str
    posting: str
    account: str
    amount: Money
    posted_at: datetime
    posted_on: date
    invoice_id: str | None
    attempt_id: str | None
    balance_entry_id: str | None
    source_id: str | None


@dataclass(frozen=True, slots=True)
class InvoiceFilter:
    """None means any; `customer_id` is who pays, `due_before` asks for what is still to be paid.

    What was skipped is shown only when asked for by status.
    """

    customer_id: str | None = None
    subscription_id: str | None = None
    status: str | None = None
    document_kind: str | None = None
    number: str | None = None
    boundary_from: datetime | None = None
    boundary_to: datetime | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None
    due_before: date | None = None
    external_id: str | None = None
    seller_id: str | None = None
