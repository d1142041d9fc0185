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
    `subscription_ids`. `reopened_count` is how often its money was taken back after it had been paid: what is told of a
    later round goes over everything that is told of an earlier one, in whatever order it comes.
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
    reopened_count: int = 0

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


class AllocatedV1(Snapshot):
    """What an invoice was paid by one payment, in minor units of the payment's currency."""

    invoice_id: str
    amount_minor: int


class PaymentReceivedV1(Event):
    """Money came, by whatever way. Amounts in minor units of `currency`.

    What of it neither paid an invoice nor went to the customer's balance is `unapplied_minor`. Money of which nobody knew
    whose it is is told of when somebody says so.
    """

    TYPE: ClassVar[str] = "perennial.billing.payment.received.v1"
    payment_id: str
    customer_id: str
    way: Literal["gateway", "bank_transfer", "cash", "cheque", "other"]
    currency: str
    amount_minor: int
    to_balance_minor: int = 0
    unapplied_minor: int = 0
    received_on: date
    allocations: tuple[AllocatedV1, ...] = ()


class InvoicePaidV1(Event):
    """The invoice is paid in full."""

    TYPE: ClassVar[str] = "perennial.billing.invoice.paid.v1"
    invoice: InvoiceV1


class PaymentFailedV1(Event):
    """One attempt failed. `next_attempt_at` is None when the schedule is exhausted, or paused.

    `is_dunned`: it is steps of dunning that tell when subscriptions are suspended. Where it is false, as in what was told
    before there were any, the last failed try does.
    """

    TYPE: ClassVar[str] = "perennial.billing.payment.failed.v1"
    invoice: InvoiceV1
    attempt_id: str
    attempt_number: int
    reason: str
    next_attempt_at: AwareDatetime | None = None
    is_dunned: bool = False


DunningStepKind = Literal["overdue", "reminder", "final_reminder", "suspend", "end"]


class DunningStepTakenV1(Event):
    """An invoice was not paid by the day of a step of its schedule; `number` counts those of its kind.

    `subscription_ids` are those that are suspended or end by it, each by its own plan. `overdue` is told of
    what nobody tries to collect. `next_step` is what follows if it is not paid by then.
    """

    TYPE: ClassVar[str] = "perennial.billing.dunning.step_taken.v1"
    invoice: InvoiceV1
    kind: DunningStepKind
    number: int
    due_minor: int
    days_overdue: int
    subscription_ids: tuple[str, ...] = ()
    next_step: DunningStepKind | None = None
    next_step_at: AwareDatetime | None = None


class InvoiceReopenedV1(Event):
    """An invoice that had been paid is due again: `payment_id`, which paid it, was taken back in part or in whole.

    Its `reopened_count` says which round this is. InvoicePaid follows if it is paid again.
    """

    TYPE: ClassVar[str] = "perennial.billing.invoice.reopened.v1"
    invoice: InvoiceV1
    payment_id: str
    due_minor: int
    reason: str


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
    """Money is to be given back along `payment_id`: of a credit note, a deposit, or, of neither, of a balance.

    `by_hand`: a person has to do it.
    """

    TYPE: ClassVar[str] = "perennial.billing.refund.requested.v1"
    refund_id: str
    customer_id: str
    currency: str
    amount_minor: int
    credit_note_id: str | None = None
    deposit_id: str | None = None
    invoice_id: str | None = None
    payment_id: str | None = None
    by_hand: bool = False


class RefundV1(Snapshot):
    """A refund in short. Amounts in minor units. What several payments brought goes back as several refunds."""

    refund_id: str
    customer_id: str
    currency: str
    amount_minor: int
    credit_note_id: str | None = None
    deposit_id: str | None = None
    invoice_id: str | None = None
    payment_id: str | None = None


class RefundSucceededV1(Event):
    """The money is given back. `reference` is the gateway's, or that of whoever did it by hand."""

    TYPE: ClassVar[str] = "perennial.billing.refund.succeeded.v1"
    refund: RefundV1
    by_hand: bool
    reference: str | None = None


class RefundFailedV1(Event):
    """The money was not given back, or came back to us. `next_try_at` is None when a person has to see to it."""

    TYPE: ClassVar[str] = "perennial.billing.refund.failed.v1"
    refund: RefundV1
    reason: str
    next_try_at: AwareDatetime | None = None


class RefundCanceledV1(Event):
    """The money is not given back after all: the customer's balance has it."""

    TYPE: ClassVar[str] = "perennial.billing.refund.canceled.v1"
    refund: RefundV1


class DisputeChangedV1(Event):
    """A customer's bank asks a payment back, and how that stands. Amounts in minor units.

    `taken_minor` is what of the payment is gone by it. What it paid is told by InvoiceReopened and InvoicePaid.
    """

    TYPE: ClassVar[str] = "perennial.billing.dispute.changed.v1"
    dispute_id: str
    payment_id: str
    customer_id: str | None = None
    currency: str
    amount_minor: int
    taken_minor: int
    state: Literal["inquiry", "open", "accepted", "won", "lost"]
    reason: str


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


class MailBouncedV1(Event):
    """A mail to a customer was refused for good, at once or in a notice that came later.

    `is_address`: it is the address that takes nothing, and nothing more is sent to it until the customer has another one.
    The address itself stands in the mail, and not here.
    """

    TYPE: ClassVar[str] = "perennial.billing.mail.bounced.v1"
    mail_id: str
    customer_id: str
    kind: str
    reason: str
    is_address: bool
    invoice_id: str | None = None
    subscription_id: str | None = None
