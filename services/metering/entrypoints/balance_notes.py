"""Whose balance is to be said again, and whose alerts may fire: a moment after usage was stored, off its path.

A note comes after its usage has been committed: whoever says the balance then counts it. Alerts are looked at here and
now, since they have a second. What a process had not noted when it was killed is found by the next one, which begins
by noting all balances that were ever said, and all alerts.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg

from libs.common.clock import Clock
from libs.common.messaging.alarm import Alarm
from libs.common.persistence.outage import is_lost_race, is_outage
from libs.common.persistence.session import Database
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.stopping import Stopping
from libs.common.telemetry import service_scope
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.adapters.usage_alerts import look_at_all
from services.metering.adapters.usage_balances import note_all
from services.metering.application.fire_usage_alerts import FireUsageAlerts, fire_usage_alerts
from services.metering.domain.aggregation import TouchedSubjects

log = logging.getLogger(__name__)

ACTOR = "note:usage-balances"
WATCHER = "watch:usage-alerts"
EVERY_S = 0.5
SUBJECTS_MAX = 5_000  # in one statement
ALERTS_MAX = 200  # looked at in one transaction; the others are left to the scheduler
OUTAGE_PAUSE_S = 2.0


class BalanceNotes:
    """At most one statement each half second and tenant, however many commits there were. `wake`: who says them.

    Alerts are looked at twice as often, but for tenants that are known to have none.
    """

    def __init__(
        self,
        units: UnitsOfWork[MeteringUnitOfWork],
        *,
        service: str,
        clock: Clock,
        wake: Sequence[Alarm] = (),
        every_s: float = EVERY_S,
    ) -> None:
        self._units, self._service, self._clock = units, service, clock
        self._wake, self._every_s = wake, every_s
        self._touched: dict[str, TouchedSubjects] = {}
        self._unwatched: dict[str, TouchedSubjects] = {}  # whose alerts have not been looked at yet
        self._without_alerts: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, touched: Iterable[tuple[str, TouchedSubjects]]) -> None:
        """What a transaction that has committed had touched, by tenant."""
        for tenant, news in touched:
            _keep(self._touched, tenant, news)
            _keep(self._unwatched, tenant, news)
        if self._touched and self._task is None:
            self._task = asyncio.create_task(self._note_until_done(), context=contextvars.Context())

    async def close(self) -> None:
        """Note what is left, at once."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._do(self._watch, sorted(self._unwatched))
        await self._do(self._note, sorted(self._touched))

    async def _note_until_done(self) -> None:
        with service_scope(self._service):
            while self._touched or self._unwatched:
                await asyncio.sleep(self._every_s / 2)
                possible = await self._do(self._watch, sorted(self._unwatched.keys() - self._without_alerts))
                await asyncio.sleep(self._every_s / 2)
                possible &= await self._do(self._watch, sorted(self._unwatched))
                possible &= await self._do(self._note, sorted(self._touched))
                if not possible:
                    await asyncio.sleep(OUTAGE_PAUSE_S)
        self._task = None

    async def _do(self, work: Callable[[str], Awaitable[None]], tenants: Sequence[str]) -> bool:
        try:
            for tenant in tenants:
                await work(tenant)
        except Exception as error:
            if not is_outage(error):
                log.exception("what usage brings about could not be done")
            return False
        return True

    async def _note(self, tenant: str) -> None:
        """What could not be noted for now is kept for the next time. Raises: what it failed with."""
        touched = self._touched.pop(tenant)
        with _keeping(self._touched, tenant, touched):
            async with self._units.open(tenant, ACTOR) as uow:
                for part in _parts(touched):
                    await uow.balances.note_touched(part)
        for alarm in self._wake:
            alarm.ring()

    async def _watch(self, tenant: str) -> None:
        """Fire what has come to a mark of an alert. Raises: what it failed with."""
        touched = self._unwatched.pop(tenant)
        with _keeping(self._unwatched, tenant, touched):
            async with self._units.open(tenant, WATCHER) as uow:
                if not await uow.alerts.any():
                    self._without_alerts.add(tenant)
                    return
                self._without_alerts.discard(tenant)
                found = sorted({id for part in _parts(touched) for id in await uow.alerts.find_touched(part)})
                if not found:
                    return
                await uow.alerts.note(found[ALERTS_MAX:])
                alerts = await uow.alerts.load(found[:ALERTS_MAX])
                await fire_usage_alerts(FireUsageAlerts(alerts), uow=uow, clock=self._clock)


def _keep(kept: dict[str, TouchedSubjects], tenant: str, news: TouchedSubjects) -> None:
    known = kept.get(tenant)
    kept[tenant] = news if known is None else _both(known, news)


@contextmanager
def _keeping(kept: dict[str, TouchedSubjects], tenant: str, touched: TouchedSubjects) -> Iterator[None]:
    """What an outage or a lost race has stopped, or whoever stops us, is done the next time."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) or is_outage(error) or is_lost_race(error):
            _keep(kept, tenant, touched)
        raise


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
            await look_at_all(database)
            break
        except Exception as error:
            if not (is_outage(error) or _is_to_be_migrated(error)):
                raise
            await stopping.pause(OUTAGE_PAUSE_S)
    await stopping.wait()


def _is_to_be_migrated(error: BaseException) -> bool:
    """A process may be up before the database is as new as it is."""
    return isinstance(error, asyncpg.UndefinedFunctionError | asyncpg.UndefinedTableError)
