"""Give back what a finalized invoice billed: off what is still due, to the balance, or as money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from libs.common.ids import new_id
from libs.common.money import Money, total
from libs.common.periods import local_date
from libs.common.telemetry import current_traceparent
from services.billing.application import events
from services.billing.application.move_balance import move_balance
from services.billing.application.ports import UnitOfWork
from services.billing.application.queue_mail import queue_invoice_mail
from services.billing.application.request_refund import request_refund
from services.billing.application.when_paid import when_paid
from services.billing.domain.credit_note import (
    CreditNote,
    Settled,
    Split,
    WantedCredit,
    check_creditable,
    check_split,
    credited,
    make_credit_note,
    usual_split,
    with_credit,
)
from services.billing.domain.credited_amounts import billed, taken_back
from services.billing.domain.customer_balance import BalanceMovement
from services.billing.domain.invoice import Invoice
from services.billing.domain.invoice_line import InvoiceLine
from services.billing.domain.invoice_standing import settled
from services.billing.domain.payment import lessened
from services.billing.domain.postings_of_credit_notes import CreditedPart, postings_for_credit_note
from services.billing.domain.refund import Refund
from services.billing.domain.revenue_schedule import earned_line_of


@dataclass(frozen=True, slots=True)
class IssueCreditNote:
    """`now` is the invoice's business now. Without a `split`, what is still due comes first, then `rest_to`."""

    invoice_id: str
    wanted: WantedCredit
    reason: str
    now: datetime
    split: Split | None = None
    rest_to: Literal["balance", "refund"] = "balance"


@dataclass(frozen=True, slots=True)
class _Decided:
    note: CreditNote
    lines: Sequence[InvoiceLine]
    earlier: Sequence[CreditNote]


async def preview_credit_note(command: IssueCreditNote, *, uow: UnitOfWork) -> CreditNote:
    """The note as it would be, without a number; nothing is kept.

    Raises: as `issue_credit_note`.
    """
    invoice = await uow.invoices.get(command.invoice_id)
    return (await _decide(invoice, command, uow)).note


async def issue_credit_note(command: IssueCreditNote, *, uow: UnitOfWork) -> CreditNote:
    """Credit an invoice, which is locked until this is over: two notes never give back the same thing.

    A payment that waits asks for what is left; of one that is under way, what comes beyond it goes to the balance later.
    Emits: CreditNoteIssued, with the number, in the same transaction; InvoicePaid where nothing is due any more;
    RefundRequested, CustomerBalanceChanged.
    Raises: InvoiceNotFound, InvoiceNotCreditable, CreditBeyondBilled, NothingToCredit, NoSuchLine, CreditSplitWrong,
    CurrencyMismatch.
    """
    invoice = await uow.invoices.get_for_update(command.invoice_id)
    decided = await _decide(invoice, command, uow)
    note, now = decided.note, command.now
    uow.credit_notes.add(note)
    uow.record("credit_note.issued", note.id)
    await queue_invoice_mail("credit_note", invoice, now=now, uow=uow, fact=note.id, credit_note_id=note.id)
    after = settled(with_credit(invoice, note.to_invoice), now=now)
    uow.invoices.save(after)
    uow.record("invoice.credited", after.id, after.version)
    if note.to_invoice.amount_minor:
        await lessen_attempt(after, reason="credited", now=now, uow=uow)
    if note.to_balance.amount_minor:
        _give_to_balance(note, uow)
    if note.to_refund.amount_minor:
        await request_refund(
            Refund(
                id=new_id("rfd"),
                customer_id=note.customer_id,
                amount=note.to_refund,
                state="pending",
                reason=note.reason,
                created_at=now,
                credit_note_id=note.id,
                invoice_id=note.invoice_id,
                clock_id=note.clock_id,
            ),
            uow=uow,
        )
    _post(invoice, decided, now=now, uow=uow)
    if after.status != invoice.status:
        paid = events.invoice_paid(after, tenant=uow.tenant)
        uow.outbox.append(paid, key=after.id, traceparent=note.traceparent)
        uow.record("invoice.paid", after.id, after.version)
        await when_paid(after, now=now, uow=uow)
    return note


async def lessen_attempt(invoice: Invoice, *, reason: str, now: datetime, uow: UnitOfWork) -> None:
    """Let a payment that waits ask for what is due by now, or for nothing at all."""
    attempt = await uow.payment_attempts.last_of_invoice(invoice.id)
    if attempt is not None and attempt.state == "pending":
        due = invoice.due if invoice.status == "finalized" else Money.zero(invoice.currency)
        uow.payment_attempts.save(lessened(attempt, due, reason=reason, now=now))


async def _decide(invoice: Invoice, command: IssueCreditNote, uow: UnitOfWork) -> _Decided:
    check_creditable(invoice)
    lines = await uow.credit_notes.lines_billed(invoice.id)
    earlier = await uow.credit_notes.of_invoice(invoice.id)
    given = billed(lines, invoice.taxes, invoice.currency)
    corrected = taken_back(given, await uow.credit_notes.taken_back(invoice.id))
    found = credited(given, [*(note.credited for note in earlier), corrected], command.wanted)
    standing = await _standing(invoice, earlier, uow)
    split = command.split
    if split is None:
        split = usual_split(found.total, standing, rest_to=command.rest_to)
    check_split(split, found.total, standing)
    note = make_credit_note(
        invoice,
        {line.id: line for line in lines},
        found,
        split,
        id=new_id("crn"),
        reason=command.reason,
        now=command.now,
        traceparent=current_traceparent(),
    )
    return _Decided(note, lines, earlier)


async def _standing(invoice: Invoice, earlier: Sequence[CreditNote], uow: UnitOfWork) -> Settled:
    currency = invoice.currency
    return Settled(
        due=invoice.due if invoice.status == "finalized" else Money.zero(currency),
        paid=invoice.paid,
        settled=invoice.paid + invoice.balance_applied + invoice.credits_applied,
        given_back=total((note.to_balance + note.to_refund for note in earlier), currency),
        refunded=await uow.refunds.of_invoice(invoice.id, currency),
    )


def _give_to_balance(note: CreditNote, uow: UnitOfWork) -> None:
    move_balance(
        BalanceMovement(
            customer_id=note.customer_id,
            amount=note.to_balance,
            kind="credit_note",
            occurred_at=note.issued_at,
            actor=uow.actor,
            clock_id=note.clock_id,
            traceparent=note.traceparent,
            credit_note_id=note.id,
        ),
        uow=uow,
    )


def _post(invoice: Invoice, decided: _Decided, *, now: datetime, uow: UnitOfWork) -> None:
    note = decided.note
    assert invoice.issued_at is not None, "what is credited was issued"
    before: dict[str, Money] = {}
    for earlier in decided.earlier:
        for line in earlier.lines:
            id = line.invoice_line_id
            before[id] = before.get(id, Money.zero(note.currency)) + line.net
    by_id = {line.id: line for line in decided.lines}
    uow.ledger.post(
        postings_for_credit_note(
            note.id,
            invoice.id,
            invoiced_on=local_date(invoice.issued_at, invoice.zone),
            lines=[
                CreditedPart(
                    earned_line_of(by_id[line.invoice_line_id]),
                    credit=line.net,
                    before=before.get(line.invoice_line_id, Money.zero(note.currency)),
                )
                for line in note.lines
            ],
            tax=note.tax,
            to_invoice=note.to_invoice,
            to_balance=note.to_balance,
            to_refund=note.to_refund,
            at=now,
            zone=invoice.zone,
        )
    )
