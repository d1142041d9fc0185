"""Take money in, by whatever way it came: put it on invoices, give the rest to the balance, or let it wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from libs.common.money import Money
from libs.common.periods import local_date
from libs.common.telemetry import current_traceparent
from services.billing.application import events
from services.billing.application.issue_credit_note import lessen_attempt
from services.billing.application.move_balance import move_balance
from services.billing.application.ports import UnitOfWork
from services.billing.application.queue_mail import queue_invoice_mail
from services.billing.application.when_paid import when_paid
from services.billing.domain.customer_balance import BalanceMovement
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_standing import with_payment
from services.billing.domain.payment_received import (
    Payment,
    PaymentAllocation,
    PaymentOfNobody,
    PaymentWay,
    allocate,
)
from services.billing.domain.postings_of_invoices import postings_for_payment
from services.billing.domain.postings_of_payments import (
    postings_for_allocation,
    postings_for_receipt,
    settled_by,
)


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a payment that is meant for an invoice."""

    invoice_id: str
    amount: Money


@dataclass(frozen=True, slots=True)
class ReceivePayment:
    """`amount` came on `received_on`, for the invoices that `to` names, as far as they are due.

    What is left goes to the balance of `customer_id`, or stays unapplied, as `rest` says. `customer_id` of None: that
    of the first invoice; where there is none either, nobody knows whose it is. `attempt_id`: a gateway collected it.
    `now` is the business now of who paid.
    """

    id: str
    way: PaymentWay
    amount: Money
    received_on: date
    now: datetime
    to: Sequence[Share] = ()
    rest: Literal["balance", "unapplied"] = "unapplied"
    customer_id: str | None = None
    attempt_id: str | None = None
    entry_id: str | None = None
    reference: str | None = None
    payer: str | None = None
    note: str | None = None
    clock_id: str | None = None
    traceparent: str | None = None


async def receive_payment(command: ReceivePayment, *, uow: UnitOfWork) -> Payment:
    """Write money down, and all that it brings about. A batch locks its invoices before, in one statement.

    What of a share is not due any more is left, and goes where the rest goes. A waiting attempt asks for less; what the
    gateway is being asked for stays, and what it brings beyond what is due goes to the balance.
    Emits: PaymentReceived, InvoicePaid, CustomerBalanceChanged, and what being paid brings about.
    Raises: InvoiceNotFound, CurrencyMismatch, PaymentOfNobody where the rest is for the balance of nobody.
    """
    payment = _opened(command)
    first = await uow.invoices.get_for_update(command.to[0].invoice_id) if command.to else None
    is_collected = command.attempt_id is not None
    if not is_collected:
        zone = None if first is None else first.zone
        uow.ledger.post(postings_for_receipt(payment.id, payment.amount, at=command.now, zone=zone))
    made: list[PaymentAllocation] = []
    for share in command.to:
        payment, allocation = await pay_invoice(
            payment,
            share,
            now=command.now,
            uow=uow,
            traceparent=command.traceparent,
            is_collected=is_collected,
        )
        made += [allocation] if allocation else []
    if command.rest == "balance" and payment.unapplied.amount_minor:
        payment, given = give_to_balance(
            payment,
            payment.unapplied,
            now=command.now,
            uow=uow,
            invoice_id=None if first is None else first.id,
            traceparent=command.traceparent,
            is_collected=is_collected,
        )
        made.append(given)
    if first is not None and is_collected:
        _post_collected(payment, first, command, uow=uow)
    uow.payments.add(payment)
    tell_received(payment, made, now=command.now, uow=uow, traceparent=command.traceparent)
    return payment


def _opened(command: ReceivePayment) -> Payment:
    zero = Money.zero(command.amount.currency)
    return Payment(
        id=command.id,
        customer_id=command.customer_id,
        way=command.way,
        state="received",
        amount=command.amount,
        reversed=zero,
        allocated=zero,
        to_balance=zero,
        received_on=command.received_on,
        received_at=command.now,
        attempt_id=command.attempt_id,
        entry_id=command.entry_id,
        reference=command.reference,
        payer=command.payer,
        note=command.note,
        clock_id=command.clock_id,
    )


