"""The timelines of subscriptions: rows are added, and read in the order of what they tell of."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from libs.common.clock import SystemClock
from libs.common.ids import new_id
from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import bulk_insert, is_among, missing_from
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters.rows import subscription, timeline_entry
from services.subscriptions.domain.timeline_entry import TimelineEntry

_CLOCK = SystemClock()
_MILLISECOND = timedelta(milliseconds=1)


class TimelineRepository:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._added: list[dict[str, Any]] = []
        self._last: dict[str, datetime] = {}
        self._zones: dict[str, str] = {}

    def next_id(self, subscription_id: str) -> str:
        """Ids sort by the millisecond, and a transaction may add several entries within one."""
        now = _CLOCK.system_now()
        last = self._last.get(subscription_id)
        at = now if last is None else max(now, last + _MILLISECOND)
        self._last[subscription_id] = at
        return new_id("tle", at)

    async def load_zones(self, subscription_ids: Iterable[str]) -> None:
        """The zones in which these subscriptions read dates, in one statement; in none for none."""
        missing = missing_from(subscription_ids, self._zones)
        if not missing:
            return
        column = subscription.c
        found = await self._uow.connection.execute(
            select(column.id, column.zone).where(is_among(column.id, missing))
        )
        self._zones.update((row.id, row.zone) for row in found)

    def zone_of(self, subscription_id: str) -> str:
        """UTC, where none was loaded."""
        return self._zones.get(subscription_id, "UTC")

    def reset(self) -> None:
        """What was added is written before the tenant changes; ids of one tenant's are never another's."""

    def add(self, entry: TimelineEntry) -> None:
        self._added.append(
            {
                "tenant": self._uow.tenant,
                **{name: getattr(entry, name) for name in TimelineEntry.__slots__},
            }
        )

    async def list_page(self, subscription_id: str, page: PageRequest) -> Slice[TimelineEntry]:
        table = timeline_entry
        return await fetch_page(
            self._uow.connection,
            select(table).where(table.c.subscription_id == subscription_id),
            created_at=table.c.at,
            id=table.c.id,
            page=page,
            to_view=lambda row: TimelineEntry(**{name: row[name] for name in TimelineEntry.__slots__}),
        )

    async def flush(self) -> None:
        added, self._added = self._added, []
        await bulk_insert(self._uow.connection, timeline_entry, added)
