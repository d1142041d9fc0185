"""What billing says: invoices finalized and paid, payments that failed."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import ClassVar, Literal

from pydantic import AwareDatetime

from libs.common.contracts.catalog import Snapshot
from libs.common.contracts.envelope import Event


class InvoiceV1(Snapshot):
    """A finalized invoice in short. Amounts in minor units of `currency`.

    `balance_applied_minor` is what the customer's balance paid of it; where the total is below zero it is what the
    balance was given, as a negative number. `credits_applied_minor` is what prepaid credits paid of it. `customer_id` is
    who pays. `subscription_id` is None on a document that is about no subscription, or about several: those are in
    `subscription_ids`.
    """

    invoice_id: str
    number: str
    subscription_id: str | None
    customer_id: str
    currency: str
    total_minor: int
    boundary_at: AwareDatetime
    document_kind: str = "invoice"
    balance_applied_minor: int = 0
    subscription_ids: tuple[str, ...] = ()
    net_minor: int | None = None
    tax_minor: int | None = None
    discount_minor: int = 0
    credits_applied_minor: int = 0
    due_on: date | None = None

    @property
    def about(self) -> tuple[str, ...]:
        """The subscriptions that it bills."""
        return self.subscription_ids or (() if self.subscription_id is None else (self.subscription_id,))


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


class InvoiceVoidedV1(Event):
    """The invoice holds no longer, and its charges are free for another. `replaced_by` is that one, if it is known."""

    TYPE: ClassVar[str] = "perennial.billing.invoice.voided.v1"
    invoice: InvoiceV1
    reason: str
    replaced_by: str | None = None


class InvoiceMarkedUncollectibleV1(Event):
    """Nobody expects the money any more: what was left of it is a bad debt."""

    TYPE: ClassVar[str] = "perennial.billing.invoice.marked_uncollectible.v1"
    invoice: InvoiceV1
    reason: str
    written_off_minor: int


class CreditNoteV1(Snapshot):
    """A credit note in short. Amounts in minor units, positive. `to_*` say where the total went; they sum to it."""

    credit_note_id: str
    number: str
    invoice_id: str
    customer_id: str
    currency: str
    net_minor: int
    tax_minor: int
    total_minor: int
    to_invoice_minor: int
    to_balance_minor: int
    to_refund_minor: int
    reason: str


class CreditNoteIssuedV1(Event):
    TYPE: ClassVar[str] = "perennial.billing.credit_note.issued.v1"
    credit_note: CreditNoteV1


class RefundRequestedV1(Event):
    """Money is to be given back: of a credit note, or of a deposit."""

    TYPE: ClassVar[str] = "perennial.billing.refund.requested.v1"
    refund_id: str
    customer_id: str
    currency: str
    amount_minor: int
    credit_note_id: str | None = None
    deposit_id: str | None = None
    invoice_id: str | None = None


class DepositChangedV1(Event):
    """A deposit was asked for, collected or held, released, applied or kept. Amounts in minor units.

    `remaining_minor` is what is still owed back to the customer.
    """

    TYPE: ClassVar[str] = "perennial.billing.deposit.changed.v1"
    deposit_id: str
    customer_id: str
    subscription_id: str | None = None
    currency: str
    amount_minor: int
    remaining_minor: int
    state: Literal["requested", "held", "collected", "released", "canceled"]


class WalletChangedV1(Event):
    """Prepaid credits were bought, given, used, expired or taken back. `balance` is what is left, money or units."""

    TYPE: ClassVar[str] = "perennial.billing.wallet.changed.v1"
    wallet_id: str
    customer_id: str
    balance: Decimal
    currency: str | None = None
    unit: str | None = None
    cause: Literal["granted", "drawn", "expired", "voided", "given_back"]


class WalletTopUpRequestedV1(Event):
    """A wallet came to its threshold: an invoice for more of it was made."""

    TYPE: ClassVar[str] = "perennial.billing.wallet.top_up_requested.v1"
    wallet_id: str
    customer_id: str
    invoice_id: str


class BillingRunChangedV1(Event):
    """A billing run awaits approval, was approved or rejected, or is finished."""

    TYPE: ClassVar[str] = "perennial.billing.billing_run.changed.v1"
    run_id: str
    state: Literal["running", "awaiting_approval", "finished", "rejected"]
    until: AwareDatetime
    invoice_count: int
