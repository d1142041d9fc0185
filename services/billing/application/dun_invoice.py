"""Dun an invoice that is not paid: begin, go on step by step, begin again when its money was taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from libs.common.periods import local_date
from libs.common.telemetry import current_traceparent
from services.billing.application import events
from services.billing.application.ports import UnitOfWork
from services.billing.application.queue_mail import queue_invoice_mail
from services.billing.application.write_off_invoice import WriteOffInvoice, write_off_invoice
from services.billing.domain import dunning as rules
from services.billing.domain.dunning import Dunning, DunningStep, StepKind
from services.billing.domain.dunning_terms import STANDARD_RETRY_DAYS
from services.billing.domain.invoice import Invoice
from services.billing.domain.mail import MailKind
from services.billing.domain.payment import PaymentAttempt

ENDED = "dunning_ended"
ASK_AGAIN = timedelta(hours=1)

_MAILS: Mapping[StepKind, MailKind] = {
    "reminder": "dunning_reminder",
    "final_reminder": "dunning_final_reminder",
    "suspend": "dunning_suspended",
    "end": "dunning_ended",
}


async def start_dunning(
    invoice: Invoice,
    *,
    now: datetime,
    uow: UnitOfWork,
    retry_days: Sequence[int] = STANDARD_RETRY_DAYS,
    is_collected: bool = False,
    is_new: bool = False,
) -> Dunning:
    """Begin with an issued invoice, which is locked: one that nobody tries to collect, or whose first try failed.

    It follows the schedules of its agreements as they are known now, and keeps them. A repeat changes nothing. Where the
    invoice `is_new`, nobody looks for what cannot be there.
    """
    known = None if is_new else await uow.dunnings.find_of_invoice(invoice.id)
    if known is not None:
        return known
    terms = await uow.dunnings.terms_of(invoice.about)
    begun = rules.start(
        invoice,
        terms.items(),
        retry_days=retry_days,
        is_collected=is_collected,
        now=now,
        traceparent=invoice.traceparent or current_traceparent(),
    )
    uow.dunnings.add(begun)
    uow.record("dunning.started", begun.id, begun.version)
    return begun


async def dun_again(invoice: Invoice, *, now: datetime, uow: UnitOfWork) -> Dunning:
    """The money of a paid invoice, which is locked, was taken back: another round begins, in which nothing is retried."""
    known = await uow.dunnings.find_of_invoice(invoice.id)
    if known is None:
        return await start_dunning(invoice, now=now, uow=uow)
    if known.reopened_count >= invoice.reopened_count:
        return known
    again = rules.start_again(known, reopened_count=invoice.reopened_count, now=now)
    uow.dunnings.save(again)
    uow.record("dunning.started_again", again.id, again.version)
    return again


def hold_retry(dunning: Dunning, further: PaymentAttempt, *, uow: UnitOfWork) -> PaymentAttempt:
    """The further try as it is to be kept: during a pause it waits for the end of that."""
    if dunning.state != "paused":
        return further
    uow.dunnings.save(replace(dunning, retry_held_at=further.due_at, version=dunning.version + 1))
    return replace(further, due_at=None)


async def end_retries(
    dunning: Dunning, invoice: Invoice, *, now: datetime, uow: UnitOfWork, traceparent: str | None
) -> None:
    """The last try of the schedule has failed: what was to follow then does.

    Emits: what `advance_dunning` does.
    """
    over = rules.retries_ended(dunning, now=now)
    await _advance(over, invoice, now=now, uow=uow, traceparent=traceparent)


async def advance_dunning(dunning_id: str, *, now: datetime, uow: UnitOfWork) -> None:
    """Take the steps that are due of an invoice, which is locked. Where nothing is due of it any more, none is taken.

    A repeat finds nothing due.
    Emits: DunningStepTaken; InvoiceMarkedUncollectible where what is due is written off at the end.
    """
    dunning = await uow.dunnings.find_for_update(dunning_id)
    if dunning is None or dunning.due_at is None or dunning.due_at > now:
        return
    invoice = await uow.invoices.get_for_update(dunning.invoice_id)
    if dunning.state == "paused" and is_owed(invoice):
        dunning = await resume_tries(dunning, now=now, uow=uow)
    await _advance(dunning, invoice, now=now, uow=uow)


def is_owed(invoice: Invoice) -> bool:
    """Whether there is anything to be dunned: it is issued, and something of it is due."""
    return invoice.status == "finalized" and invoice.due.amount_minor > 0


async def resume_tries(dunning: Dunning, *, now: datetime, uow: UnitOfWork) -> Dunning:
    """The dunning after its pause, with the try that this held back due when it would have been, so much later."""
    retry_at = rules.resumed_retry_at(dunning, now=now)
    resumed = rules.resume(dunning, now=now)
    last = await uow.payment_attempts.last_of_invoice(dunning.invoice_id)
    if last is not None and last.state == "pending" and last.due_at is None:
        uow.payment_attempts.save(replace(last, due_at=retry_at or now, version=last.version + 1))
    uow.dunnings.save(resumed)
    uow.record("dunning.resumed", resumed.id, resumed.version)
    return resumed


async def _advance(
    dunning: Dunning, invoice: Invoice, *, now: datetime, uow: UnitOfWork, traceparent: str | None = None
) -> None:
    if not is_owed(invoice):
        uow.dunnings.save(rules.come_to_rest(dunning))
        return
    waits_until = await _outcome_awaited(dunning, now=now, uow=uow)
    if waits_until is not None:
        uow.dunnings.save(rules.wait_until(dunning, waits_until))
        return
    after, taken = rules.take_due(dunning, now=now)
    uow.dunnings.save(after)
    for step in taken:
        await _tell(step, after, invoice, now=now, uow=uow, traceparent=traceparent)
    if any(step.kind == "end" for step in taken) and not after.ahead:
        await _give_up(after, invoice, now=now, uow=uow)


async def _outcome_awaited(dunning: Dunning, *, now: datetime, uow: UnitOfWork) -> datetime | None:
    """An end waits for the outcome of a try that is under way: nobody's agreement ends over money that is coming."""
    following = dunning.next_step
    if dunning.state == "paused" or following is None or following.at is None or following.at > now:
        return None
    if not any(step.kind == "end" and step.at is not None and step.at <= now for step in dunning.ahead):
        return None
    last = await uow.payment_attempts.last_of_invoice(dunning.invoice_id)
    if last is None or not last.was_called:
        return None
    return last.due_at if last.due_at is not None and last.due_at > now else now + ASK_AGAIN


