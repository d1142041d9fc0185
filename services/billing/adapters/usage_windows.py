"""Closed usage windows, and what they came to later."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select, tuple_

from libs.common.persistence.base import bulk_insert, is_among, missing_from
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.adapters.period_terms import PeriodKey, listed
from services.billing.domain.billed_usage import billed_usage
from services.billing.domain.charge import UsageCorrection, UsageOfPeriod


class UsageWindowRepository:
    """Closed windows are added, never changed, and so are the corrections to each, which stand beside it."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._loaded: dict[PeriodKey, UsageOfPeriod | None] = {}
        self._corrections: dict[str, dict[int, UsageCorrection]] = {}
        self._added: list[UsageOfPeriod] = []
        self._corrected: dict[tuple[str, int], UsageCorrection] = {}

    def reset(self) -> None:
        self._loaded.clear()
        self._corrections.clear()

    async def load(self, keys: Iterable[PeriodKey], *, also: Iterable[str] = ()) -> None:
        """The windows of these periods with their corrections, and `also` the corrections of windows with these ids."""
        missing = sorted(missing_from(keys, self._loaded))
        if missing:
            self._loaded.update(dict.fromkeys(missing))
            table = rows.closed_window
            found = select(table).where(
                tuple_(table.c.subscription_id, table.c.period_index).in_(listed(missing))
            )
            for row in (await self._uow.connection.execute(found)).mappings():
                self._loaded[row["subscription_id"], row["period_index"]] = mapping.usage_from_row(row)
        windows = [window.window_id for key in missing if (window := self._loaded[key]) is not None]
        await self._load_corrections([*windows, *also])

    async def _load_corrections(self, window_ids: Iterable[str]) -> None:
        missing = missing_from(window_ids, self._corrections)
        if not missing:
            return
        self._corrections.update({id: {} for id in missing})
        found = select(rows.corrected_window).where(is_among(rows.corrected_window.c.id, missing))
        for row in (await self._uow.connection.execute(found)).mappings():
            self._corrections[row["id"]][row["revision"]] = mapping.correction_from_row(row)
        for (id, revision), correction in self._corrected.items():
            if id in missing:
                self._corrections[id][revision] = correction

    async def find(self, subscription_id: str, period_index: int) -> UsageOfPeriod | None:
        await self.load([(subscription_id, period_index)])
        return self._loaded[subscription_id, period_index]

    async def newest(self, usage: UsageOfPeriod) -> UsageOfPeriod:
        await self._load_corrections([usage.window_id])
        return billed_usage(usage, self._corrections[usage.window_id].values())

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

    async def add_correction(self, correction: UsageCorrection) -> bool:
        id, revision = correction.window_id, correction.revision
        await self._load_corrections([id])
        if revision in self._corrections[id]:
            return False
        self._corrections[id][revision] = self._corrected[id, revision] = correction
        return True

    async def flush(self) -> None:
        added, self._added = self._added, []
        corrected, self._corrected = self._corrected, {}
        tenant = self._uow.tenant
        await bulk_insert(
            self._uow.connection,
            rows.closed_window,
            [{"tenant": tenant, **mapping.usage_to_row(usage)} for usage in added],
        )
        await bulk_insert(
            self._uow.connection,
            rows.corrected_window,
            [{"tenant": tenant, **mapping.correction_to_row(corrected[key])} for key in sorted(corrected)],
            tail="ON CONFLICT (id, revision) DO NOTHING",
        )
