"""Money that is gone again: a bank took a payment back, or it never came. What it paid is due once more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from libs.common.money import Money
from libs.common.telemetry import current_traceparent
from services.billing.application import events
from services.billing.application.dun_invoice import dun_again
from services.billing.application.move_balance import move_balance
from services.billing.application.ports import UnitOfWork
from services.billing.application.receive_payment import Share, give_to_balance, pay_invoice
from services.billing.application.when_paid import tell
from services.billing.domain.customer_balance import BalanceMovement
from services.billing.domain.deposit import asked_for_again
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_standing import given_up_after_use, with_payment_taken_off
from services.billing.domain.ledger_entry import Account
from services.billing.domain.payment_received import (
    Payment,
    PaymentNotReversible,
    StandingAllocation,
    is_beyond,
    least,
    restored,
    reverse,
    standing,
    take_back,
)
from services.billing.domain.postings_of_payments import (
    postings_for_allocation,
    postings_for_payment_restored,
    postings_for_payment_reversed,
    settled_by,
)

Cause = Literal["dispute", "returned", "mistake"]


@dataclass(frozen=True, slots=True)
class ReversePayment:
    """`amount` of None is all that is left of it. `now` is the business now of who paid.

    `dispute`: his bank took it back from the gateway; `returned`: from our account; `mistake`: a person wrote down what
    never came.
    """

    payment_id: str
    amount: Money | None
    cause: Cause
    reason: str
    now: datetime


async def reverse_payment(command: ReversePayment, *, uow: UnitOfWork) -> Payment:
    """Take a payment back, or a part of it: first what waits unapplied, then what the balance was given of it and still
    holds, then from invoices, the newest allocation first. Those are due again; nobody is asked for money by that.

    What cannot be had so, since the balance was used or refunded, is a loss (`bad_debt`), or, of a mistake, refused.
    Whoever calls this sees to it that one event is one call.
    Emits: InvoiceReopened, CustomerBalanceChanged, DepositChanged.
    Raises: PaymentNotFound, PaymentNotReversible, CurrencyMismatch.
    """
    payment, parts = await _locked(command.payment_id, uow=uow)
    amount, now = _wanted(payment, command.amount), command.now
    missing = amount - least(amount, payment.unapplied)
    for part in _in_order(parts):
        wanted = least(part.left, missing)
        if wanted.amount_minor:
            payment, taken = await _take_off(payment, part, wanted, command, uow=uow)
            missing -= taken
    if missing.amount_minor:
        payment = await _lose(payment, missing, command, uow=uow)
    zone = await _zone_of(parts, uow=uow)
    payment = reverse(payment, amount, reason=command.reason, now=now)
    uow.payments.save(payment)
    uow.record("payment.reversed", payment.id, payment.version)
    uow.ledger.post(
        postings_for_payment_reversed(payment.id, amount, ordinal=payment.version, at=now, zone=zone)
    )
    return payment


async def restore_payment(payment_id: str, amount: Money, *, now: datetime, uow: UnitOfWork) -> Payment:
    """Money that was gone is back, as when a dispute was won: it pays what it had paid, as far as that is still due.

    The rest, where somebody paid otherwise meanwhile, is owed to the customer.
    Emits: InvoicePaid, CustomerBalanceChanged, DepositChanged.
    Raises: PaymentNotFound.
    """
    payment, _ = await _locked(payment_id, uow=uow)
    paid_before = dict.fromkeys(
        one.invoice_id for one in await uow.payments.allocations_of(payment_id) if one.invoice_id is not None
    )
    payment = restored(payment, amount)
    uow.ledger.post(
        postings_for_payment_restored(payment.id, amount, ordinal=payment.version, at=now, zone=None)
    )
    for invoice_id in paid_before:
        payment = await _pay_again(payment, invoice_id, now=now, uow=uow)
    if payment.unapplied.amount_minor and payment.customer_id is not None:
        payment, _ = give_to_balance(payment, payment.unapplied, now=now, uow=uow)
    uow.payments.save(payment)
    uow.record("payment.restored", payment.id, payment.version)
    return payment


async def take_off_invoice(
    invoice: Invoice, amount: Money, *, payment_id: str, reason: str, now: datetime, uow: UnitOfWork
) -> Invoice:
    """The invoice, which is locked, with less that is paid: due again, where it had been paid. What it posts is for the
    caller, who reads `settled_by` of what this returns.

    A deposit that came with it is asked for again, or, where some of it is used, is given up: who has had it owes it.
    Emits: InvoiceReopened, DepositChanged.
    """
    after = with_payment_taken_off(invoice, amount)
    if invoice.document_kind == "deposit" and invoice.status == "paid":
        deposit = await uow.deposits.get_for_update(invoice.group_id)
        if deposit.state == "collected" and deposit.remaining == deposit.collected:
            tell(asked_for_again(deposit), "deposit.reopened", now=now, uow=uow)
        else:
            after = given_up_after_use(after)
    uow.invoices.save(after)
    uow.record("invoice.payment_taken_off", after.id, after.version)
    if after.reopened_count != invoice.reopened_count:
        told = events.invoice_reopened(
            after, payment_id=payment_id, reason=reason, occurred_at=now, tenant=uow.tenant
        )
        uow.outbox.append(told, key=after.id, traceparent=current_traceparent())
        if after.status == "finalized":
            await dun_again(after, now=now, uow=uow)
    return after


async def _locked(payment_id: str, *, uow: UnitOfWork) -> tuple[Payment, list[StandingAllocation]]:
    """The invoices that it ever paid are locked first, as whoever receives payments does."""
    await uow.payments.get(payment_id)
    for invoice_id in sorted(
        {
            one.invoice_id
            for one in await uow.payments.allocations_of(payment_id)
            if one.invoice_id is not None
        }
    ):
        await uow.invoices.get_for_update(invoice_id)
    payment = await uow.payments.get_for_update(payment_id)
    return payment, standing(await uow.payments.allocations_of(payment_id))


def _wanted(payment: Payment, amount: Money | None) -> Money:
    left = payment.amount - payment.reversed
    wanted = left if amount is None else amount
    if not left.amount_minor or is_beyond(wanted, left):
        raise PaymentNotReversible(
            "less of the payment is left",
            pointer="/amount",
            left=left,
            remedy=f"Reverse no more than {left.to_decimal()} {left.currency}."
            if left.amount_minor
            else "All of it is gone already.",
        )
    return wanted


def _in_order(parts: Iterable[StandingAllocation]) -> list[StandingAllocation]:
    """What the balance was given, then the rest; of each, the newest first."""
    return sorted(parts, key=lambda part: (part.allocation.invoice_id is not None, -part.allocation.ordinal))


async def _zone_of(parts: Iterable[StandingAllocation], *, uow: UnitOfWork) -> str | None:
    """That of the first document: in whose books the money came."""
    for part in parts:
        if part.allocation.invoice_id is not None:
            return (await uow.invoices.get_for_update(part.allocation.invoice_id)).zone
    return None


async def _take_off(
    payment: Payment, part: StandingAllocation, wanted: Money, command: ReversePayment, *, uow: UnitOfWork
) -> tuple[Payment, Money]:
    """And how much of it was there to be taken: a balance may hold less by now."""
    invoice_id, now = part.allocation.invoice_id, command.now
    if invoice_id is not None:
        invoice = await uow.invoices.get_for_update(invoice_id)
        after = await take_off_invoice(
            invoice, wanted, payment_id=payment.id, reason=command.reason, now=now, uow=uow
        )
        settles = settled_by(after)
        return _taken(
            payment, part, wanted, settles=settles, zone=after.zone, command=command, uow=uow
        ), wanted
    customer_id = part.allocation.customer_id
    balance = await uow.customer_balances.open_for_update(customer_id, wanted.currency, now=now)
    there = least(wanted, balance.amount)
    if there.amount_minor:
        payment = _taken(
            payment, part, there, settles="customer_credit", zone=None, command=command, uow=uow, moves=True
        )
    return payment, there


async def _lose(payment: Payment, missing: Money, command: ReversePayment, *, uow: UnitOfWork) -> Payment:
    """What the balance was given of it and holds no longer: it was used, or given back already."""
    if command.cause == "mistake":
        raise PaymentNotReversible(
            "the customer's balance was used meanwhile",
            missing=missing,
            remedy="Void what drew on it, or reverse no more than is left of the payment and the balance.",
        )
    for part in standing(await uow.payments.allocations_of(payment.id)):
        lost = least(part.left, missing)
        if part.allocation.invoice_id is None and lost.amount_minor:
            payment = _taken(payment, part, lost, settles="bad_debt", zone=None, command=command, uow=uow)
            missing -= lost
    assert not missing.amount_minor, "a payment is what it was put on, and what is unapplied"
    return payment


def _taken(
    payment: Payment,
    part: StandingAllocation,
    amount: Money,
    *,
    settles: Account,
    zone: str | None,
    command: ReversePayment,
    uow: UnitOfWork,
    moves: bool = False,
) -> Payment:
    """`moves`: the balance gives it."""
    after, row = take_back(payment, part, amount, now=command.now, actor=uow.actor)
    uow.payments.allocate(row)
    uow.ledger.post(postings_for_allocation(row, settles=settles, zone=zone))
    if moves:
        move_balance(
            BalanceMovement(
                customer_id=row.customer_id,
                amount=-amount,
                kind="payment_taken_back",
                occurred_at=command.now,
                actor=uow.actor,
                reason=command.reason,
                clock_id=payment.clock_id,
                traceparent=current_traceparent(),
                allocation_id=row.id,
            ),
            uow=uow,
        )
    return after


async def _pay_again(payment: Payment, invoice_id: str, *, now: datetime, uow: UnitOfWork) -> Payment:
    invoice = await uow.invoices.get_for_update(invoice_id)
    share = Share(invoice_id, least(payment.unapplied, _still_due(invoice)))
    if not share.amount.amount_minor:
        return payment
    after, _ = await pay_invoice(payment, share, now=now, uow=uow)
    return after


def _still_due(invoice: Invoice) -> Money:
    owes = invoice.status in ("finalized", "uncollectible")
    return invoice.due if owes else Money.zero(invoice.currency)