async def pay_invoice(
    payment: Payment,
    share: Share,
    *,
    now: datetime,
    uow: UnitOfWork,
    traceparent: str | None = None,
    is_collected: bool = False,
) -> tuple[Payment, PaymentAllocation | None]:
    """Put a share on its invoice, as far as that is due: None where nothing is. The payment is for the caller to save.

    `is_collected`: by a gateway just now, which posts all of it in one set, and whose attempt is over.
    Emits: InvoicePaid, when nothing is due any more.
    Raises: InvoiceNotFound, PaymentTooSmall, CurrencyMismatch.
    """
    invoice = await uow.invoices.get_for_update(share.invoice_id)
    received = with_payment(invoice, share.amount, now=now)
    taken = share.amount - received.beyond
    if not taken.amount_minor:
        return payment, None
    after, allocation = allocate(
        payment, taken, customer_id=invoice.customer_id, invoice_id=invoice.id, now=now, actor=uow.actor
    )
    uow.payments.allocate(allocation)
    uow.invoices.save(received.invoice)
    if not is_collected:
        posted = postings_for_allocation(allocation, settles=settled_by(invoice), zone=invoice.zone)
        uow.ledger.post(posted)
        await lessen_attempt(received.invoice, reason="paid", now=now, uow=uow)
    if received.invoice.status == "paid":
        await _tell_paid(received.invoice, now=now, uow=uow, traceparent=traceparent)
    elif received.invoice.status == "finalized":
        paid_on = local_date(now, invoice.zone).isoformat()
        await queue_invoice_mail(
            "partial_payment",
            received.invoice,
            now=now,
            uow=uow,
            fact=allocation.id,
            details={"amount_minor": taken.amount_minor, "paid_on": paid_on},
        )
    return after, allocation


async def _tell_paid(invoice: Invoice, *, now: datetime, uow: UnitOfWork, traceparent: str | None) -> None:
    told = events.invoice_paid(invoice, tenant=uow.tenant)
    uow.outbox.append(told, key=invoice.id, traceparent=traceparent or current_traceparent())
    uow.record("invoice.paid", invoice.id, invoice.version)
    await when_paid(invoice, now=now, uow=uow)


def give_to_balance(
    payment: Payment,
    amount: Money,
    *,
    now: datetime,
    uow: UnitOfWork,
    invoice_id: str | None = None,
    traceparent: str | None = None,
    is_collected: bool = False,
) -> tuple[Payment, PaymentAllocation]:
    """A part of a payment becomes what is owed to the customer; the invoices that follow draw on it.

    `invoice_id` is the one for which too much came. The payment is for the caller to save.
    Emits: CustomerBalanceChanged.
    Raises: PaymentOfNobody, PaymentTooSmall.
    """
    if payment.customer_id is None:
        raise PaymentOfNobody(
            "the payment is not known to be anybody's",
            pointer="/customer_id",
            remedy="Say whose balance it is for: customer_id.",
        )
    after, allocation = allocate(
        payment, amount, customer_id=payment.customer_id, invoice_id=None, now=now, actor=uow.actor
    )
    uow.payments.allocate(allocation)
    move_balance(
        BalanceMovement(
            customer_id=payment.customer_id,
            amount=amount,
            kind="overpaid" if invoice_id else "payment",
            occurred_at=now,
            actor=uow.actor,
            invoice_id=invoice_id,
            clock_id=payment.clock_id,
            traceparent=traceparent or current_traceparent(),
            allocation_id=allocation.id,
        ),
        uow=uow,
    )
    if not is_collected:
        uow.ledger.post(postings_for_allocation(allocation, settles="customer_credit", zone=None))
    return after, allocation


def _post_collected(payment: Payment, invoice: Invoice, command: ReceivePayment, *, uow: UnitOfWork) -> None:
    """What a gateway collected is one set: cash against what it paid, and what is owed to the customer of it.

    `invoice` as it was before.
    """
    assert command.attempt_id is not None, "a gateway's"
    uow.ledger.post(
        postings_for_payment(
            command.attempt_id,
            invoice.id,
            payment.amount,
            at=command.now,
            zone=invoice.zone,
            settles=settled_by(invoice),
            overpaid=payment.to_balance,
        )
    )


def tell_received(
    payment: Payment,
    allocations: Sequence[PaymentAllocation],
    *,
    now: datetime,
    uow: UnitOfWork,
    traceparent: str | None = None,
) -> None:
    """Once somebody is known to have paid it: at once, or when a person says whose it is."""
    if payment.attempt_id is None:
        uow.record("payment.received", payment.id, payment.version)
    if payment.customer_id is None:
        return
    told = events.payment_received(payment, allocations, occurred_at=now, tenant=uow.tenant)
    uow.outbox.append(told, key=payment.id, traceparent=traceparent or current_traceparent())
