"""Due rows whose work is a call to an outside party: claimed in one transaction, called in none, recorded in another."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from sqlalchemy import Table, func, update

from libs.common.clock import Clock
from libs.common.messaging.due import ERROR_LENGTH_MAX, DueJob, DueRow
from libs.common.persistence.outage import is_outage
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.stopping import Stopping
from libs.common.telemetry import metrics, span, traceparent_of
from services.billing.adapters.unit_of_work import BillingUnitOfWork

log = logging.getLogger(__name__)

BATCH_MAX = 100
RECORD_AGAIN_S = 60
UNKNOWN_PAUSE_MAX_S = 3600


class Claim(Protocol):
    """A row that this process may call for, until `claimed_until` by the wall."""

    @property
    def tenant(self) -> str: ...

    @property
    def id(self) -> str: ...

    @property
    def claimed_until(self) -> datetime: ...

    @property
    def traceparent(self) -> str | None: ...


K = TypeVar("K")
T = TypeVar("T")
C = TypeVar("C", bound=Claim)
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Told(Generic[C, A]):
    """What the outside party said of one claim, and the span in which it did."""

    claim: C
    answer: A
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Unknown(Generic[C]):
    """A call after which nobody knows what became of it."""

    claim: C
    error: str


class OutsideWork(Protocol[C, A]):
    """What is done of one kind of row. Only `call` is made with no transaction open; the others are of one tenant.

    `task` is what one call is called in traces.
    """

    name: str
    task: str
    table: Table

    async def claim(self, due: Sequence[DueRow], *, until: datetime, uow: BillingUnitOfWork) -> list[C]:
        """Mark those that are to be called for, so that it stands committed before anybody is called."""
        ...

    async def call(self, claim: C) -> A:
        """Raises: whatever leaves the outcome unknown; the claim then runs out, and is taken up again."""
        ...

    async def record(self, told: Sequence[Told[C, A]], *, uow: BillingUnitOfWork) -> None:
        """Whoever lost his claim writes nothing."""
        ...

    async def release(self, claims: Sequence[C], *, now: datetime, uow: BillingUnitOfWork) -> None:
        """Give back claims under which nobody was called. `now` is the wall's."""
        ...

    def count(self, answer: A | None) -> None:
        """For whoever keeps numbers of what came of calls: an answer once it is written down; None, nobody knows."""
        return


class ClaimingUnits(UnitsOfWork[BillingUnitOfWork], Generic[K]):
    """Units of work whose claims count once they are committed, and are forgotten if they are not."""

    def __init__(self, units: UnitsOfWork[BillingUnitOfWork]) -> None:
        super().__init__(units.database, BillingUnitOfWork)
        self._open: list[K] = []
        self._committed: list[K] = []

    def add(self, claims: Sequence[K]) -> None:
        self._open += claims

    def take(self) -> list[K]:
        """What was committed since the last time."""
        taken, self._committed = self._committed, []
        return taken

    @asynccontextmanager
    async def open_for_many(self) -> AsyncIterator[BillingUnitOfWork]:
        self._open = []
        async with super().open_for_many() as uow:
            yield uow
        self._committed += self._open
        self._open = []


