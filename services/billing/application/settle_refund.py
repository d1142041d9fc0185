"""Give money back: claimed, the gateway called with no transaction open, the outcome written down; or by a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.common.telemetry import current_traceparent
from services.billing.application import events
from services.billing.application.gateway_ports import Gateways
from services.billing.application.move_balance import move_balance
from services.billing.application.ports import UnitOfWork
from services.billing.application.queue_mail import queue_customer_mail
from services.billing.domain import refund as rules
from services.billing.domain.customer_balance import BalanceMovement
from services.billing.domain.payment import PaymentMethod, RefundFailed, RefundOutcome, RefundSucceeded
from services.billing.domain.postings_of_refunds import (
    postings_for_refund,
    postings_for_refund_canceled,
    postings_for_refund_returned,
)
from services.billing.domain.refund import NO_GATEWAY, TAKEN_BACK, Refund

CheckVersion = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ClaimedRefund:
    """A refund that this process may call the gateway for. `was_called`: the gateway may know of this try already.

    `now` is the refund's business now, `method` what paid, `payment_reference` the gateway's name for that payment.
    """

    tenant: str
    refund: Refund
    method: PaymentMethod
    payment_reference: str
    was_called: bool
    now: datetime

    @property
    def id(self) -> str:
        return self.refund.id

    @property
    def claimed_until(self) -> datetime:
        assert self.refund.claimed_until is not None, "it is claimed"
        return self.refund.claimed_until

    @property
    def traceparent(self) -> str | None:
        return self.refund.traceparent


async def claim_refund(
    refund_id: str, *, now: datetime, until: datetime, uow: UnitOfWork
) -> ClaimedRefund | None:
    """Mark the refund as being asked for, until `until` by the wall. Committed before the gateway is asked.

    One whose payment was taken back meanwhile, or that no gateway knows, is a person's from now on: money that is gone
    already is not given back as well. None when there is nothing to call for.
    Emits: RefundFailed.
    """
    refund = await uow.refunds.find_for_update(refund_id)
    if refund is None or refund.due_at is None or refund.payment_id is None:
        return None
    payment = await uow.payments.get(refund.payment_id)
    attempt = None if payment.attempt_id is None else await uow.payment_attempts.find(payment.attempt_id)
    method = None
    if attempt is not None and attempt.payment_method_id is not None:
        method = await uow.payment_methods.find(attempt.payment_method_id)
    if attempt is None or attempt.gateway_reference is None or method is None:
        _leave_to_person(refund, NO_GATEWAY, now=now, uow=uow)
        return None
    if not refund.was_called:
        going = await uow.refunds.of_payment(payment.id, refund.amount.currency)
        if (going + payment.reversed - payment.amount).amount_minor > 0:
            _leave_to_person(refund, TAKEN_BACK, now=now, uow=uow)
            return None
    calling = rules.claimed(refund, until=until)
    uow.refunds.save(calling)
    return ClaimedRefund(uow.tenant, calling, method, attempt.gateway_reference, refund.was_called, now)


async def call_for_refund(claim: ClaimedRefund, *, gateways: Gateways) -> RefundOutcome:
    """Call the gateway, with no transaction open. Where it may know of this try, it is asked about that first.

    Raises: TransientError when the outcome is still unknown; the claim then runs out and is taken up again.
    """
    refund, method = claim.refund, claim.method
    gateway = gateways.get(method.gateway)
    if gateway is None:
        return RefundFailed(NO_GATEWAY)
    if claim.was_called:
        known = await gateway.find_refund(
            tenant=claim.tenant,
            idempotency_key=refund.key,
            method=method,
            payment_reference=claim.payment_reference,
            reference=refund.gateway_reference,
        )
        if known is not None:
            return known
        if (
            refund.state == "succeeded"
        ):  # a gateway that forgets what it gave back is not asked to give it again
            return RefundSucceeded(refund.gateway_reference or "")
    return await gateway.refund(
        tenant=claim.tenant,
        idempotency_key=refund.key,
        method=method,
        payment_reference=claim.payment_reference,
        amount=refund.amount,
        at=claim.now,
    )


async def record_refund(
    claim: ClaimedRefund,
    outcome: RefundOutcome,
    *,
    retry_days: Sequence[int],
    uow: UnitOfWork,
    traceparent: str | None = None,
) -> None:
    """Write down what became of a refund. Whoever lost his claim writes nothing: who has it asks, and learns the same.

    Emits: RefundSucceeded, RefundFailed.
    """
    before = await uow.refunds.find_for_update(claim.id)
    if before is None or before.version != claim.refund.version:
        return
    now, zone = claim.now, await _zone_of(before, uow=uow)
    if isinstance(outcome, RefundFailed) and outcome.reason == NO_GATEWAY:
        _leave_to_person(before, NO_GATEWAY, now=now, uow=uow)
        return
    after = rules.with_outcome(before, outcome, retry_days=retry_days, now=now)
    uow.refunds.save(after)
    if rules.is_over(before, after):
        uow.ledger.post(postings_for_refund(before, at=now, zone=zone))
        await _tell_succeeded(after, now=now, uow=uow, traceparent=traceparent)
    elif isinstance(outcome, RefundFailed):
        if rules.came_back(before, outcome):
            uow.ledger.post(postings_for_refund_returned(before, at=now, zone=zone))
        _tell_failed(after, now=now, uow=uow, traceparent=traceparent)


async def release_refund(claim: ClaimedRefund, *, now: datetime, uow: UnitOfWork) -> None:
    """Give back a claim under which the gateway was not called. `now` is the wall's. A repeat changes nothing."""
    refund = await uow.refunds.find_for_update(claim.id)
    if refund is not None and refund.version == claim.refund.version:
        uow.refunds.save(rules.released(refund, was_called=claim.was_called, now=now))


