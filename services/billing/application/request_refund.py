"""Say that money is to be given back, and cut it along the payments that brought it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.ids import new_id
from libs.common.money import Money
from libs.common.telemetry import current_traceparent
from services.billing.application import events
from services.billing.application.move_balance import move_balance
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.customer_balance import BalanceMovement
from services.billing.domain.payment_received import PaymentNotFound
from services.billing.domain.postings_of_refunds import postings_for_balance_refund
from services.billing.domain.refund import Refund, RefundSource, RefundTooLarge, along_payments, opened


@dataclass(frozen=True, slots=True)
class RefundBalance:
    """`now` is the customer's business now. `payment_id`: along it; else along the payments that gave to the balance."""

    customer_id: str
    amount: Money
    reason: str
    now: datetime
    payment_id: str | None = None


async def request_refund(wanted: Refund, *, uow: UnitOfWork) -> list[Refund]:
    """What a credit note or a deposit gives back, as one refund for each payment that it goes back along.

    Whoever calls this holds what it is of locked, and posts what is owed.
    Emits: RefundRequested for each.
    """
    currency = wanted.amount.currency
    document = wanted.invoice_id
    if wanted.deposit_id is not None:
        document = (await uow.deposits.get_for_update(wanted.deposit_id)).invoice_id
    sources: Sequence[RefundSource] = ()
    if document is not None:
        sources = await uow.refunds.sources_of_invoice(document, currency, deposit_id=wanted.deposit_id)
    return _open(wanted, sources, uow=uow)


async def refund_balance(
    command: RefundBalance, *, customer: CustomerDetails, uow: UnitOfWork
) -> list[Refund]:
    """Give back what is owed to a customer as money, as after an overpayment.

    What was never paid in, such as goodwill, is left for a person to pay out.
    Emits: RefundRequested for each, CustomerBalanceChanged.
    Raises: BalanceTooSmall, RefundTooLarge, PaymentNotFound, CurrencyMismatch.
    """
    amount, now = command.amount, command.now
    await uow.customer_balances.open_for_update(command.customer_id, amount.currency, now=now)
    sources = await _sources_of_balance(command, uow=uow)
    wanted = Refund(
        id=new_id("rfd"),
        customer_id=command.customer_id,
        amount=amount,
        state="manual",
        reason=command.reason,
        created_at=now,
        clock_id=customer.clock_id,
    )
    refunds = _open(wanted, sources, uow=uow)
    for refund in refunds:
        move_balance(
            BalanceMovement(
                customer_id=refund.customer_id,
                amount=-refund.amount,
                kind="refund",
                occurred_at=now,
                actor=uow.actor,
                reason=refund.reason,
                clock_id=refund.clock_id,
                traceparent=refund.traceparent,
                refund_id=refund.id,
            ),
            uow=uow,
        )
        uow.ledger.post(postings_for_balance_refund(refund, at=now))
    return refunds


async def _sources_of_balance(command: RefundBalance, *, uow: UnitOfWork) -> list[RefundSource]:
    currency = command.amount.currency
    if command.payment_id is None:
        return await uow.refunds.sources_of_balance(command.customer_id, currency)
    payment = await uow.payments.get(command.payment_id)
    if payment.customer_id != command.customer_id or payment.amount.currency != currency:
        raise PaymentNotFound("the customer made no such payment in this currency", pointer="/payment_id")
    sources = await uow.refunds.source_of_payment(payment.id, currency)
    left = sum(source.amount.amount_minor for source in sources)
    if command.amount.amount_minor > left:
        raise RefundTooLarge(
            "less of the payment is left",
            pointer="/amount",
            left=Money(left, currency),
            remedy="Give back no more than the payment brought, less what is reversed or refunded.",
        )
    return sources


def _open(wanted: Refund, sources: Sequence[RefundSource], *, uow: UnitOfWork) -> list[Refund]:
    traced = replace(wanted, traceparent=current_traceparent())
    refunds = opened(traced, along_payments(wanted.amount, sources))
    for refund in refunds:
        uow.refunds.add(refund)
        told = events.refund_requested(refund, tenant=uow.tenant)
        uow.outbox.append(told, key=refund.id, traceparent=refund.traceparent)
        uow.record("refund.requested", refund.id)
    return refunds