class CallOutside(Generic[C, A]):
    """Due rows of one kind, many at a time. Each call belongs to the trace of what caused it.

    `claim_s` is how long a claim lasts by the wall: whoever dies with one is followed after that. Whoever is told
    to stop ends the calls that are under way, and gives back the claims of those that have not begun.
    """

    def __init__(
        self,
        work: OutsideWork[C, A],
        *,
        units: UnitsOfWork[BillingUnitOfWork],
        clock: Clock,
        claim_s: float,
        calls_at_once: int,
        stopping: Stopping | None = None,
    ) -> None:
        self.name = work.name
        self._work, self._units, self._clock, self._claim_s = work, units, clock, claim_s
        self._stopping = stopping or Stopping()
        self._calls = asyncio.Semaphore(calls_at_once)
        self._claims: ClaimingUnits[C] = ClaimingUnits(units)
        self._due = DueJob(
            self.name,
            service="billing",
            table=work.table,
            units=self._claims,
            clock=clock,
            work=self._claim,
            batch_max=BATCH_MAX,
            forgets_failures=False,
        )

    async def run_once(self) -> int:
        """Returns how many rows were claimed or put off."""
        try:
            count = await self._due.run_once()
        except Exception:
            await self._carry_out(self._claims.take())  # of a batch in parts, some may have been claimed
            raise
        await self._carry_out(self._claims.take())
        return count

    async def _claim(self, due: Sequence[DueRow], uow: BillingUnitOfWork) -> None:
        until = self._clock.system_now() + timedelta(seconds=self._claim_s)
        self._claims.add(await self._work.claim(due, until=until, uow=uow))

    async def _carry_out(self, claims: Sequence[C]) -> None:
        ended = await asyncio.gather(*(self._in_turn(claim) for claim in claims))
        await self._record([one for one in ended if isinstance(one, Told)])
        await self._wait_for([one for one in ended if isinstance(one, Unknown)])
        await self._release([claim for claim, one in zip(claims, ended, strict=True) if one is None])

    async def _in_turn(self, claim: C) -> Told[C, A] | Unknown[C] | None:
        """None when its turn came after the word to stop: nobody was called."""
        async with self._calls:
            return None if self._stopping.is_set() else await self._call(claim)

    async def _call(self, claim: C) -> Told[C, A] | Unknown[C]:
        attributes = {f"perennial.{self._work.table.name}.id": claim.id}
        with span(self._work.task, parent=claim.traceparent, attributes=attributes) as started:
            try:
                async with asyncio.timeout(self._left_s(claim)):
                    answer = await self._work.call(claim)
            except Exception as error:
                log.warning("outcome unknown", extra={"job": self.name, "row": claim.id}, exc_info=error)
                self._work.count(None)
                return Unknown(claim, f"{type(error).__name__}: {error}"[:ERROR_LENGTH_MAX])
            return Told(claim, answer, traceparent_of(started))

    def _left_s(self, claim: C) -> float:
        """Most of what is left of the claim; nothing of one that ran out while it waited for its turn."""
        return max(0.0, (claim.claimed_until - self._clock.system_now()).total_seconds() * 0.8)

    async def _record(self, told: Sequence[Told[C, A]]) -> None:
        """All in one transaction; if that fails, each in its own, so that one cannot keep the others back."""
        if not told:
            return
        try:
            await self._record_together(told)
        except Exception as error:
            if is_outage(error):
                raise
            for one in told:
                await self._record_alone(one)

    async def _record_together(self, told: Sequence[Told[C, A]]) -> None:
        async with self._units.open_for_many() as uow:
            for tenant, theirs in _by_tenant(told, lambda one: one.claim.tenant):
                await uow.become(tenant, f"schedule:{self.name}")
                await self._work.record(theirs, uow=uow)
        for one in told:
            self._work.count(one.answer)

    async def _record_alone(self, one: Told[C, A]) -> None:
        try:
            await self._record_together([one])
        except Exception as error:
            if is_outage(error):
                raise
            log.error("outcome not recorded", extra={"job": self.name, "row": one.claim.id}, exc_info=error)
            metrics.due_row_failed("billing", self.name)
            await self._put_off(one.claim, error)

    async def _put_off(self, claim: C, error: Exception) -> None:
        """What went wrong stands beside the row, and no scheduler looks at it for a while."""
        table = self._work.table
        async with self._units.open(claim.tenant, f"schedule:{self.name}") as uow:
            await uow.connection.execute(
                update(table)
                .where(table.c.id == claim.id, table.c.due_at.is_not(None))
                .values(
                    attempts=table.c.attempts + 1,
                    retry_at=self._clock.system_now() + timedelta(seconds=RECORD_AGAIN_S),
                    last_error=f"{type(error).__name__}: {error}"[:ERROR_LENGTH_MAX],
                )
            )

    async def _wait_for(self, unknown: Sequence[Unknown[C]]) -> None:
        """Their claims run out, and the outside party is asked before a further try: later each time.

        Nothing changes where another process holds the claim by now.
        """
        if not unknown:
            return
        table, now = self._work.table, self._clock.system_now()
        doubled = func.least(
            self._claim_s * func.power(2, func.least(table.c.attempts, 10)), UNKNOWN_PAUSE_MAX_S
        )
        pause = func.make_interval(0, 0, 0, 0, 0, 0, doubled)
        async with self._units.open_for_many() as uow:
            for tenant, theirs in _by_tenant(unknown, lambda one: one.claim.tenant):
                await uow.become(tenant, f"schedule:{self.name}")
                for one in theirs:
                    await uow.connection.execute(
                        update(table)
                        .where(table.c.id == one.claim.id, table.c.claimed_until == one.claim.claimed_until)
                        .values(attempts=table.c.attempts + 1, retry_at=now + pause, last_error=one.error)
                    )

    async def _release(self, claims: Sequence[C]) -> None:
        if not claims:
            return
        async with self._units.open_for_many() as uow:
            now = self._clock.system_now()
            for tenant, theirs in _by_tenant(claims, lambda claim: claim.tenant):
                await uow.become(tenant, f"schedule:{self.name}")
                await self._work.release(theirs, now=now, uow=uow)


def _by_tenant(given: Iterable[T], tenant_of: Callable[[T], str]) -> list[tuple[str, list[T]]]:
    """In the order of the tenants, so that two processes never wait for each other crosswise."""
    found: dict[str, list[T]] = defaultdict(list)
    for one in given:
        found[tenant_of(one)].append(one)
    return sorted(found.items())
