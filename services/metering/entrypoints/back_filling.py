"""Sums up what was there before a meter, slice by slice; those who store have as much time as it takes itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from libs.common.clock import Clock
from libs.common.messaging.due import DueJob, DueRow
from libs.common.persistence.outage import is_outage
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.stopping import Stopping
from services.metering.adapters.rows import meter_back_fill
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.back_fill_meter import BackFillMeter, back_fill_meter

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
REST_MIN_S = 0.05


class BackFilling:
    """One slice of one meter in a transaction. Whoever else fills has the next meter: a row is held by one."""

    def __init__(
        self, units: UnitsOfWork[MeteringUnitOfWork], clock: Clock, *, service: str, stopping: Stopping
    ) -> None:
        self._clock, self._stopping = clock, stopping
        self._due = DueJob(
            "back_fill_meters",
            service=service,
            table=meter_back_fill,
            units=units,
            clock=clock,
            work=self._fill,
            batch_max=1,
        )

    async def run(self) -> None:
        """Until told to stop; the slice in hand is finished. Outages are waited out."""
        while not self._stopping.is_set():
            began = time.monotonic()
            done = 0
            try:
                done = await self.run_once()
            except Exception as error:
                if not is_outage(error):
                    log.exception("a meter could not be filled")
            rest_s = max(time.monotonic() - began, REST_MIN_S) if done else LOOK_EVERY_S
            await self._stopping.pause(rest_s)

    async def run_once(self) -> int:
        """One slice, if there is any to be filled; returns how many it was."""
        return await self._due.run_once()

    async def _fill(self, rows: Sequence[DueRow], uow: MeteringUnitOfWork) -> None:
        for row in rows:
            await back_fill_meter(BackFillMeter(row.id), uow=uow, clock=self._clock)
