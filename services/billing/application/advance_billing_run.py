"""One step of a billing run: its documents are found, then counted, then finalized; between, it may stop for a person."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from services.billing.application import events
from services.billing.application.ports import UnitOfWork
from services.billing.domain.billing_run import BillingRun, counted, finished

DOCUMENTS_AT_ONCE_MAX = 500


@dataclass(frozen=True, slots=True)
class AdvanceBillingRun:
    """`now` is the wall's."""

    run_id: str
    now: datetime


async def advance_billing_run(command: AdvanceBillingRun, *, uow: UnitOfWork) -> BillingRun:
    """Do what can be done now. A run that was killed goes on where it stood, since each step is committed.

    Documents are found in batches; counting and finalizing them is work of their own, which looks at the run again.
    Emits: BillingRunChanged, when it stops for approval and when it is finished.
    Raises: BillingRunNotFound.
    """
    run, now = await uow.billing_runs.get_for_update(command.run_id), command.now
    if not run.is_under_way or run.state == "awaiting_approval":
        return _save(replace(run, due_at=None), uow)
    if not run.is_gathered:
        found = await uow.billing_runs.gather(run, most=DOCUMENTS_AT_ONCE_MAX, now=now)
        return _save(replace(run, is_gathered=found < DOCUMENTS_AT_ONCE_MAX, due_at=now), uow)
    progress = (await uow.billing_runs.progress([run.id]))[run.id]
    if progress.get("counting") or progress.get("finalizing"):
        return _save(replace(run, due_at=None), uow)
    if run.state == "counting":
        totals = await uow.billing_runs.totals(run.id, ["counted"])
        last = await uow.billing_runs.last_finished()
        run = counted(run, totals, last=last, settings=await uow.billing_runs.settings(), now=now)
        if run.state == "running":
            await uow.billing_runs.finalize_documents(run.id, now=now)
            run = replace(run, due_at=None if run.invoice_count else now)
        return _tell(run, now, uow)
    totals = await uow.billing_runs.totals(run.id, ["finalized"])
    return _tell(finished(run, totals, now=now), now, uow)


def _save(run: BillingRun, uow: UnitOfWork) -> BillingRun:
    uow.billing_runs.save(run)
    return run


def _tell(run: BillingRun, now: datetime, uow: UnitOfWork) -> BillingRun:
    uow.billing_runs.save(run)
    uow.record(f"billing_run.{run.state}", run.id, run.version)
    if run.state != "running":
        told = events.billing_run_changed(run, tenant=uow.tenant, now=now)
        uow.outbox.append(told, key=run.id, traceparent=run.traceparent)
    return run
