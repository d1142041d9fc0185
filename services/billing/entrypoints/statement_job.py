"""Entries of bank statements that nobody has looked at yet."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.clock import Clock
from libs.common.messaging.due import DueJob, DueRow, Job
from libs.common.persistence.unit_of_work import UnitsOfWork
from services.billing.adapters.statement_rows import bank_statement_entry
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.match_statement_entries import match_statement_entries


def statement_job(units: UnitsOfWork[BillingUnitOfWork], clock: Clock) -> Job:
    return DueJob(
        "match_statement_entries",
        service="billing",
        table=bank_statement_entry,
        units=units,
        clock=clock,
        work=match_due,
    )


async def match_due(due: Sequence[DueRow], uow: BillingUnitOfWork) -> None:
    """By the wall: no bank lives by a test clock."""
    await match_statement_entries([row.id for row in due], now=due[0].now, uow=uow)
