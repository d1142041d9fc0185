"""Disputes: as a gateway tells of them, or a person to whom the bank wrote. The money follows how they stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from libs.common.errors import TransientError
from libs.common.ids import new_id
from libs.common.money import Money
from libs.common.telemetry import current_traceparent
from services.billing.application import events
from services.billing.application.ports import UnitOfWork
from services.billing.application.reverse_payment import ReversePayment, restore_payment, reverse_payment
from services.billing.domain import dispute as rules
from services.billing.domain.dispute import Dispute, DisputeTooLarge, gateway_dispute_id
from services.billing.domain.gateway_dispute import GatewayDispute
from services.billing.domain.payment_received import Payment, gateway_payment_id, is_beyond, least
from services.billing.domain.postings_of_disputes import postings_for_dispute_fee

CheckVersion = Callable[[int], None]


class PaymentNotKnownYet(TransientError):
    """What is disputed was collected a moment ago: whoever brings the news comes again."""

    code = "payment_not_known_yet"
    title = "The payment is not known yet"


@dataclass(frozen=True, slots=True)
class TellOfDispute:
    """A bank wrote that it takes `amount` of the payment back (None: all of it). `now` is the payer's business now."""

    payment_id: str
    amount: Money | None
    reason: str
    reference: str | None
    fee: Money | None
    now: datetime


@dataclass(frozen=True, slots=True)
class DisputeAtGateway:
    """Which gateway is to be told of a dispute, under which account of the tenant's and which name."""

    gateway: str
    account: str | None
    reference: str


@dataclass(frozen=True, slots=True)
class DecideDispute:
    """`returned` is what comes back although it is lost. `now` is the payer's business now."""

    dispute_id: str
    outcome: Literal["won", "lost"]
    returned: Money | None
    now: datetime


async def take_in_dispute(
    dispute: GatewayDispute, *, now: datetime, uow: UnitOfWork, traceparent: str | None = None
) -> None:
    """Bring our books to how the gateway says that the dispute stands. `now` is the wall's.

    Order and repeats do not matter: what is fetched is the newest. A payment that is none of ours changes nothing.
    Emits: DisputeChanged, InvoiceReopened, InvoicePaid, CustomerBalanceChanged.
    Raises: PaymentNotKnownYet, where the news is here before the outcome of its payment is.
    """
    if dispute.attempt_id is None:
        return
    payment = await uow.payments.find(gateway_payment_id(dispute.attempt_id))
    if payment is None:
        if await uow.payment_attempts.find(dispute.attempt_id) is None:
            return
        raise PaymentNotKnownYet("the outcome of its attempt is not written down yet")
    clock = await uow.test_clock(payment.clock_id)
    now = now if clock is None else clock.now
    known = await uow.disputes.find_for_update(
        gateway_dispute_id(uow.tenant, dispute.gateway, dispute.reference)
    )
    before = known if known is not None else _first_heard(dispute, payment, now=now, uow=uow)
    after = rules.heard(before, dispute, now=now)
    if known is not None and replace(after, version=known.version) == known:
        return
    await _settle(after, now=now, uow=uow, traceparent=traceparent)


async def tell_of_dispute(command: TellOfDispute, *, uow: UnitOfWork) -> Dispute:
    """Write down what a bank told of by letter: the money is gone, and so is what the bank charges for it.

    Emits: DisputeChanged, InvoiceReopened, CustomerBalanceChanged.
    Raises: PaymentNotFound, DisputeTooLarge, CurrencyMismatch.
    """
    payment = await uow.payments.get(command.payment_id)
    left = payment.amount - payment.reversed
    amount = left if command.amount is None else command.amount
    if not left.amount_minor or is_beyond(amount, left):
        raise DisputeTooLarge(
            "less of the payment is left",
            pointer="/amount",
            left=left,
            remedy="Dispute no more than what came and has not been reversed.",
        )
    dispute = Dispute(
        id=new_id("dsp"),
        payment_id=payment.id,
        customer_id=payment.customer_id,
        gateway=None,
        reference=command.reference,
        state="open",
        amount=amount,
        returned=Money.zero(amount.currency),
        taken=Money.zero(amount.currency),
        reason=command.reason,
        fee=command.fee,
        opened_at=command.now,
        created_at=command.now,
        clock_id=payment.clock_id,
    )
    uow.disputes.add(dispute)
    uow.ledger.post(postings_for_dispute_fee(dispute, at=command.now))
    return await _settle(dispute, now=command.now, uow=uow, traceparent=current_traceparent())


