"""Void an issued invoice on which nothing was paid: it holds no longer, and what it billed waits for another document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from libs.common.telemetry import current_traceparent
from services.billing.application import events
from services.billing.application.give_back import give_back
from services.billing.application.issue_credit_note import lessen_attempt
from services.billing.application.move_balance import move_balance
from services.billing.application.ports import UnitOfWork
from services.billing.application.queue_mail import queue_invoice_mail
from services.billing.application.when_paid import tell
from services.billing.domain.customer_balance import BalanceMovement
from services.billing.domain.deposit import canceled
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_standing import InvoiceNotVoidable, voided
from services.billing.domain.payment import PaymentUnderWay
from services.billing.domain.postings_of_invoices import (
    owed_on,
    postings_for_balance_applied,
    postings_for_void,
)

CheckVersion = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class VoidInvoice:
    """`now` is the invoice's business now."""

    invoice_id: str
    reason: str
    now: datetime


async def lock_with_agreements(invoice_id: str, *, uow: UnitOfWork) -> Invoice:
    """The invoice, locked after the agreements that it bills: whoever looks for charges that wait has those locked.

    Raises: InvoiceNotFound.
    """
    known = await uow.invoices.get(invoice_id)
    for subscription_id in sorted(known.about):
        await uow.agreements.find_for_update(subscription_id)
    return await uow.invoices.get_for_update(invoice_id)


async def refuse_while_calling(invoice: Invoice, *, uow: UnitOfWork) -> None:
    """An attempt without a payment method asks nobody: it fails, and is followed by no other.

    Raises: PaymentUnderWay.
    """
    attempt = await uow.payment_attempts.last_of_invoice(invoice.id)
    if attempt is not None and attempt.was_called and attempt.payment_method_id is not None:
        raise PaymentUnderWay("the gateway is being asked", remedy="Try again in a moment.")


async def void_invoice(command: VoidInvoice, *, uow: UnitOfWork, check_version: CheckVersion) -> Invoice:
    """Its charges wait for the next document of their subscription, or for this one to be issued again.

    What its payer's balance, prepaid credits and coupons gave is given back; no payment is tried any more; what it posted
    is reversed. Its number stays taken.
    Emits: InvoiceVoided, CustomerBalanceChanged, DepositChanged, WalletChanged.
    Raises: InvoiceNotFound, InvoiceNotVoidable, PaymentUnderWay, BalanceTooSmall where it gave to a balance that was
    drawn on since, TopUpUsed, and what `check_version` raises.
    """
    invoice, now = await lock_with_agreements(command.invoice_id, uow=uow), command.now
    check_version(invoice.version)
    notes = await uow.credit_notes.of_invoice(invoice.id)
    void = voided(invoice, is_credited=bool(notes), now=now)
    await refuse_while_calling(invoice, uow=uow)
    if invoice.document_kind == "deposit":
        await _cancel_deposit(invoice, now=now, uow=uow)
    uow.invoices.save(void)
    await lessen_attempt(void, reason="voided", now=now, uow=uow)
    await uow.charges.free(invoice.id)
    await give_back(invoice, now=now, uow=uow)
    await _give_back_balance(invoice, now=now, uow=uow)
    posted = await uow.ledger.of_invoice(invoice.id)
    uow.ledger.post(postings_for_void(invoice.id, posted, at=now, zone=invoice.zone))
    told = events.invoice_voided(void, reason=command.reason, tenant=uow.tenant)
    uow.outbox.append(told, key=void.id, traceparent=current_traceparent())
    uow.record("invoice.voided", void.id, void.version)
    await queue_invoice_mail("invoice_voided", void, now=now, uow=uow)
    return void


async def _cancel_deposit(invoice: Invoice, *, now: datetime, uow: UnitOfWork) -> None:
    deposit = await uow.deposits.get_for_update(invoice.group_id)
    if deposit.state != "requested":
        raise InvoiceNotVoidable(
            "the deposit was received",
            remedy=f"Give it back: POST /v1/deposits/{deposit.id}/releases.",
        )
    tell(canceled(deposit), "deposit.canceled", now=now, uow=uow)


async def _give_back_balance(invoice: Invoice, *, now: datetime, uow: UnitOfWork) -> None:
    applied = invoice.balance_applied
    if not applied.amount_minor:
        return
    await uow.customer_balances.open_for_update(invoice.customer_id, invoice.currency, now=now)
    move_balance(
        BalanceMovement(
            customer_id=invoice.customer_id,
            amount=applied,
            kind="given_back",
            occurred_at=now,
            actor=uow.actor,
            invoice_id=invoice.id,
            clock_id=invoice.clock_id,
            traceparent=current_traceparent(),
        ),
        uow=uow,
    )
    uow.ledger.post(
        postings_for_balance_applied(
            invoice.id,
            -applied,
            at=now,
            zone=invoice.zone,
            settles=owed_on(invoice.document_kind),
            fact="balance_returned",
        )
    )
