"""Requests that arrive together share one commit: a bounded queue between the routes and the database."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

from libs.common.clock import Clock, SystemClock
from libs.common.errors import TransientError
from libs.common.ids import new_uuid7
from libs.common.messaging.alarm import Alarm
from libs.common.persistence.direct import DirectTransactions
from libs.common.persistence.outage import is_lost_race, is_outage
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.telemetry import metrics, recorded_traceparent, root_span, service_scope
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.adapters.usage_months import UsageMonths, is_month_missing
from services.metering.application.ingest_usage_events import (
    EventResult,
    IngestUsageEvents,
    UsageBatch,
    ingest_usage_events,
    months_needed,
    one_batch_a_caller,
)
from services.metering.domain.usage_event import AcceptWindow, month_of
from services.metering.entrypoints.balance_notes import BalanceNotes

log = logging.getLogger(__name__)

Outcome = list[EventResult] | Exception
"""A result for each event, once it is committed; or why there is none."""

RACES_MAX = 10
FURTHER_WRITER_EVENTS = 40  # that wait: while one writer waits for the disk, the other makes its rows


class IngestBusy(TransientError):
    """More waits to be stored than may wait: the sender is to slow down, nothing of his was stored."""

    code: ClassVar[str] = "ingest_busy"
    title: ClassVar[str] = "Too many usage events are waiting to be stored"


@dataclass(eq=False, slots=True)
class _Waiting:
    tenant: str
    batch: UsageBatch
    done: Callable[[Outcome], None]
    traceparent: str | None
    is_done: bool = False

    def end(self, outcome: Outcome) -> None:
        """Only the first outcome is told."""
        if not self.is_done:
            self.is_done = True
            try:
                self.done(outcome)
            except Exception:  # his own mistake: the others of the commit are told theirs
                log.exception("the outcome of usage events could not be told")


class IngestQueue:
    """A writer takes all that waits, up to `commit_events_max` events, into one transaction.

    While it commits, the next requests gather: the busier it is, the more share a commit. A writer is started
    when there is something to do, a further one when there is much, and they end when there is nothing. A request
    that fails by itself is found by halves and fails alone.
    """

    def __init__(
        self,
        units: UnitsOfWork[MeteringUnitOfWork],
        months: UsageMonths,
        *,
        service: str,
        accept: AcceptWindow,
        writers: int,
        commit_events_max: int,
        queue_events_max: int,
        wake: Sequence[Alarm] = (),
        clock: Clock | None = None,
    ) -> None:
        self._units, self._months = units, months
        self._notes = BalanceNotes(units, service=service, clock=clock or SystemClock(), wake=wake)
        self._service, self._accept = service, accept
        self._writers_max, self._commit_events_max = writers, commit_events_max
        self._queue_events_max = queue_events_max
        self._waiting: deque[_Waiting] = deque()
        self._writers: set[asyncio.Task[None]] = set()
        self._untaken_events = 0
        self.waiting_events = 0
        self._gauge = metrics.usage_waiting(service)
        metrics.usage_waiting_max(service, queue_events_max)

    async def submit(self, tenant: str, batch: UsageBatch) -> list[EventResult]:
        """Store a batch; returns once it is committed, with a result for each event.

        Raises: IngestBusy; whatever the batch fails with, or the database.
        """
        outcome: asyncio.Future[list[EventResult]] = asyncio.get_running_loop().create_future()

        def done(found: Outcome) -> None:
            if outcome.done():
                return  # its sender has gone
            if isinstance(found, Exception):
                outcome.set_exception(found)
            else:
                outcome.set_result(found)

        self.put(tenant, batch, done, recorded_traceparent())
        return await outcome

    def put(
        self,
        tenant: str,
        batch: UsageBatch,
        done: Callable[[Outcome], None],
        traceparent: str | None = None,
    ) -> None:
        """The same for who does not wait: `done` is called once. Raises: IngestBusy, and it is not."""
        if self.waiting_events and self.waiting_events + len(batch.events) > self._queue_events_max:
            raise IngestBusy(
                "too many usage events are waiting to be stored",
                retry_after_s=1,
                remedy="Send it again after a moment; what is sent twice is counted once.",
            )
        self._waiting.append(_Waiting(tenant, batch, done, traceparent))
        self.waiting_events += len(batch.events)
        self._untaken_events += len(batch.events)
        if not self._writers or (
            self._untaken_events >= FURTHER_WRITER_EVENTS and len(self._writers) < self._writers_max
        ):
            # In a context of its own: the writer's spans are not the first sender's.
            self._writers.add(asyncio.create_task(self._write(), context=contextvars.Context()))

    async def close(self) -> None:
        """Wait for what was taken in."""
        while self._writers:
            await asyncio.gather(*self._writers, return_exceptions=True)
        await self._notes.close()

    async def _write(self) -> None:
        transactions = self._units.database.direct_transactions()
        try:
            with service_scope(self._service):
                while self._waiting:
                    await self._write_some(self._take(), transactions)
                    if not self._waiting:
                        await transactions.close()
        finally:  # in the same turn in which nothing was found: whoever comes next starts a writer
            self._writers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _write_some(self, taken: Sequence[_Waiting], transactions: DirectTransactions) -> None:
        self._gauge.set(self.waiting_events)
        try:
            await self._commit_by_halves(taken, transactions)
        finally:
            for waiting in taken:  # those that are left, only if we are being canceled
                waiting.end(IngestBusy("the process is ending", retry_after_s=1))
            self.waiting_events -= sum(len(waiting.batch.events) for waiting in taken)
            self._gauge.set(self.waiting_events)

    def _take(self) -> list[_Waiting]:
        taken = [self._waiting.popleft()]
        event_count = len(taken[0].batch.events)
        while self._waiting and event_count + len(self._waiting[0].batch.events) <= self._commit_events_max:
            taken.append(self._waiting.popleft())
            event_count += len(taken[-1].batch.events)
        self._untaken_events -= event_count
        return taken

    async def _commit_by_halves(self, taken: Sequence[_Waiting], transactions: DirectTransactions) -> None:
        try:
            results = await self._commit(taken, transactions)
        except Exception as error:
            if len(taken) == 1 or is_outage(error):
                for waiting in taken:
                    waiting.end(error)
                return
            middle = len(taken) // 2
            await self._commit_by_halves(taken[:middle], transactions)
            await self._commit_by_halves(taken[middle:], transactions)
            return
        for status, count in Counter([found.status for result in results for found in result]).items():
            metrics.usage_events(self._service, status, count)
        for waiting, result in zip(taken, results, strict=True):
            waiting.end(result)

    async def _commit(
        self, taken: Sequence[_Waiting], transactions: DirectTransactions
    ) -> list[list[EventResult]]:
        """One transaction for all of them; a lost race repeats the whole, and so does a month that is not there yet."""
        await self._months.ensure([month_of(taken[-1].batch.arrived_at)])
        attempt = 1
        are_months_there = False
        while True:
            try:
                with root_span(
                    "store usage events",
                    links=[waiting.traceparent for waiting in taken],
                    attributes={
                        "perennial.usage.events": sum(len(waiting.batch.events) for waiting in taken),
                        "perennial.usage.requests": len(taken),
                    },
                ):
                    return await self._store(taken, transactions)
            except Exception as error:
                if is_month_missing(error) and not are_months_there:
                    await self._months.ensure(
                        months_needed([waiting.batch for waiting in taken], self._accept)
                    )
                    are_months_there = True
                    continue
                if attempt >= RACES_MAX or not is_lost_race(error):
                    raise
                await asyncio.sleep(0.01 * attempt)
                attempt += 1

    async def _store(
        self, taken: Sequence[_Waiting], transactions: DirectTransactions
    ) -> list[list[EventResult]]:
        by_tenant: dict[str, list[int]] = defaultdict(list)
        for place, waiting in enumerate(taken):
            by_tenant[waiting.tenant].append(place)
        results: list[list[EventResult]] = [[] for _ in taken]
        async with self._units.open_directly(transactions) as uow:
            for tenant in sorted(by_tenant):
                places = by_tenant[tenant]
                await uow.become(tenant, taken[places[0]].batch.actor)
                command = IngestUsageEvents(
                    one_batch_a_caller([taken[place].batch for place in places], _new_id)
                )
                found = await ingest_usage_events(command, uow=uow, accept=self._accept)
                for place, result in zip(places, found, strict=True):
                    results[place] = result
        self._notes.add(uow.balances.touched)
        return results


def _new_id() -> str:
    return str(new_uuid7())
