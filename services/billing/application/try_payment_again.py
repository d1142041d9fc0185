"""Collect an unpaid invoice now, whatever the schedule says: the way out when the schedule is exhausted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.telemetry import current_traceparent
from services.billing.application.ports import UnitOfWork
from services.billing.domain.invoice import Invoice, InvoiceNotPayable
from services.billing.domain.payment import (
    PaymentAttempt,
    PaymentUnderWay,
    another_attempt,
    brought_forward,
    first_attempt,
)


@dataclass(frozen=True, slots=True)
class TryPaymentAgain:
    """`now` is the invoice's business now."""

    invoice_id: str
    now: datetime


async def try_payment_again(command: TryPaymentAgain, *, uow: UnitOfWork) -> PaymentAttempt:
    """A try that is waiting for its day is brought forward; none is made beside one that is under way.

    Raises: InvoiceNotFound, InvoiceNotPayable, PaymentUnderWay.
    """
    invoice = await uow.invoices.get_for_update(command.invoice_id)
    if invoice.status != "finalized":
        raise InvoiceNotPayable(
            f"the invoice is {invoice.status}",
            remedy="Only a finalized invoice that is not paid yet can be collected.",
        )
    last = await uow.payment_attempts.last_of_invoice(invoice.id)
    if last is None:  # it waited for a transfer
        return _first(invoice, now=command.now, uow=uow)
    if last.was_called:
        raise PaymentUnderWay("the gateway is being asked", remedy="Read the invoice again in a moment.")
    if last.is_open:
        attempt = brought_forward(last, now=command.now)
        uow.payment_attempts.save(attempt)
    else:
        attempt = another_attempt(last, due=invoice.due, due_at=command.now, now=command.now)
        uow.payment_attempts.add(attempt)
    uow.record("payment.requested", attempt.id, attempt.version)
    return attempt


def _first(invoice: Invoice, *, now: datetime, uow: UnitOfWork) -> PaymentAttempt:
    attempt = first_attempt(
        invoice.id,
        invoice.customer_id,
        invoice.due,
        now=now,
        clock_id=invoice.clock_id,
        trace=current_traceparent() or invoice.traceparent,
    )
    uow.payment_attempts.add(attempt)
    uow.record("payment.requested", attempt.id, attempt.version)
    return attempt
