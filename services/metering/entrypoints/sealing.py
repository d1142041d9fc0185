"""Seals closed windows beside the scheduler, so that closing never waits for sealing."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from libs.common.clock import Clock
from libs.common.messaging.alarm import Alarm
from libs.common.messaging.due import DueJob, DueRow
from libs.common.persistence.outage import is_outage
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.stopping import Stopping
from services.metering.adapters.rows import usage_seal_note
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application.seal_usage_windows import SealUsageWindows, seal_usage_windows

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class Sealing:
    """One batch of windows in a transaction. It rests as long as a turn took: whoever closes and stores goes first."""

    name = "seal_usage_windows"

    def __init__(
        self, units: UnitsOfWork[MeteringUnitOfWork], clock: Clock, *, service: str, stopping: Stopping
    ) -> None:
        self._clock, self._stopping = clock, stopping
        self._due = DueJob(
            self.name, service=service, table=usage_seal_note, units=units, clock=clock, work=self._seal
        )
        self._alarm = Alarm()
        self._stopping.tell(self._alarm.ring)

    def ring(self) -> None:
        """Something may have closed: it need not wait until it looks by itself."""
        self._alarm.ring()

    async def run(self) -> None:
        """Until told to stop; the batch in hand is finished. Outages are waited out."""
        while not self._stopping.is_set():
            began = time.monotonic()
            done = 0
            try:
                done = await self.run_once()
            except Exception as error:
                if not is_outage(error):
                    log.exception("windows could not be sealed")
            if done:
                await self._stopping.pause(time.monotonic() - began)
            elif not self._stopping.is_set():
                await self._alarm.wait(LOOK_EVERY_S)

    async def run_once(self) -> int:
        """One batch; returns how many notes it was."""
        return await self._due.run_once()

    async def _seal(self, rows: Sequence[DueRow], uow: MeteringUnitOfWork) -> None:
        command = SealUsageWindows({row.id: row.now for row in rows}, self._clock.system_now())
        await seal_usage_windows(command, uow=uow)


class SealingBell:
    """Last in the scheduler's turn: what it has closed is to be sealed."""

    name = "ring_for_sealing"

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing

    async def run_once(self) -> int:
        self._sealing.ring()
        return 0
