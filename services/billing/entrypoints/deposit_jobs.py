"""What is due of deposits: authorisations whose time is over."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.clock import Clock
from libs.common.messaging.due import DueJob, DueRow, Job
from libs.common.persistence.unit_of_work import UnitsOfWork
from services.billing.adapters.credit_note_rows import deposit
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.settle_deposit import expire_deposit


def deposit_jobs(*, units: UnitsOfWork[BillingUnitOfWork], clock: Clock) -> list[Job]:
    """One job."""
    return [
        DueJob("expire_deposits", service="billing", table=deposit, units=units, clock=clock, work=expire_due)
    ]


async def expire_due(due: Sequence[DueRow], uow: BillingUnitOfWork) -> None:
    """At the instant at which it expires, or as soon after as anybody looks."""
    await uow.deposits.load_for_update(row.id for row in due)
    for row in due:
        await expire_deposit(row.id, now=row.now, uow=uow)
