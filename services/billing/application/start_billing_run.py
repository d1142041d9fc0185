"""Ask for everything that is due up to an instant to be finalized, or only counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.ids import new_id
from libs.common.telemetry import current_traceparent
from services.billing.application.ports import UnitOfWork
from services.billing.domain.billing_run import BillingRun


@dataclass(frozen=True, slots=True)
class StartBillingRun:
    """`until` is business time, of each document by its own clock. With `is_dry` nothing is finalized."""

    until: datetime
    is_dry: bool


async def start_billing_run(command: StartBillingRun, *, now: datetime, uow: UnitOfWork) -> BillingRun:
    """The scheduler takes it up at once. `now` is the wall's."""
    run = BillingRun(
        id=new_id("run"),
        until=command.until,
        is_dry=command.is_dry,
        state="counting",
        requested_by=uow.actor,
        created_at=now,
        due_at=now,
        traceparent=current_traceparent(),
    )
    uow.billing_runs.add(run)
    uow.record("billing_run.requested", run.id)
    return run
