"""Whose balance is to be said again, gathered from what was stored and noted a moment after, off the path of usage.

A note comes after its usage has been committed: whoever says the balance then counts it. What a process had not
noted when it was killed is found by the next one, which begins by noting all that was ever said.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg

from libs.common.messaging.alarm import Alarm
from libs.common.persistence.outage import is_lost_race, is_outage
from libs.common.persistence.session import Database
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.stopping import Stopping
from libs.common.telemetry import service_scope
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.adapters.usage_balances import note_all
from services.metering.domain.aggregation import TouchedSubjects

log = logging.getLogger(__name__)

ACTOR = "note:usage-balances"
EVERY_S = 0.5
SUBJECTS_MAX = 5_000  # in one statement
OUTAGE_PAUSE_S = 2.0


class BalanceNotes:
    """At most one statement each half second and tenant, however many commits there were. `wake`: who says them."""

    def __init__(
        self,
        units: UnitsOfWork[MeteringUnitOfWork],
        *,
        service: str,
        wake: Sequence[Alarm] = (),
        every_s: float = EVERY_S,
    ) -> None:
        self._units, self._service, self._wake, self._every_s = units, service, wake, every_s
        self._touched: dict[str, TouchedSubjects] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, touched: Iterable[tuple[str, TouchedSubjects]]) -> None:
        """What a transaction that has committed had touched, by tenant."""
        for tenant, news in touched:
            self._keep(tenant, news)
        if self._touched and self._task is None:
            self._task = asyncio.create_task(self._note_until_done(), context=contextvars.Context())

    def _keep(self, tenant: str, news: TouchedSubjects) -> None:
        known = self._touched.get(tenant)
        self._touched[tenant] = news if known is None else _both(known, news)

    async def close(self) -> None:
        """Note what is left, at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._note_if_possible()

    async def _note_until_done(self) -> None:
        with service_scope(self._service):
            while self._touched:
                await asyncio.sleep(self._every_s)
                if not await self._note_if_possible():
                    await asyncio.sleep(OUTAGE_PAUSE_S)
        self._task = None

    async def _note_if_possible(self) -> bool:
        try:
            await self._note()
        except Exception as error:
            if not is_outage(error):
                log.exception("balances could not be noted")
            return False
        return True

    async def _note(self) -> None:
        """What could not be noted for now is kept for the next time. Raises: what it failed with."""
        for tenant in list(self._touched):
            touched = self._touched.pop(tenant)
            try:
                async with self._units.open(tenant, ACTOR) as uow:
                    for part in _parts(touched):
                        await uow.balances.note_touched(part)
            except BaseException as error:
                if not isinstance(error, Exception) or is_outage(error) or is_lost_race(error):
                    self._keep(tenant, touched)
                raise
        for alarm in self._wake:
            alarm.ring()


def _both(one: TouchedSubjects, other: TouchedSubjects) -> TouchedSubjects:
    return TouchedSubjects(
        one.subjects | other.subjects, min(one.start, other.start), max(one.end, other.end)
    )


def _parts(touched: TouchedSubjects) -> Sequence[TouchedSubjects]:
    subjects: list[Any] = sorted(touched.subjects)
    return [
        touched._replace(subjects=frozenset(subjects[first : first + SUBJECTS_MAX]))
        for first in range(0, len(subjects), SUBJECTS_MAX)
    ]


async def note_all_at_start(database: Database, stopping: Stopping) -> None:
    """Note what a process that was killed had not noted, and end when this one does."""
    while not stopping.is_set():
        try:
            await note_all(database)
            break
        except Exception as error:
            if not (is_outage(error) or _is_to_be_migrated(error)):
                raise
            await stopping.pause(OUTAGE_PAUSE_S)
    await stopping.wait()


def _is_to_be_migrated(error: BaseException) -> bool:
    """A process may be up before the database is as new as it is."""
    return isinstance(error, asyncpg.UndefinedFunctionError | asyncpg.UndefinedTableError)
