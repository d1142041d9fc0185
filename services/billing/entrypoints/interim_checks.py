"""Spend thresholds to be looked at: claimed in one transaction, metering asked in none, billed in another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta

from libs.common.clock import Clock
from libs.common.messaging.due import DueJob, DueRow
from libs.common.persistence.outage import is_outage
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.stopping import Stopping
from services.billing.adapters.billing_run_rows import spend_threshold
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.application.bill_interim import BillInterim, bill_interim
from services.billing.application.billing_run_ports import Metering

log = logging.getLogger(__name__)

BATCH_MAX = 100
CALLS_AT_ONCE = 8
CLAIM_S = 30.0


class CheckSpendThresholds:
    """Who dies, or gets no answer, leaves a claim that runs out: the usage is looked at again then.

    That is never too often, since what was charged is looked at under the lock of the agreement.
    """

    name = "check_spend_thresholds"

    def __init__(
        self,
        *,
        units: UnitsOfWork[BillingUnitOfWork],
        clock: Clock,
        metering: Metering,
        every_s: float,
        stopping: Stopping | None = None,
    ) -> None:
        self._units, self._clock, self._metering = units, clock, metering
        self._every = timedelta(seconds=every_s)
        self._stopping = stopping or Stopping()
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)
        self._claimed: dict[str, DueRow] = {}
        self._due = DueJob(
            self.name,
            service="billing",
            table=spend_threshold,
            units=units,
            clock=clock,
            work=self._claim,
            batch_max=BATCH_MAX,
            forgets_failures=False,
        )

    async def run_once(self) -> int:
        """Returns how many were looked at."""
        self._claimed = {}
        count = await self._due.run_once()
        claimed, self._claimed = self._claimed, {}
        await asyncio.gather(*(self._look(row) for row in claimed.values()))
        return count

    async def _claim(self, due: Sequence[DueRow], uow: BillingUnitOfWork) -> None:
        until = self._clock.system_now() + timedelta(seconds=CLAIM_S)
        await uow.spend_thresholds.claim([row.id for row in due], until=until)
        self._claimed.update({row.id: row for row in due})

    async def _look(self, row: DueRow) -> None:
        """One that cannot be billed keeps nobody back: its claim runs out."""
        async with self._calls:
            if self._stopping.is_set():
                return
            try:
                windows = await self._metering.usage_so_far(row.tenant, row.id)
                async with self._units.open(row.tenant, f"schedule:{self.name}") as uow:
                    await bill_interim(BillInterim(row.id, windows, row.now, self._every), uow=uow)
            except Exception as error:
                if is_outage(error):
                    log.warning("usage so far could not be asked", extra={"subscription": row.id})
                else:
                    log.error("interim not billed", extra={"subscription": row.id}, exc_info=error)
