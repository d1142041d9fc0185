"""Finalize a draft that awaits nothing more: totals, customer balance, ledger, the first payment attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.money import Money
from libs.common.periods import local_date
from libs.common.telemetry import current_traceparent
from services.billing.application.accrue_usage import accrue_usage, reverse_accruals
from services.billing.application.coupons_for import coupons_for, use_coupons
from services.billing.application.dun_invoice import start_dunning
from services.billing.application.move_balance import move_balance
from services.billing.application.ports import UnitOfWork
from services.billing.application.queue_mail import queue_issued_mail
from services.billing.application.tax_treatments import treatments_for
from services.billing.application.top_up_wallet import credit_top_up
from services.billing.application.wallet_credits import (
    MoneyCredits,
    UnitCredits,
    draw_credits,
    money_credits_for,
    unit_credits_for,
)
from services.billing.application.when_paid import when_paid
from services.billing.domain.agreement import Agreement
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.charge import Charge
from services.billing.domain.customer_balance import BalanceMovement
from services.billing.domain.gathering import held, is_to_be_held
from services.billing.domain.invoice import (
    Finalized,
    Invoice,
    Means,
    Skipped,
    Waiting,
    decide_finalization,
    invoice_id,
    lines_of,
    open_draft,
    totalled,
    waits_at,
    with_grace,
)
from services.billing.domain.payment import first_attempt
from services.billing.domain.postings_of_invoices import (
    owed_on,
    postings_for_balance_applied,
    postings_for_invoice,
)
from services.billing.domain.revenue_schedule import earned_line_of
from services.billing.domain.seller import Seller
from services.billing.domain.settlement import Settled, SettlementInputs, settle_lines


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


@dataclass(frozen=True, slots=True)
class SettledDraft:
    """What a draft would come to if it were issued now, and by whom. `owes`: something stands on it that is not zero."""

    settled: Settled
    owes: bool
    seller: Seller | None
    profile: BillingProfile | None
    units: UnitCredits


async def settle_draft(draft: Invoice, *, now: datetime, uow: UnitOfWork) -> SettledDraft:
    """Everything that decides what the lines of a draft come to, gathered and applied; nothing is written down.

    Without a seller nobody taxes it, and neither coupons nor prepaid units are taken off yet.
    """
    charges = await uow.charges.of_invoice(draft.id)
    manual = await uow.manual_lines.of_invoice(draft.id)
    lines = lines_of(draft, charges, manual)
    profile = await uow.billing_profiles.find(draft.customer_id)
    seller = await _seller_of(profile, uow)
    units, inputs = UnitCredits(), SettlementInputs()
    if seller is not None and lines:
        units = await unit_credits_for(draft, lines, now=now, uow=uow)
        inputs = SettlementInputs(
            prepaid=units.prepaid,
            coupons=await coupons_for(draft, lines, now=now, uow=uow),
            treatments=await treatments_for(draft, lines, seller=seller, profile=profile, now=now, uow=uow),
            tax_rounding=seller.tax_rounding,
        )
    return SettledDraft(
        settled=settle_lines(lines, inputs, draft.currency),
        owes=bool(manual) or any(charge.amount.amount_minor for charge in charges),
        seller=seller,
        profile=profile,
        units=units,
    )


async def finalize_if_complete(
    draft: Invoice, *, now: datetime, uow: UnitOfWork, by_run: bool = False
) -> Invoice:
    """Finalize `draft`, which is locked, if it is complete, and its grace is over.

    A draft that still waits is saved with what it has: so is one that is gathered with others, or, unless this is done
    `by_run`, one that waits for a billing run. A draft on which nothing is owed becomes `skipped`. Prepaid credits and
    the balance of who pays are drawn on first; where nothing is left to be paid, the invoice is paid at once.
    Emits: InvoiceFinalized, with the number, in the same transaction; InvoicePaid, CustomerBalanceChanged.
    """
    nothing = Money.zero(draft.currency)
    if draft.awaits_window:  # what it comes to is told once all of it is known
        charges = await uow.charges.of_invoice(draft.id)
        manual = await uow.manual_lines.of_invoice(draft.id)
        settled = settle_lines(lines_of(draft, charges, manual), SettlementInputs(), draft.currency)
        waiting = totalled(draft, settled)
        uow.invoices.save(waiting)
        return waiting
    known = await settle_draft(draft, now=now, uow=uow)
    if is_to_be_held(draft, known.profile):
        await accrue_usage(draft, known.settled.lines, now=now, uow=uow)
        part = held(totalled(draft, known.settled), now=now)
        uow.invoices.save(part)
        return part
    if known.owes and not by_run and await _requires_run(draft, uow):
        draft = replace(draft, held_for="billing_run")
    draft = with_grace(draft, known.seller, known.profile)
    money, balance, calendar = MoneyCredits(nothing), nothing, None
    if known.seller is not None and not waits_at(draft, now):
        settled = known.settled
        money = await money_credits_for(draft, settled.lines, settled.total, now=now, uow=uow)
        balance = await _balance_of(draft, uow)
        if known.seller.due_day_rule == "next_business_day":
            calendar = await uow.business_days.of(known.seller.country, around=local_date(now, draft.zone))
    outcome = decide_finalization(
        draft,
        known.settled,
        owes=known.owes,
        seller=known.seller,
        profile=known.profile,
        means=Means(money.amount, balance),
        now=now,
        calendar=calendar,
    )
    if isinstance(outcome, Waiting) and known.seller is not None:
        await accrue_usage(draft, known.settled.lines, now=now, uow=uow)
    if isinstance(outcome, Finalized):
        await reverse_accruals(outcome.invoice, outcome.lines, now=now, uow=uow)
        _issue(outcome, now=now, uow=uow)
        if outcome.invoice.discounts:
            await use_coupons(outcome.invoice, now=now, uow=uow)
        if known.units.prepaid or outcome.invoice.credits_applied.amount_minor:
            await draw_credits(outcome.invoice, known.units, money, now=now, uow=uow)
        await credit_top_up(outcome.invoice, now=now, uow=uow)
        if outcome.invoice.status == "paid":
            await when_paid(outcome.invoice, now=now, uow=uow)
        elif outcome.invoice.waits_for_transfer:
            await start_dunning(outcome.invoice, now=now, uow=uow, is_new=True)
    else:
        uow.invoices.save(outcome.invoice)
    if isinstance(outcome, Skipped):
        uow.record("invoice.skipped", outcome.invoice.id, outcome.invoice.version)
    return outcome.invoice


async def _requires_run(draft: Invoice, uow: UnitOfWork) -> bool:
    """Whether the tenant wants documents of a boundary to be finalized by billing runs alone."""
    if draft.document_kind != "invoice" or draft.held_for is not None or draft.replaces_id is not None:
        return False
    return (await uow.billing_runs.settings()).requires_run


async def _seller_of(profile: BillingProfile | None, uow: UnitOfWork) -> Seller | None:
    """Who issues the customer's documents: the seller that was agreed on, or the tenant's default one."""
    if profile is not None and profile.seller_id is not None:
        return await uow.sellers.find(profile.seller_id)
    return await uow.sellers.find_default()


async def _balance_of(draft: Invoice, uow: UnitOfWork) -> Money:
    balance = await uow.customer_balances.find_for_update(draft.customer_id, draft.currency)
    return Money.zero(draft.currency) if balance is None else balance.amount


def _issue(outcome: Finalized, *, now: datetime, uow: UnitOfWork) -> None:
    invoice = outcome.invoice
    trace = current_traceparent() or invoice.traceparent
    is_paid = invoice.status == "paid"
    uow.invoices.finalize(outcome)
    if invoice.document_kind != "deposit":
        uow.ledger.post(
            postings_for_invoice(
                invoice.id,
                lines=[earned_line_of(line) for line in outcome.lines],
                tax=invoice.tax,
                total=invoice.total,
                at=now,
                zone=invoice.zone,
            )
        )
    uow.record("invoice.finalized", invoice.id, invoice.version - is_paid)
    queue_issued_mail(invoice, now=now, uow=uow)
    if invoice.balance_applied.amount_minor:
        _move_balance(invoice, now=now, trace=trace, uow=uow)
    if is_paid:
        uow.record("invoice.paid", invoice.id, invoice.version)
        return
    if invoice.waits_for_transfer:
        return  # nobody is asked; dunning counts its days
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
    move_balance(
        BalanceMovement(
            customer_id=invoice.customer_id,
            amount=-applied,
            kind="applied" if applied.amount_minor > 0 else "credit",
            occurred_at=now,
            actor=uow.actor,
            invoice_id=invoice.id,
            clock_id=invoice.clock_id,
            traceparent=trace,
        ),
        uow=uow,
    )
    uow.ledger.post(
        postings_for_balance_applied(
            invoice.id, applied, at=now, zone=invoice.zone, settles=owed_on(invoice.document_kind)
        )
    )
