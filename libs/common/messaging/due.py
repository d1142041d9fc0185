"""Scheduled work: find rows that are due, for all tenants, and do them many in one transaction."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Select, Table, and_, case, func, null, or_, select, update

from libs.common.clock import Clock
from libs.common.messaging.alarm import Alarm
from libs.common.persistence.outage import is_lost_race, is_outage
from libs.common.persistence.unit_of_work import UnitOfWork, UnitsOfWork
from libs.common.stopping import Stopping
from libs.common.telemetry import metrics, span

log = logging.getLogger(__name__)

U = TypeVar("U", bound=UnitOfWork)

BATCH_MAX = 500
RETRY_FIRST_S, RETRY_LAST_S = 2, 3600
RACES_MAX, RACE_PAUSE_S = 10, 0.01
ERROR_LENGTH_MAX = 2000

# As `DueJob._due` asks, without its locks.
_ANYTHING_DUE = """
    SELECT EXISTS (
        SELECT FROM {table} WHERE due_at <= $1 AND clock_id IS NULL AND (retry_at IS NULL OR retry_at <= $1)
    ) OR EXISTS (
        SELECT FROM {table} due JOIN known_clock clock ON clock.id = due.clock_id AND clock.tenant = due.tenant
        WHERE due.due_at <= clock.now AND (due.retry_at IS NULL OR due.retry_at <= $1)
    )
