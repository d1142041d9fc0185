"""Ask the gateway for the money of one attempt; then write down what it said.

Three steps: the claim is committed before the gateway is called, the call is made with no transaction open, and
its outcome is written in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.common.periods import local_date
from services.billing.application import events
from services.billing.application.dun_invoice import end_retries, hold_retry, start_dunning
from services.billing.application.gateway_ports import Gateways
from services.billing.application.ports import UnitOfWork
from services.billing.application.queue_mail import queue_invoice_mail
from services.billing.application.receive_payment import ReceivePayment, Share, receive_payment
from services.billing.domain.invoice import Invoice
from services.billing.domain.payment import (
    Collected,
    Declined,
    Outcome,
    PaymentAttempt,
    PaymentMethod,
    Pending,
    claimed,
    ended,
    following_attempt,
    in_process,
    overdue_action,
    released,
)
from services.billing.domain.payment_received import gateway_payment_id

NO_PAYMENT_METHOD = "no_payment_method"


@dataclass(frozen=True, slots=True)
class ClaimedAttempt:
    """An attempt that this process may call the gateway for. `was_calling`: the gateway may know of it already.

    `now` is the attempt's business now.
    """

    tenant: str
    attempt: PaymentAttempt
    method: PaymentMethod | None
    was_calling: bool
    now: datetime

    @property
    def id(self) -> str:
        return self.attempt.id

    @property
    def claimed_until(self) -> datetime:
        assert self.attempt.claimed_until is not None, "it is claimed"
        return self.attempt.claimed_until

    @property
    def traceparent(self) -> str | None:
        return self.attempt.traceparent


async def claim_attempt(
    attempt_id: str, *, now: datetime, claimed_until: datetime, at: datetime | None = None, uow: UnitOfWork
) -> ClaimedAttempt | None:
    """Mark the attempt as being called, until `claimed_until`; `at` is now, both by the wall. Committed before the call.

    An attempt whose earlier claim ran out keeps its payment method: the same key must not ask for other money.
    Returns None when there is nothing to do any more.
    """
    attempt = await uow.payment_attempts.find_for_update(attempt_id)
    if attempt is None or not attempt.is_open:
        return None
    if attempt.payment_method_id is not None:
        method = await uow.payment_methods.find(attempt.payment_method_id)
    else:
        method = await uow.payment_methods.find_default(attempt.customer_id)
    calling = claimed(attempt, until=claimed_until, payment_method_id=method.id if method else None, at=at)
    uow.payment_attempts.save(calling)
    return ClaimedAttempt(uow.tenant, calling, method, attempt.was_called, now)


async def collect_payment(claim: ClaimedAttempt, *, gateways: Gateways) -> Outcome:
    """Call the gateway, with no transaction open. The attempt's id is the idempotency key.

    Where an earlier claim ran out, or the outcome was yet to come, the gateway is asked about it first. What waits for
    the customer is taken back when he has had his time.
    Raises: TransientError when the outcome is still unknown; the claim then runs out and is taken up again.
    """
    attempt, method = claim.attempt, claim.method
    if method is None:
        return Declined(NO_PAYMENT_METHOD)
    gateway = gateways[method.gateway]
    if claim.was_calling:
        known = await gateway.find_outcome(
            tenant=claim.tenant,
            idempotency_key=attempt.id,
            method=method,
            reference=attempt.gateway_reference,
            called_at=attempt.called_at,
        )
        if isinstance(known, Pending) and overdue_action(attempt, known, now=claim.now):
            return await gateway.give_up(tenant=claim.tenant, method=method, reference=known.reference)
        if known is not None:
            return known
    return await gateway.collect(
        tenant=claim.tenant,
        idempotency_key=attempt.id,
        method=method,
        amount=attempt.amount,
        at=claim.now,
    )


async def release_attempt(claim: ClaimedAttempt, *, now: datetime, uow: UnitOfWork) -> None:
    """Give back a claim under which the gateway was not called, so that nobody has to wait until it runs out.

    `now` is the wall's. A repeat, or a claim that another process holds by now, changes nothing.
    """
    attempt = await uow.payment_attempts.find_for_update(claim.attempt.id)
    if attempt is None or not attempt.is_open or attempt.version != claim.attempt.version:
        return
    uow.payment_attempts.save(released(attempt, was_calling=claim.was_calling, now=now))


async def record_payment(
    claim: ClaimedAttempt,
    outcome: Outcome,
    *,
    retry_days: Sequence[int],
    uow: UnitOfWork,
    traceparent: str | None = None,
) -> None:
    """Write down the outcome of an attempt: paid, failed with or without a further try, or yet to come.

    A repeat finds the attempt ended and changes nothing. Where the claim ran out and another process holds it
    now, nothing is written: that one asks the gateway, and so learns the same. What was taken beyond what is due by now,
    since the invoice was credited meanwhile, goes to the balance of who paid.
    An invoice of which a try failed is dunned from then on. `retry_days` are the operator's, where the plan has none.
    Emits: InvoicePaid or PaymentFailed; CustomerBalanceChanged; what dunning tells of once no further try follows.
    """
    invoice = await uow.invoices.get_for_update(claim.attempt.invoice_id)
    attempt = await uow.payment_attempts.find_for_update(claim.attempt.id)
    if attempt is None or not attempt.is_open or attempt.version != claim.attempt.version:
        return
    if isinstance(outcome, Pending):
        _record_in_process(attempt, outcome, now=claim.now, uow=uow)
        if outcome.needs_action:
            await queue_invoice_mail("payment_action", invoice, now=claim.now, uow=uow, fact=attempt.id)
        return
    over = ended(attempt, outcome, now=claim.now)
    uow.payment_attempts.save(over)
    if isinstance(outcome, Collected):
        await _record_success(invoice, over, now=claim.now, uow=uow, traceparent=traceparent)
        return
    uow.record("payment.failed", over.id, over.version)
    if invoice.status != "finalized":
        return  # it was credited meanwhile: nobody owes anything
    dunning = await start_dunning(invoice, now=claim.now, uow=uow, retry_days=retry_days, is_collected=True)
    retries = dunning.retry_days if dunning.is_retried else ()
    further = following_attempt(over, due=invoice.due, retry_days=retries, now=claim.now)
    if further is not None:
        further = hold_retry(dunning, further, uow=uow)
        uow.payment_attempts.add(further)
    next_at = further.due_at if further is not None else None
    failed = events.payment_failed(invoice, over, next_attempt_at=next_at, tenant=uow.tenant)
    uow.outbox.append(failed, key=invoice.id, traceparent=traceparent)
    if over.reason != NO_PAYMENT_METHOD:  # of that, the invoice itself tells, and dunning
        next_on = None if next_at is None else local_date(next_at, invoice.zone).isoformat()
        await queue_invoice_mail(
            "payment_failed", invoice, now=claim.now, uow=uow, fact=over.id, details={"next_on": next_on}
        )
    if further is None:
        await end_retries(dunning, invoice, now=claim.now, uow=uow, traceparent=traceparent)


def _record_in_process(attempt: PaymentAttempt, outcome: Pending, *, now: datetime, uow: UnitOfWork) -> None:
    """Told once; after that, that it is still so is no news."""
    processing = in_process(attempt, outcome, now=now)
    uow.payment_attempts.save(processing)
    if attempt.processing_since is None or attempt.needs_action != outcome.needs_action:
        uow.record("payment.processing", processing.id, processing.version)


async def _record_success(
    invoice: Invoice, attempt: PaymentAttempt, *, now: datetime, uow: UnitOfWork, traceparent: str | None
) -> None:
    """What came beyond what is due, since the invoice was credited or paid otherwise meanwhile, is the customer's."""
    collected = ReceivePayment(
        id=gateway_payment_id(attempt.id),
        way="gateway",
        amount=attempt.amount,
        received_on=local_date(now, invoice.zone),
        now=now,
        to=[Share(invoice.id, attempt.amount)],
        rest="balance",
        customer_id=invoice.customer_id,
        attempt_id=attempt.id,
        reference=attempt.gateway_reference,
        clock_id=invoice.clock_id,
        traceparent=traceparent,
    )
    await receive_payment(collected, uow=uow)
