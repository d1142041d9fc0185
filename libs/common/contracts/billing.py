"""What billing says: invoices finalized and paid, payments that failed."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime

from libs.common.contracts.catalog import Snapshot
from libs.common.contracts.envelope import Event


class InvoiceV1(Snapshot):
    """A finalized invoice in short. Amounts in minor units of `currency`."""

    invoice_id: str
    number: str
    subscription_id: str
    customer_id: str
    currency: str
    total_minor: int
    boundary_at: AwareDatetime


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