"""


@dataclass(frozen=True, slots=True)
class DueRow:
    """A row that is due. `now` is its business now: its test clock's, or the wall's."""

    tenant: str
    id: str
    now: datetime


@dataclass(frozen=True, slots=True)
class _Claimed:
    """`rested`: it may have failed before, since it was not to be looked at for a while."""

    row: DueRow
    rested: bool


class Job(Protocol):
    name: str

    async def run_once(self) -> int:
        """Do what is due now; returns how many rows were done (0: nothing was)."""
        ...


class DueJob(Generic[U]):
    """The due rows of one table, claimed by *finder* and worked on by *app*, tenant by tenant.

    A batch that fails is tried by halves until the guilty row stands alone: that one gets its attempts, its next
    try and its error, and so leaves the head of the queue.

    A row that was put off begins afresh once its work is committed. Not so (`forgets_failures=False`) where the
    work goes on after that, as a payment does: whoever carries it on says when it is over.
    """

    def __init__(
        self,
        name: str,
        *,
        service: str,
        table: Table,
        units: UnitsOfWork[U],
        clock: Clock,
        work: Callable[[Sequence[DueRow], U], Awaitable[None]],
        batch_max: int = BATCH_MAX,
        forgets_failures: bool = True,
    ) -> None:
        self.name = name
        self._service, self._table, self._units, self._clock, self._work = service, table, units, clock, work
        self._batch_max, self._forgets_failures = batch_max, forgets_failures
        self._question = _ANYTHING_DUE.format(table=table.name)

    async def run_once(self) -> int:
        return await self._run(None) if await self.anything_due() else 0

    async def anything_due(self) -> bool:
        """One round trip, since it is asked whenever something was committed, and mostly nothing is due."""
        found: bool = await self._units.database.finder.fetchval(self._question, self._clock.system_now())
        return found

    async def _run(self, only: Sequence[str] | None) -> int:
        for race in range(1, RACES_MAX + 1):
            claimed: list[_Claimed] = []
            error = await self._try_together(only, claimed)
            if error is None:
                return len(claimed)
            if not is_lost_race(error) or race == RACES_MAX:
                return await self._run_by_halves([one.row for one in claimed], error)
            await asyncio.sleep(RACE_PAUSE_S * race)
        raise AssertionError("the last race returns")

    async def _try_together(self, only: Sequence[str] | None, claimed: list[_Claimed]) -> Exception | None:
        """What went wrong, if anything. It is returned, so that what goes wrong next is not taken for its sequel.

        Raises: what is an outage, and what went wrong before anything was claimed.
        """
        try:
            await self._run_together(only, claimed)
        except Exception as error:
            if is_outage(error) or not claimed:
                raise
            return error
        return None

    async def _run_by_halves(self, rows: Sequence[DueRow], error: Exception) -> int:
        if len(rows) == 1:
            await self._put_off(rows[0], error)
            return 1
        middle = len(rows) // 2
        halves = (rows[:middle], rows[middle:])
        return sum([await self._run([row.id for row in half]) for half in halves])

    async def _run_together(self, only: Sequence[str] | None, claimed: list[_Claimed]) -> None:
        """One transaction; `claimed` is filled first, for whoever has to know what failed."""
        async with self._units.open_for_many() as uow:
            claimed += await self._claim(uow, only)
            if claimed:
                attributes = {"perennial.due.count": len(claimed)}
                with span(f"tick {self.name}", parent=None, attributes=attributes):
                    await self._work_by_tenant(claimed, uow)

    async def _claim(self, uow: U, only: Sequence[str] | None) -> list[_Claimed]:
        await uow.become_finder()
        system_now = self._clock.system_now()
        claimed: list[_Claimed] = []
        for statement in self._due(uow, system_now):
            if only is not None:
                statement = statement.where(self._table.c.id.in_(only))
            for found in await uow.connection.execute(statement):
                row = DueRow(found.tenant, found.id, found.now or system_now)
                claimed.append(_Claimed(row, rested=found.retry_at is not None))
        return claimed

    def _due(self, uow: U, system_now: datetime) -> Iterable[Select[Any]]:
        """Two questions, each with an index of its own: rows by the wall, and rows by each moved clock."""
        due, clock = self._table.c, uow.machinery.known_clock.c
        rested = or_(due.retry_at.is_(None), due.retry_at <= system_now)
        yield (
            select(due.tenant, due.id, due.due_at, due.retry_at, null().label("now"))
            .where(due.due_at <= system_now, due.clock_id.is_(None), rested)
            .order_by(due.due_at, due.id)
            .limit(self._batch_max)
            .with_for_update(skip_locked=True, of=self._table)
        )
        yield (
            select(due.tenant, due.id, due.due_at, due.retry_at, clock.now)
            .join_from(
                self._table,
                uow.machinery.known_clock,
                and_(clock.id == due.clock_id, clock.tenant == due.tenant),
            )
            .where(due.due_at.is_not(None), due.due_at <= clock.now, rested)
            .order_by(due.due_at, due.id)
            .limit(self._batch_max)
            .with_for_update(skip_locked=True, of=self._table)
        )

    async def _work_by_tenant(self, claimed: Sequence[_Claimed], uow: U) -> None:
        by_tenant: dict[str, list[_Claimed]] = defaultdict(list)
        for one in claimed:
            by_tenant[one.row.tenant].append(one)
        for tenant in sorted(by_tenant):
            await uow.become(tenant, f"schedule:{self.name}")
            await self._work([one.row for one in by_tenant[tenant]], uow)
            await uow.flush()
            rested = [one.row.id for one in by_tenant[tenant] if one.rested]
            if rested and self._forgets_failures:
                await self._forget_failures(rested, uow)

    async def _forget_failures(self, ids: Sequence[str], uow: U) -> None:
        """A row that was put off, and is done now, begins afresh. A rest that the work itself asked for stays."""
        due = self._table.c
        still = case((due.retry_at > self._clock.system_now(), due.retry_at))
        await uow.connection.execute(
            update(self._table)
            .where(due.id.in_(ids), due.attempts > 0)
            .values(attempts=0, retry_at=still, last_error=None)
        )

    async def _put_off(self, row: DueRow, error: Exception) -> None:
        log.error("due row failed", extra={"job": self.name, "row": row.id}, exc_info=error)
        metrics.due_row_failed(self._service, self.name)
        async with self._units.open(row.tenant, f"schedule:{self.name}") as uow:
            due = self._table.c
            doubled = func.least(func.power(2, func.least(due.attempts, 20)) * RETRY_FIRST_S, RETRY_LAST_S)
            await uow.connection.execute(
                update(self._table)
                .where(due.id == row.id)
                .values(
                    attempts=due.attempts + 1,
                    retry_at=self._clock.system_now() + func.make_interval(0, 0, 0, 0, 0, 0, doubled),
                    last_error=f"{type(error).__name__}: {error}"[:ERROR_LENGTH_MAX],
                )
            )


class Scheduler:
    """Runs jobs in turn whenever the alarm rings, or after `interval_s`; goes on at once while there is work."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        alarm: Alarm,
        interval_s: float = 1.0,
        stopping: Stopping | None = None,
    ) -> None:
        self._jobs, self._alarm, self._interval_s = jobs, alarm, interval_s
        self._stopping = stopping or Stopping()
        self._stopping.tell(alarm.ring)

    async def run(self) -> None:
        """Until told to stop; the job in hand is finished. Outages are waited out."""
        while not self._stopping.is_set():
            done = 0
            for job in self._jobs:
                if self._stopping.is_set():
                    return
                try:
                    done += await job.run_once()
                except Exception as error:
                    if not is_outage(error):
                        log.exception("job stumbled", extra={"job": job.name})
            if done or self._stopping.is_set():
                await asyncio.sleep(0)
            else:
                await self._alarm.wait(self._interval_s)
