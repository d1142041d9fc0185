"""Metering's stores and repositories on one transaction."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.persistence.unit_of_work import ConstraintErrors, UnitOfWork
from services.metering.adapters.late_usage import LateUsageNotes
from services.metering.adapters.meter_readings import MeterReadings
from services.metering.adapters.repositories import (
    BindingRepository,
    MeterRepository,
    SubscriptionRepository,
    WindowCorrectionRepository,
    WindowRepository,
)
from services.metering.adapters.rows import shared
from services.metering.adapters.usage_alerts import UsageAlerts
from services.metering.adapters.usage_balances import UsageBalances
from services.metering.adapters.usage_corrections import UsageCorrections
from services.metering.adapters.usage_history import BackFills, UsageHistory
from services.metering.adapters.usage_offsets import UsageOffsets
from services.metering.adapters.usage_reads import UsageReads
from services.metering.adapters.usage_rejects import UsageRejects
from services.metering.adapters.usage_results import UsageResults
from services.metering.adapters.usage_retention import UsageRetention
from services.metering.adapters.usage_seals import UsageSeals
from services.metering.adapters.usage_store import UsageStore
from services.metering.application.define_meter import MeterExists


def _meter_exists() -> MeterExists:
    return MeterExists("a meter of this code was defined a moment ago", pointer="/code")


class MeteringUnitOfWork(UnitOfWork):
    constraint_errors: ClassVar[ConstraintErrors] = {"uq_meter_tenant_code_version": _meter_exists}

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection, shared)
        self.usage = UsageStore(self)
        self.corrections = UsageCorrections(self)
        self.rejects = UsageRejects(self)
        self.results = UsageResults(self)
        self.offsets = UsageOffsets(self)
        self.meters = MeterRepository(self)
        self.bindings = BindingRepository(self)
        self.windows = WindowRepository(self)
        self.window_corrections = WindowCorrectionRepository(self)
        self.seals = UsageSeals(self)
        self.subscriptions = SubscriptionRepository(self)
        self.readings = MeterReadings(self)
        self.late = LateUsageNotes(self)
        self.balances = UsageBalances(self)
        self.alerts = UsageAlerts(self)
        self.history = UsageHistory(self)
        self.back_fills = BackFills(self)
        self.retention = UsageRetention(self)
        self.reads = UsageReads(self)
        # Late usage comes late: its statements look at bindings and windows as they are by then.
        self.register(
            self.usage,
            self.subscriptions,
            self.bindings,
            self.windows,
            self.late,
            self.window_corrections,
            self.seals,
            self.balances,
        )

    async def count_pending_messages(self) -> int:
        failure = self.machinery.message_failure
        pending = (
            select(func.count()).select_from(failure).where(failure.c.tenant == self.tenant, ~failure.c.dead)
        )
        return int((await self.connection.execute(pending)).scalar_one())
