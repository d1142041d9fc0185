"""A person's word on the dunning of one invoice: not now, go on, not this step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from libs.common.errors import RuleViolation
from services.billing.application.dun_invoice import is_owed, resume_tries
from services.billing.application.ports import UnitOfWork
from services.billing.application.void_invoice import CheckVersion
from services.billing.domain import dunning as rules
from services.billing.domain.dunning import (
    Dunning,
    DunningNotFound,
    DunningOver,
    DunningStepNotAhead,
    StepKind,
)


class PauseInThePast(RuleViolation):
    code = "dunning_pause_in_the_past"
    title = "A pause that is over before it begins"


@dataclass(frozen=True, slots=True)
class PauseDunning:
    """`until` of None: until somebody resumes it. `now` is the invoice's business now."""

    invoice_id: str
    reason: str
    until: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True)
class ResumeDunning:
    invoice_id: str
    now: datetime


@dataclass(frozen=True, slots=True)
class SkipStep:
    """The `number`-th step of its kind, of the round that is under way."""

    invoice_id: str
    kind: StepKind
    number: int
    reason: str
    now: datetime


async def pause_dunning(command: PauseDunning, *, uow: UnitOfWork, check_version: CheckVersion) -> Dunning:
    """Nothing is tried, nobody reminded, suspended or ended; a try that is under way is left to come out.

    Raises: InvoiceNotFound, DunningNotFound, DunningOver, DunningPaused, PauseInThePast.
    """
    known = await _owed(command.invoice_id, uow, check_version)
    if command.until is not None and command.until <= command.now:
        raise PauseInThePast(
            "the pause would be over already",
            pointer="/until",
            now=command.now,
            remedy="Give a later instant, or none, to pause it until it is resumed.",
        )
    last = await uow.payment_attempts.last_of_invoice(command.invoice_id)
    waiting = last if last is not None and last.state == "pending" else None
    paused = rules.pause(
        known,
        until=command.until,
        actor=uow.actor,
        reason=command.reason,
        retry_at=waiting.due_at if waiting is not None else None,
        now=command.now,
    )
    if waiting is not None:
        uow.payment_attempts.save(replace(waiting, due_at=None, version=waiting.version + 1))
    uow.dunnings.save(paused)
    uow.record("dunning.paused", paused.id, paused.version)
    return paused


async def resume_dunning(command: ResumeDunning, *, uow: UnitOfWork, check_version: CheckVersion) -> Dunning:
    """What lies ahead comes later by the days that the pause lasted, and so does the try that it held back.

    Raises: InvoiceNotFound, DunningNotFound, DunningOver, DunningNotPaused.
    """
    known = await _owed(command.invoice_id, uow, check_version)
    return await resume_tries(known, now=command.now, uow=uow)


async def skip_step(command: SkipStep, *, uow: UnitOfWork, check_version: CheckVersion) -> Dunning:
    """Let one step pass that lies ahead: it is not taken, and the others stay where they are.

    Raises: InvoiceNotFound, DunningNotFound, DunningOver, DunningStepNotAhead.
    """
    known = await _owed(command.invoice_id, uow, check_version)
    wanted = (command.kind, command.number)
    step = next((step for step in known.ahead if (step.kind, step.number) == wanted), None)
    if step is None:
        raise DunningStepNotAhead(
            "no such step lies ahead",
            ahead=[f"{step.kind} {step.number}" for step in known.ahead],
            remedy="Name one of those that lie ahead.",
        )
    skipped = rules.skip(known, step, actor=uow.actor, reason=command.reason, now=command.now)
    uow.dunnings.save(skipped)
    uow.record("dunning.step_skipped", skipped.id, skipped.version)
    return skipped


async def _owed(invoice_id: str, uow: UnitOfWork, check_version: CheckVersion) -> Dunning:
    """Locked, the invoice before it."""
    invoice = await uow.invoices.get_for_update(invoice_id)
    known = await uow.dunnings.find_of_invoice(invoice.id)
    if known is None:
        raise DunningNotFound(
            "nothing was ever overdue of the invoice",
            remedy="It begins when a payment fails, or is due by then.",
        )
    check_version(known.version)
    if not is_owed(invoice):
        raise DunningOver(f"nothing is due of the invoice: it is {invoice.status}")
    return known
