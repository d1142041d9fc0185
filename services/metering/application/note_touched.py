"""Note whose balance is to be said again and whose alerts may fire, in the transaction that changed usage.

Ingest does it after its commit, off its path; whatever is not as hot does it here, and nothing is lost with a process.
"""

from __future__ import annotations

from services.metering.application.ports import UnitOfWork
from services.metering.domain.aggregation import TouchedSubjects


async def note_touched(touched: TouchedSubjects, *, uow: UnitOfWork) -> None:
    await uow.balances.note_touched(touched)
    await uow.alerts.note(await uow.alerts.find_touched(touched))
