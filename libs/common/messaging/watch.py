"""What an operator wants to see rise before anybody complains: lag, rows that are overdue, rows that keep failing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Table, func, select

from libs.common.clock import Clock
from libs.common.messaging.bus import Bus
from libs.common.persistence.outage import is_outage
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.telemetry import metrics

log = logging.getLogger(__name__)

INTERVAL_S = 10.0
OVERDUE_AFTER = timedelta(seconds=60)

Gauge = Callable[[str, int], None]


class Watch:
    """Sets the gauges of one service's worker. `overdue` names the gauge of each table with due rows.

    Rows that wait by a test clock are never overdue: their time stands still until somebody moves it.
    """

    def __init__(
        self,
        *,
        service: str,
        group: str,
        topics: Sequence[str],
        bus: Bus,
        units: UnitsOfWork[Any],
        clock: Clock,
        due_tables: Sequence[Table],
        overdue: Mapping[str, Gauge],
    ) -> None:
        self._service, self._group, self._topics, self._bus = service, group, topics, bus
        self._units, self._clock = units, clock
        self._due_tables, self._overdue = due_tables, overdue

    async def run(self) -> None:
        while True:
            try:
                await self._look_at_lag()
                for table in self._due_tables:
                    await self._look_at_due(table)
                metrics.watched(self._service)
            except Exception as error:
                if not is_outage(error):
                    log.exception("watch stumbled", extra={"watched": self._service})
            await asyncio.sleep(INTERVAL_S)

    async def _look_at_lag(self) -> None:
        for topic in self._topics:
            ends = await self._bus.end_offsets(topic)
            handled = await self._bus.committed(self._group, topic)
            lag = sum(max(end - handled.get(partition, 0), 0) for partition, end in ends.items())
            metrics.consumer_lag(self._service, self._group, topic, lag)

    async def _look_at_due(self, table: Table) -> None:
        due = table.c.due_at
        async with self._units.open_for_many() as uow:
            await uow.become_finder()
            late = due < self._clock.system_now() - OVERDUE_AFTER
            counted = select(
                func.count().filter(late, table.c.clock_id.is_(None)).label("overdue"),
                func.count()
                .filter(table.c.attempts > 0)
                .label("failing"),  # one that rests may just be in hand
            ).where(due.is_not(None))
            row = (await uow.connection.execute(counted)).one()
        metrics.due_rows_overdue(self._service, table.name, row.overdue)
        metrics.due_rows_failing(self._service, table.name, row.failing)
        if table.name in self._overdue:
            self._overdue[table.name](self._service, row.overdue)