async def _tell(
    step: DunningStep,
    dunning: Dunning,
    invoice: Invoice,
    *,
    now: datetime,
    uow: UnitOfWork,
    traceparent: str | None,
) -> None:
    told = events.dunning_step_taken(step, dunning, invoice, occurred_at=now, tenant=uow.tenant)
    trace = traceparent or current_traceparent() or dunning.traceparent
    uow.outbox.append(told, key=invoice.id, traceparent=trace)
    uow.record(f"dunning.{step.kind}", dunning.id, dunning.version)
    kind = _MAILS.get(step.kind)
    if kind is not None:
        details = {
            "step_number": step.number,
            "days_overdue": told.days_overdue,
            "next_kind": told.next_step if told.next_step in ("suspend", "end") else None,
            "next_on": local_date(told.next_step_at, dunning.zone).isoformat() if told.next_step_at else None,
        }
        fact = f"{dunning.id}:{dunning.reopened_count}:{step.kind}:{step.number}"
        await queue_invoice_mail(kind, invoice, now=now, uow=uow, fact=fact, details=details)


async def _give_up(dunning: Dunning, invoice: Invoice, *, now: datetime, uow: UnitOfWork) -> None:
    """Nothing lies ahead: no try is made any more, and the debt is written off where the plans say so."""
    if dunning.writes_off and invoice.document_kind != "deposit":
        command = WriteOffInvoice(invoice.id, "not paid by the end of its dunning", now)
        await write_off_invoice(command, uow=uow, check_version=_any_version)
        return
    last = await uow.payment_attempts.last_of_invoice(invoice.id)
    if last is not None and last.state == "pending":
        over = replace(
            last, state="canceled", reason=ENDED, due_at=None, ended_at=now, version=last.version + 1
        )
        uow.payment_attempts.save(over)


def _any_version(version: int) -> None:
    """Nobody asked for a version."""