async def find_at_gateway(
    dispute_id: str, *, uow: UnitOfWork, check_version: CheckVersion
) -> DisputeAtGateway | None:
    """Where a bank waits for our answer; None where a person told of the dispute, the bank only asks, or it is over.

    Raises: DisputeNotFound, and what `check_version` raises of one that waits.
    """
    dispute = await uow.disputes.get(dispute_id)
    if dispute.gateway is None or dispute.reference is None or dispute.state != "open":
        return None
    check_version(dispute.version)
    payment = await uow.payments.get(dispute.payment_id)
    assert payment.attempt_id is not None, "what a gateway tells of was collected by it"
    attempt = await uow.payment_attempts.find(payment.attempt_id)
    assert attempt is not None, "its payment names it"
    assert attempt.payment_method_id is not None, "it was collected"
    method = await uow.payment_methods.find(attempt.payment_method_id)
    assert method is not None, "methods are kept for what was paid with them"
    return DisputeAtGateway(dispute.gateway, method.account, dispute.reference)


async def accept_dispute(
    dispute_id: str, *, now: datetime, uow: UnitOfWork, check_version: CheckVersion
) -> Dispute:
    """We do not argue: the money is left to the customer. The gateway is told before, with no transaction open.

    Emits: DisputeChanged, and where the bank only asked so far, what taking the money brings about.
    Raises: DisputeNotFound, DisputeStateWrong, and what `check_version` raises.
    """
    dispute = await uow.disputes.get_for_update(dispute_id)
    check_version(dispute.version)
    return await _settle(rules.accepted(dispute), now=now, uow=uow, traceparent=current_traceparent())


async def decide_dispute(command: DecideDispute, *, uow: UnitOfWork, check_version: CheckVersion) -> Dispute:
    """Write down how a dispute ended that a person told of: won, the money is back; lost, it stays gone, but for a part.

    Emits: DisputeChanged, InvoicePaid, CustomerBalanceChanged.
    Raises: DisputeNotFound, DisputeStateWrong, DisputeTooLarge, CurrencyMismatch, and what `check_version` raises.
    """
    dispute = await uow.disputes.get_for_update(command.dispute_id)
    check_version(dispute.version)
    returned = Money.zero(dispute.amount.currency) if command.returned is None else command.returned
    over = rules.decided(dispute, command.outcome, returned, now=command.now)
    return await _settle(over, now=command.now, uow=uow, traceparent=current_traceparent())


def _first_heard(dispute: GatewayDispute, payment: Payment, *, now: datetime, uow: UnitOfWork) -> Dispute:
    zero = Money.zero(dispute.amount.currency)
    first = Dispute(
        id=gateway_dispute_id(uow.tenant, dispute.gateway, dispute.reference),
        payment_id=payment.id,
        customer_id=payment.customer_id,
        gateway=dispute.gateway,
        reference=dispute.reference,
        state="inquiry",
        amount=dispute.amount,
        returned=zero,
        taken=zero,
        reason=dispute.reason,
        opened_at=dispute.opened_at,
        created_at=now,
        clock_id=payment.clock_id,
        version=0,  # it is heard of in the same breath
    )
    uow.disputes.add(first)
    return first


async def _settle(dispute: Dispute, *, now: datetime, uow: UnitOfWork, traceparent: str | None) -> Dispute:
    """Move as much as is gone by the dispute and has not been moved yet, or is back.

    Of a payment that was reversed otherwise meanwhile, no more is taken than is left.
    """
    missing = dispute.gone - dispute.taken
    if missing.amount_minor > 0:
        payment = await uow.payments.get(dispute.payment_id)
        taken = least(missing, payment.amount - payment.reversed)
        if taken.amount_minor:
            reason = f"dispute: {dispute.reason}"
            command = ReversePayment(payment.id, taken, "dispute", reason, now)
            await reverse_payment(command, uow=uow)
            dispute = replace(dispute, taken=dispute.taken + taken)
    elif missing.amount_minor < 0:
        await restore_payment(dispute.payment_id, -missing, now=now, uow=uow)
        dispute = replace(dispute, taken=dispute.taken + missing)
    uow.disputes.save(dispute)
    told = events.dispute_changed(dispute, occurred_at=now, tenant=uow.tenant)
    uow.outbox.append(told, key=dispute.id, traceparent=traceparent or current_traceparent())
    uow.record(f"dispute.{dispute.state}", dispute.id, dispute.version)
    return dispute
