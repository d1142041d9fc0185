"""A person's word on a billing run that stopped for approval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from services.billing.application import events
from services.billing.application.ports import UnitOfWork
from services.billing.domain.billing_run import BillingRun, approved, rejected


@dataclass(frozen=True, slots=True)
class DecideBillingRun:
    run_id: str
    is_approved: bool
    reason: str | None = None


async def decide_billing_run(
    command: DecideBillingRun,
    *,
    now: datetime,
    uow: UnitOfWork,
    check_version: Callable[[int | None], None],
) -> BillingRun:
    """Approved, its documents are finalized; rejected, they wait for another run. `now` is the wall's.

    Emits: BillingRunChanged.
    Raises: BillingRunNotFound, BillingRunNotAwaitingApproval; what `check_version` raises.
    """
    run = await uow.billing_runs.get_for_update(command.run_id)
    check_version(run.version)
    decide = approved if command.is_approved else rejected
    run = decide(run, by=uow.actor, reason=command.reason, now=now)
    if command.is_approved:
        await uow.billing_runs.finalize_documents(run.id, now=now)
        run = replace(run, due_at=now)
    else:
        await uow.billing_runs.give_up_documents(run.id)
    uow.billing_runs.save(run)
    uow.record(f"billing_run.{'approved' if command.is_approved else 'rejected'}", run.id, run.version)
    told = events.billing_run_changed(run, tenant=uow.tenant, now=now)
    uow.outbox.append(told, key=run.id, traceparent=run.traceparent)
    return run