async def try_refund_again(
    refund_id: str, *, now: datetime, uow: UnitOfWork, check_version: CheckVersion
) -> Refund:
    """Before its day, or after the schedule is exhausted.

    Raises: RefundNotFound, RefundStateWrong, RefundUnderWay, and what `check_version` raises.
    """
    refund = await uow.refunds.get_for_update(refund_id)
    check_version(refund.version)
    again = rules.tried_again(refund, now=now)
    uow.refunds.save(again)
    uow.record("refund.tried_again", again.id, again.version)
    return again


async def pay_refund_by_hand(
    refund_id: str, reference: str, *, now: datetime, uow: UnitOfWork, check_version: CheckVersion
) -> Refund:
    """A person has given the money back, as by a bank transfer whose reference this is.

    Emits: RefundSucceeded.
    Raises: RefundNotFound, RefundStateWrong, RefundUnderWay, and what `check_version` raises.
    """
    refund = await uow.refunds.get_for_update(refund_id)
    check_version(refund.version)
    paid = rules.paid_by_hand(refund, reference=reference, now=now)
    uow.refunds.save(paid)
    uow.ledger.post(postings_for_refund(paid, at=now, zone=await _zone_of(paid, uow=uow)))
    await _tell_succeeded(paid, now=now, uow=uow, traceparent=current_traceparent())
    return paid


async def cancel_refund(
    refund_id: str, *, now: datetime, uow: UnitOfWork, check_version: CheckVersion
) -> Refund:
    """The money is not given back: the customer's balance has it, and the next invoices draw on that.

    Emits: RefundCanceled, CustomerBalanceChanged.
    Raises: RefundNotFound, RefundStateWrong, RefundUnderWay, and what `check_version` raises.
    """
    refund = await uow.refunds.get_for_update(refund_id)
    check_version(refund.version)
    stays = rules.canceled(refund, now=now)
    uow.refunds.save(stays)
    move_balance(
        BalanceMovement(
            customer_id=stays.customer_id,
            amount=stays.amount,
            kind="refund_canceled",
            occurred_at=now,
            actor=uow.actor,
            clock_id=stays.clock_id,
            traceparent=current_traceparent(),
            refund_id=stays.id,
        ),
        uow=uow,
    )
    uow.ledger.post(postings_for_refund_canceled(stays, at=now, zone=await _zone_of(stays, uow=uow)))
    told = events.refund_canceled(stays, occurred_at=now, tenant=uow.tenant)
    uow.outbox.append(told, key=stays.id, traceparent=current_traceparent())
    uow.record("refund.canceled", stays.id, stays.version)
    return stays


def _leave_to_person(refund: Refund, why: str, *, now: datetime, uow: UnitOfWork) -> None:
    left = rules.for_a_person(refund, why=why)
    uow.refunds.save(left)
    _tell_failed(left, now=now, uow=uow, traceparent=refund.traceparent)


async def _tell_succeeded(refund: Refund, *, now: datetime, uow: UnitOfWork, traceparent: str | None) -> None:
    told = events.refund_succeeded(refund, occurred_at=now, tenant=uow.tenant)
    uow.outbox.append(told, key=refund.id, traceparent=traceparent)
    uow.record("refund.succeeded", refund.id, refund.version)
    await queue_customer_mail(
        "refund",
        refund.customer_id,
        fact=refund.id,
        now=now,
        uow=uow,
        details={"amount_minor": refund.amount.amount_minor, "currency": refund.amount.currency},
        refund_id=refund.id,
        invoice_id=refund.invoice_id,
    )


def _tell_failed(refund: Refund, *, now: datetime, uow: UnitOfWork, traceparent: str | None) -> None:
    told = events.refund_failed(refund, occurred_at=now, tenant=uow.tenant)
    uow.outbox.append(told, key=refund.id, traceparent=traceparent)
    uow.record("refund.failed", refund.id, refund.version)


async def _zone_of(refund: Refund, *, uow: UnitOfWork) -> str | None:
    return None if refund.invoice_id is None else (await uow.invoices.get(refund.invoice_id)).zone
