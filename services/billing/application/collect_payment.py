"""Ask the gateway for the money of one attempt; then write down what it said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.billing.application import events
from services.billing.application.ports import Gateways, UnitOfWork
from services.billing.domain.invoice import InvoiceNotPayable, paid_in_full
from services.billing.domain.ledger_entry import entries_for_payment
from services.billing.domain.payment import (
    Collected,
    Declined,
    Outcome,
    PaymentAttempt,
    PaymentMethod,
    PaymentUnderWay,
    another_attempt,
    brought_forward,
    claimed,
    ended,
    following_attempt,
)


@dataclass(frozen=True, slots=True)
class ClaimedAttempt:
    """An attempt that this process may call the gateway for. `was_calling`: an earlier claim ran out."""

    tenant: str
    attempt: PaymentAttempt
    method: PaymentMethod | None
    was_calling: bool
    now: datetime


async def claim_attempt(
    attempt_id: str, *, tenant: str, now: datetime, claimed_until: datetime, uow: UnitOfWork
) -> ClaimedAttempt | None:
    """Mark the attempt as being called, until `claimed_until` by the wall. Committed before the gateway is asked.

    Returns None when there is nothing to do any more. `now` is the attempt's business now.
    """
    attempt = await uow.payment_attempts.find_for_update(attempt_id)
    if attempt is None or not attempt.is_open:
        return None
    method = await uow.payment_methods.find_default(attempt.customer_id)
    calling = claimed(attempt, until=claimed_until, payment_method_id=method.id if method else None)
    uow.payment_attempts.save(calling)
    return ClaimedAttempt(tenant, calling, method, attempt.state == "calling", now)


async def collect_payment(claim: ClaimedAttempt, *, gateways: Gateways) -> Outcome:
    """Call the gateway, with no transaction open. The attempt's id is the idempotency key.

    Where an earlier claim ran out, the outcome of its call is unknown: the gateway is asked about it first.
    Raises: TransientError when the outcome is still unknown; the claim then runs out and is taken up again.
    """
    attempt, method = claim.attempt, claim.method
    if claim.was_calling:
        for gateway in gateways.values():
            known = await gateway.find_outcome(idempotency_key=attempt.id)
            if known is not None:
                return known
    if method is None:
        return Declined("no_payment_method")
    return await gateways[method.gateway].collect(
        idempotency_key=attempt.id, method=method, amount=attempt.amount, at=claim.now
    )


async def record_payment(
    attempt_id: str,
    outcome: Outcome,
    *,
    now: datetime,
    retry_days: Sequence[int],
    uow: UnitOfWork,
    traceparent: str | None = None,
) -> None:
    """Write down the outcome of an attempt: paid, or failed with or without a further try.

    A repeat finds the attempt ended and changes nothing.
    Emits: InvoicePaid or PaymentFailed.
    """
    attempt = await uow.payment_attempts.find_for_update(attempt_id)
    if attempt is None or not attempt.is_open:
        return
    invoice = await uow.invoices.get_for_update(attempt.invoice_id)
    over = ended(attempt, outcome, now=now)
    uow.payment_attempts.save(over)
    if isinstance(outcome, Collected):
        paid = paid_in_full(invoice, now=now)
        uow.invoices.save(paid)
        entries = entries_for_payment(over.id, over.amount)
        uow.ledger.post(entries, invoice_id=paid.id, posted_at=now, attempt_id=over.id)
        event = events.invoice_paid(paid, tenant=uow.tenant)
        uow.outbox.append(event, key=paid.id, traceparent=traceparent)
        uow.record("invoice.paid", paid.id, paid.version)
        return
    further = following_attempt(over, retry_days=retry_days, now=now)
    if further is not None:
        uow.payment_attempts.add(further)
    next_at = further.due_at if further is not None else None
    failed = events.payment_failed(invoice, over, next_attempt_at=next_at, tenant=uow.tenant)
    uow.outbox.append(failed, key=invoice.id, traceparent=traceparent)
    uow.record("payment.failed", over.id, over.version)


async def try_payment_again(invoice_id: str, *, now: datetime, uow: UnitOfWork) -> PaymentAttempt:
    """Collect an unpaid invoice now, whatever the schedule says: the way out when the schedule is exhausted.

    A try that is waiting for its day is brought forward; none is made beside one that is under way.
    Raises: InvoiceNotFound, InvoiceNotPayable, PaymentUnderWay.
    """
    invoice = await uow.invoices.get_for_update(invoice_id)
    if invoice.status != "finalized":
        raise InvoiceNotPayable(
            f"the invoice is {invoice.status}",
            remedy="Only a finalized invoice that is not paid yet can be collected.",
        )
    last = await uow.payment_attempts.last_of_invoice(invoice_id)
    assert last is not None, "a finalized invoice has an attempt"
    if last.state == "calling":
        raise PaymentUnderWay("the gateway is being asked", remedy="Read the invoice again in a moment.")
    if last.is_open:
        attempt = brought_forward(last, now=now)
        uow.payment_attempts.save(attempt)
    else:
        attempt = another_attempt(last, due_at=now, now=now)
        uow.payment_attempts.add(attempt)
    uow.record("payment.requested", attempt.id, attempt.version)
    return attempt
