"""Domain outcome → contract event."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from libs.common.contracts.billing import (
    AllocatedV1,
    BillingRunChangedV1,
    CreditNoteIssuedV1,
    CreditNoteV1,
    CustomerBalanceChangedV1,
    DepositChangedV1,
    DisputeChangedV1,
    DunningStepTakenV1,
    InvoiceFinalizedV1,
    InvoiceMarkedUncollectibleV1,
    InvoicePaidV1,
    InvoiceReopenedV1,
    InvoiceV1,
    InvoiceVoidedV1,
    MailBouncedV1,
    PaymentFailedV1,
    PaymentMethodChangedV1,
    PaymentReceivedV1,
    RefundCanceledV1,
    RefundFailedV1,
    RefundRequestedV1,
    RefundSucceededV1,
    RefundV1,
)
from libs.common.periods import local_date
from services.billing.domain.agreement import (
    CustomerDetails,
)
from services.billing.domain.billing_run import BillingRun
from services.billing.domain.credit_note import CreditNote
from services.billing.domain.customer_balance import BalanceEntry
from services.billing.domain.deposit import Deposit
from services.billing.domain.dispute import Dispute
from services.billing.domain.dunning import Dunning, DunningStep
from services.billing.domain.invoice import Invoice
from services.billing.domain.mail import Mail
from services.billing.domain.payment import PaymentAttempt
from services.billing.domain.payment_received import Payment, PaymentAllocation
from services.billing.domain.refund import Refund


def _invoice(invoice: Invoice) -> InvoiceV1:
    assert invoice.number is not None, "only a finalized invoice is told of"
    return InvoiceV1(
        invoice_id=invoice.id,
        number=invoice.number,
        subscription_id=invoice.subscription_id,
        customer_id=invoice.customer_id,
        currency=invoice.currency,
        total_minor=invoice.total.amount_minor,
        boundary_at=invoice.boundary_at,
        document_kind=invoice.document_kind,
        balance_applied_minor=invoice.balance_applied.amount_minor,
        subscription_ids=invoice.about,
        net_minor=invoice.net.amount_minor,
        tax_minor=invoice.tax.amount_minor,
        discount_minor=invoice.discount.amount_minor,
        credits_applied_minor=invoice.credits_applied.amount_minor,
        due_on=invoice.due_on,
        reopened_count=invoice.reopened_count,
    )


def invoice_issued(invoice: Invoice, *, tenant: str) -> list[InvoiceFinalizedV1 | InvoicePaidV1]:
    """What is told when an invoice is issued: that it is, and where nothing is left to be paid, that it is paid.

    Whoever waits for the money need not know what a balance is. The second is one version further than the first.
    """
    if invoice.status != "paid":
        return [invoice_finalized(invoice, tenant=tenant)]
    issued = replace(invoice, version=invoice.version - 1)
    return [invoice_finalized(issued, tenant=tenant), invoice_paid(invoice, tenant=tenant)]


def invoice_finalized(invoice: Invoice, *, tenant: str) -> InvoiceFinalizedV1:
    assert invoice.issued_at is not None
    return InvoiceFinalizedV1(
        tenant=tenant,
        version=invoice.version,
        occurred_at=invoice.issued_at,
        test_clock=invoice.clock_id,
        invoice=_invoice(invoice),
    )


def invoice_paid(invoice: Invoice, *, tenant: str) -> InvoicePaidV1:
    assert invoice.paid_at is not None
    return InvoicePaidV1(
        tenant=tenant,
        version=invoice.version,
        occurred_at=invoice.paid_at,
        test_clock=invoice.clock_id,
        invoice=_invoice(invoice),
    )


def mail_bounced(mail: Mail, *, is_address: bool, occurred_at: datetime, tenant: str) -> MailBouncedV1:
    return MailBouncedV1(
        tenant=tenant,
        version=mail.version,
        occurred_at=occurred_at,
        mail_id=mail.id,
        customer_id=mail.customer_id,
        kind=mail.kind,
        reason=mail.reason or "refused",
        is_address=is_address,
        invoice_id=mail.invoice_id,
        subscription_id=mail.subscription_id,
    )


def payment_failed(
    invoice: Invoice, attempt: PaymentAttempt, *, next_attempt_at: datetime | None, tenant: str
) -> PaymentFailedV1:
    assert attempt.ended_at is not None
    return PaymentFailedV1(
        tenant=tenant,
        version=invoice.version,
        occurred_at=attempt.ended_at,
        test_clock=invoice.clock_id,
        invoice=_invoice(invoice),
        attempt_id=attempt.id,
        attempt_number=attempt.number,
        reason=attempt.reason or "declined",
        next_attempt_at=next_attempt_at,
        is_dunned=True,
    )


def payment_received(
    payment: Payment, allocations: Iterable[PaymentAllocation], *, occurred_at: datetime, tenant: str
) -> PaymentReceivedV1:
    assert payment.customer_id is not None, "told of once somebody is known to have paid it"
    return PaymentReceivedV1(
        tenant=tenant,
        version=payment.version,
        occurred_at=occurred_at,
        test_clock=payment.clock_id,
        payment_id=payment.id,
        customer_id=payment.customer_id,
        way=payment.way,
        currency=payment.amount.currency,
        amount_minor=payment.amount.amount_minor,
        to_balance_minor=payment.to_balance.amount_minor,
        unapplied_minor=payment.unapplied.amount_minor,
        received_on=payment.received_on,
        allocations=tuple(
            AllocatedV1(invoice_id=one.invoice_id, amount_minor=one.amount.amount_minor)
            for one in allocations
            if one.invoice_id is not None
        ),
    )


def dunning_step_taken(
    step: DunningStep, dunning: Dunning, invoice: Invoice, *, occurred_at: datetime, tenant: str
) -> DunningStepTakenV1:
    following = dunning.next_step or next(iter(dunning.ahead), None)
    due_on = invoice.due_on or dunning.counted_from
    return DunningStepTakenV1(
        tenant=tenant,
        version=invoice.version,
        occurred_at=occurred_at,
        test_clock=invoice.clock_id,
        invoice=_invoice(invoice),
        kind=step.kind,
        number=step.number,
        due_minor=invoice.due.amount_minor,
        days_overdue=max(0, (local_date(occurred_at, dunning.zone) - due_on).days),
        subscription_ids=step.subscription_ids,
        next_step=following.kind if following else None,
        next_step_at=following.at if following else None,
    )


def invoice_reopened(
    invoice: Invoice, *, payment_id: str, reason: str, occurred_at: datetime, tenant: str
) -> InvoiceReopenedV1:
    return InvoiceReopenedV1(
        tenant=tenant,
        version=invoice.version,
        occurred_at=occurred_at,
        test_clock=invoice.clock_id,
        invoice=_invoice(invoice),
        payment_id=payment_id,
        due_minor=invoice.due.amount_minor,
        reason=reason,
    )


def invoice_voided(invoice: Invoice, *, reason: str, tenant: str) -> InvoiceVoidedV1:
    assert invoice.voided_at is not None
    return InvoiceVoidedV1(
        tenant=tenant,
        version=invoice.version,
        occurred_at=invoice.voided_at,
        test_clock=invoice.clock_id,
        invoice=_invoice(invoice),
        reason=reason,
    )


def invoice_marked_uncollectible(
    invoice: Invoice, *, reason: str, occurred_at: datetime, tenant: str
) -> InvoiceMarkedUncollectibleV1:
    return InvoiceMarkedUncollectibleV1(
        tenant=tenant,
        version=invoice.version,
        occurred_at=occurred_at,
        test_clock=invoice.clock_id,
        invoice=_invoice(invoice),
        reason=reason,
        written_off_minor=invoice.due.amount_minor,
    )


def credit_note_issued(note: CreditNote, *, tenant: str) -> CreditNoteIssuedV1:
    assert note.number is not None, "only an issued credit note is told of"
    return CreditNoteIssuedV1(
        tenant=tenant,
        occurred_at=note.issued_at,
        test_clock=note.clock_id,
        credit_note=CreditNoteV1(
            credit_note_id=note.id,
            number=note.number,
            invoice_id=note.invoice_id,
            customer_id=note.customer_id,
            currency=note.currency,
            net_minor=note.net.amount_minor,
            tax_minor=note.tax.amount_minor,
            total_minor=note.total.amount_minor,
            to_invoice_minor=note.to_invoice.amount_minor,
            to_balance_minor=note.to_balance.amount_minor,
            to_refund_minor=note.to_refund.amount_minor,
            reason=note.reason,
        ),
    )


def refund_requested(refund: Refund, *, tenant: str) -> RefundRequestedV1:
    return RefundRequestedV1(
        tenant=tenant,
        version=refund.version,
        occurred_at=refund.created_at,
        test_clock=refund.clock_id,
        refund_id=refund.id,
        customer_id=refund.customer_id,
        currency=refund.amount.currency,
        amount_minor=refund.amount.amount_minor,
        credit_note_id=refund.credit_note_id,
        deposit_id=refund.deposit_id,
        invoice_id=refund.invoice_id,
        payment_id=refund.payment_id,
        by_hand=refund.state == "manual",
    )


def _refund(refund: Refund) -> RefundV1:
    return RefundV1(
        refund_id=refund.id,
        customer_id=refund.customer_id,
        currency=refund.amount.currency,
        amount_minor=refund.amount.amount_minor,
        credit_note_id=refund.credit_note_id,
        deposit_id=refund.deposit_id,
        invoice_id=refund.invoice_id,
        payment_id=refund.payment_id,
    )


def refund_succeeded(refund: Refund, *, occurred_at: datetime, tenant: str) -> RefundSucceededV1:
    return RefundSucceededV1(
        tenant=tenant,
        version=refund.version,
        occurred_at=occurred_at,
        test_clock=refund.clock_id,
        refund=_refund(refund),
        by_hand=refund.paid_reference is not None,
        reference=refund.paid_reference or refund.gateway_reference,
    )


def refund_failed(refund: Refund, *, occurred_at: datetime, tenant: str) -> RefundFailedV1:
    return RefundFailedV1(
        tenant=tenant,
        version=refund.version,
        occurred_at=occurred_at,
        test_clock=refund.clock_id,
        refund=_refund(refund),
        reason=refund.failure or "declined",
        next_try_at=refund.due_at,
    )


def refund_canceled(refund: Refund, *, occurred_at: datetime, tenant: str) -> RefundCanceledV1:
    return RefundCanceledV1(
        tenant=tenant,
        version=refund.version,
        occurred_at=occurred_at,
        test_clock=refund.clock_id,
        refund=_refund(refund),
    )


def dispute_changed(dispute: Dispute, *, occurred_at: datetime, tenant: str) -> DisputeChangedV1:
    return DisputeChangedV1(
        tenant=tenant,
        version=dispute.version,
        occurred_at=occurred_at,
        test_clock=dispute.clock_id,
        dispute_id=dispute.id,
        payment_id=dispute.payment_id,
        customer_id=dispute.customer_id,
        currency=dispute.amount.currency,
        amount_minor=dispute.amount.amount_minor,
        taken_minor=dispute.taken.amount_minor,
        state=dispute.state,
        reason=dispute.reason,
    )


def deposit_changed(deposit: Deposit, *, occurred_at: datetime, tenant: str) -> DepositChangedV1:
    return DepositChangedV1(
        tenant=tenant,
        version=deposit.version,
        occurred_at=occurred_at,
        test_clock=deposit.clock_id,
        deposit_id=deposit.id,
        customer_id=deposit.customer_id,
        subscription_id=deposit.subscription_id,
        currency=deposit.amount.currency,
        amount_minor=deposit.amount.amount_minor,
        remaining_minor=deposit.remaining.amount_minor,
        state=deposit.state,
    )


def customer_balance_changed(entry: BalanceEntry, *, tenant: str) -> CustomerBalanceChangedV1:
    movement = entry.movement
    return CustomerBalanceChangedV1(
        tenant=tenant,
        version=entry.ordinal,
        occurred_at=movement.occurred_at,
        test_clock=movement.clock_id,
        customer_id=movement.customer_id,
        currency=entry.after.currency,
        balance_minor=entry.after.amount_minor,
        invoice_id=movement.invoice_id,
    )


def billing_run_changed(run: BillingRun, *, tenant: str, now: datetime) -> BillingRunChangedV1:
    assert run.state != "counting", "that it is counted is nobody's news"
    return BillingRunChangedV1(
        tenant=tenant,
        version=run.version,
        occurred_at=now,
        run_id=run.id,
        state=run.state,
        until=run.until,
        invoice_count=run.invoice_count,
    )


def payment_method_changed(
    customer: CustomerDetails, *, has_payment_method: bool, version: int, occurred_at: datetime, tenant: str
) -> PaymentMethodChangedV1:
    """`version` counts the methods that the customer ever had, and those that went away."""
    return PaymentMethodChangedV1(
        tenant=tenant,
        version=version,
        occurred_at=occurred_at,
        test_clock=customer.clock_id,
        customer_id=customer.id,
        has_payment_method=has_payment_method,
    )
