"""Finalize a draft that awaits nothing more: totals, customer balance, ledger, the first payment attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.money import Money
from libs.common.periods import local_date
from libs.common.telemetry import current_traceparent
from services.billing.application.ports import UnitOfWork
from services.billing.domain.agreement import Agreement
from services.billing.domain.charge import Charge
from services.billing.domain.customer_balance import BalanceMovement
from services.billing.domain.invoice import (
    Finalized,
    Invoice,
    Skipped,
    decide_finalization,
    invoice_id,
    open_draft,
)
from services.billing.domain.ledger_entry import (
    PostedLine,
    entries_for_balance_applied,
    entries_for_invoice,
)
from services.billing.domain.payment import first_attempt


@dataclass(frozen=True, slots=True)
class FinalizeInvoice:
    """`now` is the invoice's business now."""

    invoice_id: str
    now: datetime


async def finalize_invoice(command: FinalizeInvoice, *, uow: UnitOfWork) -> Invoice:
    """Finalize a draft that was complete but had no seller to issue it. A repeat finds it final.

    Emits: InvoiceFinalized, InvoicePaid, CustomerBalanceChanged.
    Raises: InvoiceNotFound.
    """
    invoice = await uow.invoices.get_for_update(command.invoice_id)
    if invoice.status != "draft":
        return invoice
    return await finalize_if_complete(invoice, now=command.now, uow=uow)


async def issue_credit(
    agreement: Agreement,
    credits: Sequence[Charge],
    *,
    boundary_at: datetime,
    period_index: int,
    issue: int,
    now: datetime,
    uow: UnitOfWork,
) -> Invoice:
    """Put what changes give back on a document of its own, whose total goes to the balance of who pays.

    A repeat finds the document and adds nothing.
    Emits: InvoiceFinalized, InvoicePaid, CustomerBalanceChanged.
    """
    known = await uow.invoices.find_for_update(invoice_id(agreement.id, boundary_at, "credit", issue))
    if known is not None:
        return known
    draft = open_draft(
        agreement,
        boundary_at=boundary_at,
        period_index=period_index,
        awaits_window=False,
        traceparent=current_traceparent(),
        now=now,
        document_kind="credit",
        issue=issue,
    )
    uow.invoices.add(draft)
    uow.record("invoice.opened", draft.id)
    for charge in credits:
        uow.charges.add(replace(charge, invoice_id=draft.id))
    return await finalize_if_complete(draft, now=now, uow=uow)


async def finalize_if_complete(draft: Invoice, *, now: datetime, uow: UnitOfWork) -> Invoice:
    """Finalize `draft`, which is locked, if it is complete.

    A draft that still waits is saved with what it has. A draft on which nothing is owed becomes `skipped`. What the
    balance of who pays holds is drawn on first; where nothing is left to be paid, the invoice is paid at once.
    Emits: InvoiceFinalized, with the number, in the same transaction; InvoicePaid, CustomerBalanceChanged.
    """
    charges = await uow.charges.of_invoice(draft.id)
    seller = None if draft.awaits_window else await uow.sellers.find_default()
    balance = Money.zero(draft.currency) if seller is None else await _balance_of(draft, uow)
    outcome = decide_finalization(draft, charges, seller=seller, balance=balance, now=now)
    if isinstance(outcome, Finalized):
        _issue(outcome, now=now, uow=uow)
    else:
        uow.invoices.save(outcome.invoice)
    if isinstance(outcome, Skipped):
        uow.record("invoice.skipped", outcome.invoice.id, outcome.invoice.version)
    return outcome.invoice


async def _balance_of(draft: Invoice, uow: UnitOfWork) -> Money:
    balance = await uow.customer_balances.find_for_update(draft.customer_id, draft.currency)
    return Money.zero(draft.currency) if balance is None else balance.amount


def _issue(outcome: Finalized, *, now: datetime, uow: UnitOfWork) -> None:
    invoice = outcome.invoice
    trace = current_traceparent() or invoice.traceparent
    is_paid = invoice.status == "paid"
    uow.invoices.finalize(outcome)
    entries = entries_for_invoice(
        invoice.id,
        invoiced_on=local_date(now, invoice.zone),
        lines=[PostedLine(line.net, line.service_start_on) for line in outcome.lines],
        tax=invoice.tax,
    )
    uow.ledger.post(entries, invoice_id=invoice.id, posted_at=now)
    uow.record("invoice.finalized", invoice.id, invoice.version - is_paid)
    if invoice.balance_applied.amount_minor:
        _move_balance(invoice, now=now, trace=trace, uow=uow)
    if is_paid:
        uow.record("invoice.paid", invoice.id, invoice.version)
        return
    uow.payment_attempts.add(
        first_attempt(
            invoice.id,
            invoice.customer_id,
            invoice.due,
            now=now,
            clock_id=invoice.clock_id,
            trace=trace,
        )
    )


def _move_balance(invoice: Invoice, *, now: datetime, trace: str | None, uow: UnitOfWork) -> None:
    """What the invoice draws, or what it gives where its total is below zero."""
    applied = invoice.balance_applied
    entry = uow.customer_balances.move(
        BalanceMovement(
            customer_id=invoice.customer_id,
            amount=-applied,
            kind="applied" if applied.amount_minor > 0 else "credit",
            occurred_at=now,
            actor=uow.actor,
            invoice_id=invoice.id,
            clock_id=invoice.clock_id,
            traceparent=trace,
        )
    )
    uow.record("customer_balance.moved", entry.balance_id, entry.ordinal)
    entries = entries_for_balance_applied(invoice.id, applied)
    uow.ledger.post(entries, invoice_id=invoice.id, posted_at=now)
