"""What is due in metering: windows to close, and closed ones to count again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import func, select

from libs.common.clock import Clock
from libs.common.contracts import group_of, topic_of
from libs.common.contracts.topics import USAGE_TOPIC
from libs.common.messaging.bus import Bus
from libs.common.messaging.due import DueJob, DueRow, Job
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.telemetry import metrics
from services.metering.adapters.rows import (
    late_usage,
    usage_alert,
    usage_balance,
    usage_retention,
    usage_window,
)
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.adapters.usage_offsets import USAGE_GROUP
from services.metering.adapters.usage_results import forget_expired
from services.metering.adapters.usage_retention import drop_months, keep_from
from services.metering.application.close_usage_window import CloseUsageWindows, close_usage_windows
from services.metering.application.correct_usage import CorrectUsage, correct_usage
from services.metering.application.fire_usage_alerts import FireUsageAlerts, fire_usage_alerts
from services.metering.application.keep_usage import RESTED, forget_usage
from services.metering.application.tell_usage_balances import TellUsageBalances, tell_usage_balances

SERVICE = "metering"
BINDINGS_TOPIC = topic_of("subscriptions")
OVERDUE_AFTER = timedelta(seconds=60)
COUNT_EVERY_S = 15.0
FORGET_EVERY_S = 600.0
EXPIRE_EVERY_S = 3600.0
BALANCES_MAX = 500  # items whose balances are summed and said in one turn
BALANCES_REST_S = 0.5
BALANCES_REST_FACTOR = (
    9  # times as long as a turn took: a tenth of one worker's time at most goes into balances
)

Units = UnitsOfWork[MeteringUnitOfWork]


def jobs(units: Units, clock: Clock, bus: Bus, *, raw_kept_days: int | None = None) -> Sequence[Job]:
    """In the order in which they run: corrections first, since somebody was told a wrong total."""

    async def correct(rows: Sequence[DueRow], uow: MeteringUnitOfWork) -> None:
        await correct_usage(CorrectUsage({row.id: row.now for row in rows}), uow=uow, clock=clock)

    late = DueJob("correct_usage", service=SERVICE, table=late_usage, units=units, clock=clock, work=correct)
    return (
        late,
        WindowClosing(units, clock, bus),
        AlertWatching(units, clock),
        BalanceTelling(units, clock),
        OverdueCount(units, clock),
        UsageLagCount(units, bus),
        ResultsExpiry(units),
        UsageExpiry(units, clock),
        MonthsExpiry(units, clock, raw_kept_days),
    )


class WindowClosing:
    """Closes due windows. One that has to wait for the bus counts as nothing done, so that waiting is no loop."""

    name = "close_usage_windows"

    def __init__(self, units: Units, clock: Clock, bus: Bus) -> None:
        self._bus, self._clock = bus, clock
        self._due = DueJob(
            self.name, service=SERVICE, table=usage_window, units=units, clock=clock, work=self._close
        )
        self._ends: dict[int, int] = {}
        self._handled: dict[int, int] = {}
        self._usage_ends: dict[int, int] = {}
        self._moved_count = 0

    async def run_once(self) -> int:
        """The bus is asked first, outside of any transaction: no lock waits for the network.

        Usage is awaited whether it comes through its topic or not: what is in there was accepted.
        """
        if not await self._due.anything_due():
            return 0
        self._usage_ends = await self._bus.end_offsets(USAGE_TOPIC)
        self._ends = await self._bus.end_offsets(BINDINGS_TOPIC)
        self._handled = await self._bus.committed(group_of(SERVICE), BINDINGS_TOPIC)
        self._moved_count = 0
        await self._due.run_once()
        return self._moved_count

    async def _close(self, rows: Sequence[DueRow], uow: MeteringUnitOfWork) -> None:
        now_by_id = {row.id: row.now for row in rows}
        command = CloseUsageWindows(
            now_by_id, self._ends, self._handled, self._usage_ends, self._clock.system_now()
        )
        self._moved_count += await close_usage_windows(command, uow=uow)


class AlertWatching:
    """Looks at the alerts that are due: not for usage that was stored, which whoever stored it looked at."""

    name = "fire_usage_alerts"

    def __init__(self, units: Units, clock: Clock) -> None:
        self._clock = clock
        self._due = DueJob(
            self.name, service=SERVICE, table=usage_alert, units=units, clock=clock, work=self._fire
        )

    async def run_once(self) -> int:
        return await self._due.run_once()

    async def _fire(self, rows: Sequence[DueRow], uow: MeteringUnitOfWork) -> None:
        ids = [row.id for row in rows]
        alerts = await uow.alerts.load(ids)
        await fire_usage_alerts(FireUsageAlerts(alerts), uow=uow, clock=self._clock)
        await uow.alerts.settle(ids)


class BalanceTelling:
    """Says the balances that are due, a bounded number in a turn, and rests after each.

    A row is claimed by one worker, and is not due again before its second is over: nobody says it twice. Turns
    count as nothing done, so that balances never keep the scheduler from resting.
    """

    name = "tell_usage_balances"

    def __init__(self, units: Units, clock: Clock, *, rest_s: float = BALANCES_REST_S) -> None:
        self._clock, self._rest_s = clock, rest_s
        self._due = DueJob(
            self.name,
            service=SERVICE,
            table=usage_balance,
            units=units,
            clock=clock,
            work=self._tell,
            batch_max=BALANCES_MAX,
        )
        self._next_at = 0.0

    async def run_once(self) -> int:
        began = time.monotonic()
        if began >= self._next_at and await self._due.run_once():
            ended = time.monotonic()
            self._next_at = ended + max(self._rest_s, (ended - began) * BALANCES_REST_FACTOR)
        return 0

    async def _tell(self, rows: Sequence[DueRow], uow: MeteringUnitOfWork) -> None:
        await tell_usage_balances(TellUsageBalances([row.id for row in rows]), uow=uow, clock=self._clock)


class OverdueCount:
    """Tells the metric how many windows should have closed a while ago, by the wall or by their clock."""

    name = "count_overdue_windows"

    def __init__(self, units: Units, clock: Clock) -> None:
        self._units, self._clock = units, clock
        self._counted_at = -COUNT_EVERY_S

    async def run_once(self) -> int:
        if time.monotonic() - self._counted_at >= COUNT_EVERY_S:
            self._counted_at = time.monotonic()
            metrics.windows_overdue(SERVICE, await self._count())
        return 0

    async def _count(self) -> int:
        window = usage_window.c
        late = self._clock.system_now() - OVERDUE_AFTER
        async with self._units.open_for_many() as uow:
            await uow.become_finder()
            clock = uow.machinery.known_clock.c
            by_wall = select(func.count(window.due_at)).where(window.clock_id.is_(None), window.due_at < late)
            by_clock = (
                select(func.count(window.due_at))
                .join(uow.machinery.known_clock, clock.id == window.clock_id)
                .where(window.due_at < clock.now - OVERDUE_AFTER)
            )
            counts = [(await uow.connection.execute(query)).scalar_one() for query in (by_wall, by_clock)]
        return sum(counts)


class UsageLagCount:
    """Tells the metrics how many batches wait in the usage topic, by the place up to which it is stored."""

    name = "count_usage_lag"

    def __init__(self, units: Units, bus: Bus) -> None:
        self._units, self._bus = units, bus
        self._counted_at = -COUNT_EVERY_S

    async def run_once(self) -> int:
        if time.monotonic() - self._counted_at >= COUNT_EVERY_S:
            self._counted_at = time.monotonic()
            metrics.consumer_lag(
                SERVICE, USAGE_GROUP, USAGE_TOPIC, await count_usage_waiting(self._units, self._bus)
            )
        return 0


async def count_usage_waiting(units: Units, bus: Bus) -> int:
    """Records of the usage topic that are not stored yet: the ends are asked first, so none is counted too many."""
    ends = await bus.end_offsets(USAGE_TOPIC)
    async with units.open_for_many() as uow:
        await uow.become("", "schedule:count_usage_lag")
        stored = await uow.offsets.stored()
    return sum(max(end - stored.get(partition, 0), 0) for partition, end in ends.items())


class ResultsExpiry:
    """Deletes results of batches that were kept long enough."""

    name = "forget_usage_results"

    def __init__(self, units: Units) -> None:
        self._units = units
        self._forgot_at = -FORGET_EVERY_S

    async def run_once(self) -> int:
        if time.monotonic() - self._forgot_at >= FORGET_EVERY_S:
            self._forgot_at = time.monotonic()
            await forget_expired(self._units.database)
        return 0


class UsageExpiry:
    """Deletes raw events of tenants that keep them for a shorter time, a piece in each transaction."""

    name = "forget_usage"

    def __init__(self, units: Units, clock: Clock, *, rested: timedelta = RESTED) -> None:
        self._clock, self._rested = clock, rested
        self._due = DueJob(
            self.name,
            service=SERVICE,
            table=usage_retention,
            units=units,
            clock=clock,
            work=self._forget,
            batch_max=1,
        )

    async def run_once(self) -> int:
        return await self._due.run_once()

    async def _forget(self, rows: Sequence[DueRow], uow: MeteringUnitOfWork) -> None:
        for _ in rows:
            await forget_usage(uow=uow, clock=self._clock, rested=self._rested)


class MonthsExpiry:
    """Drops the months of raw events that nobody keeps any more: first those that were known before to go."""

    name = "drop_usage_months"

    def __init__(
        self, units: Units, clock: Clock, kept_days: int | None, *, rested: timedelta = RESTED
    ) -> None:
        self._units, self._clock, self._kept_days, self._rested = units, clock, kept_days, rested
        self._looked_at = -EXPIRE_EVERY_S

    async def run_once(self) -> int:
        if self._kept_days is not None and time.monotonic() - self._looked_at >= EXPIRE_EVERY_S:
            self._looked_at = time.monotonic()
            await drop_months(self._units.database, self._rested)
            await keep_from(self._units.database, self._clock.system_now() - timedelta(days=self._kept_days))
        return 0
