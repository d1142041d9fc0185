"""Closed usage windows, and what they came to later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import select, tuple_

from libs.common.persistence.base import bulk_insert
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.adapters.period_terms import PeriodKey, listed
from services.billing.domain.charge import UsageCorrection, UsageOfPeriod

# An older one that comes late may still say that something is to be billed.
_NEWER_CORRECTION = """
    ON CONFLICT (id) DO UPDATE SET
        billable_revision = greatest(corrected_window.billable_revision, excluded.billable_revision),
        revision = greatest(corrected_window.revision, excluded.revision),
        (totals, policy, is_billable) = (SELECT newest.totals, newest.policy, newest.is_billable FROM (VALUES
            (corrected_window.revision, corrected_window.totals, corrected_window.policy, corrected_window.is_billable),
            (excluded.revision, excluded.totals, excluded.policy, excluded.is_billable)
        ) AS newest(revision, totals, policy, is_billable) ORDER BY newest.revision DESC LIMIT 1)
"""


class UsageWindowRepository:
    """Closed windows are added, never changed; of the corrections to each, the newest is kept beside it."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._loaded: dict[PeriodKey, UsageOfPeriod | None] = {}
        self._added: list[UsageOfPeriod] = []
        self._corrections: dict[str, UsageCorrection] = {}

    def reset(self) -> None:
        self._loaded.clear()

    async def load(self, keys: Iterable[PeriodKey]) -> None:
        missing = sorted(set(keys) - self._loaded.keys())
        if not missing:
            return
        self._loaded.update(dict.fromkeys(missing))
        table = rows.closed_window
        found = select(table).where(
            tuple_(table.c.subscription_id, table.c.period_index).in_(listed(missing))
        )
        for row in (await self._uow.connection.execute(found)).mappings():
            self._loaded[row["subscription_id"], row["period_index"]] = mapping.usage_from_row(row)

    async def find(self, subscription_id: str, period_index: int) -> UsageOfPeriod | None:
        await self.load([(subscription_id, period_index)])
        return self._loaded[subscription_id, period_index]

    async def of_periods(self, subscription_id: str, start: int, end: int) -> list[UsageOfPeriod]:
        keys = [(subscription_id, index) for index in range(start, end)]
        await self.load(keys)
        return [usage for key in keys if (usage := self._loaded[key]) is not None]

    async def corrections_of(self, subscription_id: str, start: int, end: int) -> list[UsageCorrection]:
        table = rows.corrected_window
        found = select(table).where(
            table.c.subscription_id == subscription_id, table.c.period_index.in_(range(start, end))
        )
        return [
            mapping.correction_from_row(row) for row in (await self._uow.connection.execute(found)).mappings()
        ]

    def add(self, usage: UsageOfPeriod) -> None:
        self._added.append(usage)
        self._loaded[usage.subscription_id, usage.period_index] = usage

    def keep_newest_correction(self, correction: UsageCorrection) -> None:
        known = self._corrections.get(correction.window_id, correction)
        newest = max(known, correction, key=lambda told: told.revision)
        billable = max(known.billable_revision, correction.billable_revision)
        self._corrections[correction.window_id] = replace(newest, billable_revision=billable)

    async def flush(self) -> None:
        added, self._added = self._added, []
        corrections, self._corrections = self._corrections, {}
        tenant = self._uow.tenant
        await bulk_insert(
            self._uow.connection,
            rows.closed_window,
            [{"tenant": tenant, **mapping.usage_to_row(usage)} for usage in added],
        )
        await bulk_insert(
            self._uow.connection,
            rows.corrected_window,
            [{"tenant": tenant, **mapping.correction_to_row(corrections[id])} for id in sorted(corrections)],
            tail=_NEWER_CORRECTION,
        )
