"""What billing's screens and reports read; nothing here changes anything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from libs.common.errors import NotFound
from libs.common.money import Money
from libs.common.paging import PageRequest, Slice
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.customer_balance import BalanceEntry, CustomerBalance
from services.billing.domain.dunning import Dunning
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.manual_line import ManualLine
from services.billing.domain.payment import PaymentAttempt, PaymentMethod
from services.billing.domain.seller import Seller


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


class BillingQueries(Protocol):
    async def list_invoices(self, wanted: InvoiceFilter, page: PageRequest) -> Slice[Invoice]: ...

    async def get_invoice(self, id: str, *, customer_id: str | None) -> InvoiceView:
        """Raises: InvoiceNotFound, also when the invoice is not `customer_id`'s."""
        ...

    async def list_attempts(
        self, invoice_id: str, page: PageRequest, *, customer_id: str | None
    ) -> Slice[PaymentAttempt]:
        """Raises: InvoiceNotFound, also when the invoice is not `customer_id`'s."""
        ...

    async def list_sellers(self, page: PageRequest) -> Slice[Seller]: ...

    async def list_manual_lines(self, invoice_id: str, page: PageRequest) -> Slice[ManualLine]:
        """Raises: InvoiceNotFound."""
        ...

    async def list_billing_profiles(
        self, page: PageRequest, *, customer_id: str | None, seller_id: str | None, gathers: bool | None
    ) -> Slice[BillingProfile]: ...

    async def list_payment_methods(
        self, page: PageRequest, *, customer_id: str | None, expiring_by: date | None = None
    ) -> Slice[PaymentMethod]:
        """`expiring_by`: cards that hold no longer than until the end of that day's month."""
        ...

    async def get_payment_method(self, id: str, *, customer_id: str | None) -> PaymentMethod:
        """Raises: PaymentMethodNotFound, also when it is not `customer_id`'s."""
        ...

    async def list_customer_balances(
        self, page: PageRequest, *, customer_id: str | None, currency: str | None
    ) -> Slice[CustomerBalance]: ...

    async def get_customer_balance(self, id: str, *, customer_id: str | None) -> CustomerBalance:
        """Raises: CustomerBalanceNotFound, also when it is not `customer_id`'s."""
        ...

    async def list_adjustments(
        self, page: PageRequest, *, customer_id: str | None
    ) -> Slice[BalanceEntry]: ...

    async def list_balance_entries(
        self, balance_id: str, page: PageRequest, *, customer_id: str | None
    ) -> Slice[BalanceEntry]:
        """Raises: CustomerBalanceNotFound, also when it is not `customer_id`'s."""
        ...
