"""What billing says: invoices finalized and paid, payments that failed."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime

from libs.common.contracts.catalog import Snapshot
from libs.common.contracts.envelope import Event


class InvoiceV1(Snapshot):
    """A finalized invoice in short. Amounts in minor units of `currency`.

    `balance_applied_minor` is what the customer's balance paid of it; where the total is below zero it is what the
    balance was given, as a negative number. `customer_id` is who pays.
    """

    invoice_id: str
    number: str
    subscription_id: str
    customer_id: str
    currency: str
    total_minor: int
    boundary_at: AwareDatetime
    document_kind: str = "invoice"
    balance_applied_minor: int = 0


class PaymentMethodChangedV1(Event):
    """Whether a customer has a payment method to collect from."""

    TYPE: ClassVar[str] = "perennial.billing.payment_method.changed.v1"
    customer_id: str
    has_payment_method: bool


class CustomerBalanceChangedV1(Event):
    """What is owed to a customer, in minor units of `currency`, after `invoice_id` gave to it or drew on it."""

    TYPE: ClassVar[str] = "perennial.billing.customer_balance.changed.v1"
    customer_id: str
    currency: str
    balance_minor: int
    invoice_id: str | None = None


class InvoiceFinalizedV1(Event):
    TYPE: ClassVar[str] = "perennial.billing.invoice.finalized.v1"
    invoice: InvoiceV1


class InvoicePaidV1(Event):
    """The invoice is paid in full."""

    TYPE: ClassVar[str] = "perennial.billing.invoice.paid.v1"
    invoice: InvoiceV1


class PaymentFailedV1(Event):
    """One attempt failed. `next_attempt_at` is None when the schedule is exhausted."""

    TYPE: ClassVar[str] = "perennial.billing.payment.failed.v1"
    invoice: InvoiceV1
    attempt_id: str
    attempt_number: int
    reason: str
    next_attempt_at: AwareDatetime | None = None
