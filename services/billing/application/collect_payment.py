"""Ask the gateway for the money of one attempt; then write down what it said.

Three steps: the claim is committed before the gateway is called, the call is made with no transaction open, and
its outcome is written in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.billing.application import events
from services.billing.application.ports import Gateways, UnitOfWork
from services.billing.application.when_paid import when_paid
from services.billing.domain.customer_balance import BalanceMovement
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_standing import with_payment
from services.billing.domain.payment import (
    Collected,
    Declined,
    Outcome,
    PaymentAttempt,
    PaymentMethod,
    claimed,
    ended,
    following_attempt,
    released,
)
from services.billing.domain.postings_of_invoices import owed_on, postings_for_payment


@dataclass(frozen=True, slots=True)
class ClaimedAttempt:
    """An attempt that this process may call the gateway for. `was_calling`: an earlier claim ran out.

    `now` is the attempt's business now.
    """

    tenant: str
    attempt: PaymentAttempt
    method: PaymentMethod | None
    was_calling: bool
    now: datetime


async def claim_attempt(
    attempt_id: str, *, now: datetime, claimed_until: datetime, uow: UnitOfWork
) -> ClaimedAttempt | None:
    """Mark the attempt as being called, until `claimed_until` by the wall. Committed before the gateway is asked.

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
    calling = claimed(attempt, until=claimed_until, payment_method_id=method.id if method else None)
    uow.payment_attempts.save(calling)
    return ClaimedAttempt(uow.tenant, calling, method, attempt.state == "calling", now)


async def collect_payment(claim: ClaimedAttempt, *, gateways: Gateways) -> Outcome:
    """Call the gateway, with no transaction open. The attempt's id is the idempotency key.

    Where an earlier claim ran out, the outcome of its call is unknown: the gateway is asked about it first.
    Raises: TransientError when the outcome is still unknown; the claim then runs out and is taken up again.
    """
    attempt, method = claim.attempt, claim.method
    if method is None:
        return Declined("no_payment_method")
    gateway = gateways[method.gateway]
    if claim.was_calling:
        known = await gateway.find_outcome(idempotency_key=attempt.id)
        if known is not None:
            return known
    return await gateway.collect(
        idempotency_key=attempt.id, method=method, amount=attempt.amount, at=claim.now
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
    """Write down the outcome of an attempt: paid, or failed with or without a further try.

    A repeat finds the attempt ended and changes nothing. Where the claim ran out and another process holds it
    now, nothing is written: that one asks the gateway, and so learns the same. What was taken beyond what is due by now,
    since the invoice was credited meanwhile, goes to the balance of who paid.
    Emits: InvoicePaid or PaymentFailed; CustomerBalanceChanged.
    """
    invoice = await uow.invoices.get_for_update(claim.attempt.invoice_id)
    attempt = await uow.payment_attempts.find_for_update(claim.attempt.id)
    if attempt is None or not attempt.is_open or attempt.version != claim.attempt.version:
        return
    over = ended(attempt, outcome, now=claim.now)
    uow.payment_attempts.save(over)
    if isinstance(outcome, Collected):
        await _record_success(invoice, over, now=claim.now, uow=uow, traceparent=traceparent)
        return
    uow.record("payment.failed", over.id, over.version)
    if invoice.status != "finalized":
        return  # it was credited meanwhile: nobody owes anything
    further = following_attempt(over, due=invoice.due, retry_days=retry_days, now=claim.now)
    if further is not None:
        uow.payment_attempts.add(further)
    next_at = further.due_at if further is not None else None
    failed = events.payment_failed(invoice, over, next_attempt_at=next_at, tenant=uow.tenant)
    uow.outbox.append(failed, key=invoice.id, traceparent=traceparent)


async def _record_success(
    invoice: Invoice, attempt: PaymentAttempt, *, now: datetime, uow: UnitOfWork, traceparent: str | None
) -> None:
    received = with_payment(invoice, attempt.amount, now=now)
    paid, beyond = received.invoice, received.beyond
    uow.ledger.post(
        postings_for_payment(
            attempt.id,
            paid.id,
            attempt.amount,
            at=now,
            zone=paid.zone,
            settles=owed_on(paid.document_kind),
            overpaid=beyond,
        )
    )
    if beyond.amount_minor:
        entry = uow.customer_balances.move(
            BalanceMovement(
                customer_id=paid.customer_id,
                amount=beyond,
                kind="overpaid",
                occurred_at=now,
                actor=uow.actor,
                invoice_id=paid.id,
                clock_id=paid.clock_id,
                traceparent=traceparent,
            )
        )
        uow.record("customer_balance.moved", entry.balance_id, entry.ordinal)
    if paid is invoice:
        return  # it was credited in full while the gateway was asked
    uow.invoices.save(paid)
    uow.outbox.append(events.invoice_paid(paid, tenant=uow.tenant), key=paid.id, traceparent=traceparent)
    uow.record("invoice.paid", paid.id, paid.version)
    await when_paid(paid, now=now, uow=uow)
