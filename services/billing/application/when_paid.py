"""What an invoice that is paid brings about: a deposit is held from then on, credits that it sold can be used."""

from __future__ import annotations

from datetime import datetime

from libs.common.periods import local_date
from services.billing.application import events
from services.billing.application.ports import UnitOfWork
from services.billing.application.queue_mail import queue_invoice_mail
from services.billing.application.top_up_wallet import credit_top_up
from services.billing.domain.deposit import Deposit, received
from services.billing.domain.invoice import Invoice


async def when_paid(invoice: Invoice, *, now: datetime, uow: UnitOfWork) -> None:
    """However it came to be paid: by money, by the balance, by prepaid credits or a deposit.

    Emits: DepositChanged, WalletChanged.
    """
    await credit_top_up(invoice, now=now, uow=uow)
    if invoice.paid.amount_minor:  # what was paid without money is told of by the document that did it
        await queue_invoice_mail(
            "receipt",
            invoice,
            now=now,
            uow=uow,
            fact=f"{invoice.id}:{invoice.reopened_count}",
            details={
                "amount_minor": invoice.paid.amount_minor,
                "paid_on": local_date(now, invoice.zone).isoformat(),
            },
        )
    if invoice.document_kind == "deposit":
        deposit = await uow.deposits.get_for_update(invoice.group_id)
        if deposit.state == "requested":
            tell(received(deposit), "deposit.collected", now=now, uow=uow)


def tell(deposit: Deposit, action: str, *, now: datetime, uow: UnitOfWork) -> None:
    """Save a deposit that was changed, and say so."""
    uow.deposits.save(deposit)
    uow.outbox.append(
        events.deposit_changed(deposit, occurred_at=now, tenant=uow.tenant),
        key=deposit.id,
        traceparent=deposit.traceparent,
    )
    uow.record(action, deposit.id, deposit.version)
