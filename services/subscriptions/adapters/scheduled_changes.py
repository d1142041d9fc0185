"""The changes that were asked for, and which of them wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import is_among
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters.mapping import Row
from services.subscriptions.adapters.rows import subscription_change
from services.subscriptions.application.ports import ChangeFilter
from services.subscriptions.domain.scheduled_change import (
    ChangeNotFound,
    ChangeStatus,
    ScheduledChange,
    WantedChange,
    When,
)
from services.subscriptions.domain.subscription import Subscription

_WANTED = TypeAdapter(WantedChange)


def change_to_row(change: ScheduledChange) -> dict[str, Any]:
    return {
        "id": change.id,
        "version": change.version,
        "subscription_id": change.subscription_id,
        "status": change.status.value,
        "when_kind": change.when.kind,
        "when_on": change.when.on,
        "at": change.at,
        "wanted": _WANTED.dump_python(change.wanted, mode="json", exclude_defaults=True),
        "settled_at": change.settled_at,
        "reason_code": change.reason_code,
        "reason": change.reason,
        "created_at": change.created_at,
    }


def change_from_row(row: Row) -> ScheduledChange:
    return ScheduledChange(
        id=row["id"],
        version=row["version"],
        subscription_id=row["subscription_id"],
        status=ChangeStatus(row["status"]),
        when=When(row["when_kind"], row["when_on"]),
        at=row["at"],
        wanted=_WANTED.validate_python(row["wanted"]),
        settled_at=row["settled_at"],
        reason_code=row["reason_code"],
        reason=row["reason"],
        created_at=row["created_at"],
    )


class ScheduledChangeRepository(Repository[ScheduledChange]):
    """The lock of its subscription is the lock of a change: what waits is read under that, and saved under it."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            subscription_change,
            to_row=change_to_row,
            from_row=change_from_row,
            not_found=lambda id: ChangeNotFound("the subscription has no change with this id"),
        )
        self._known: set[str] = set()

    def reset(self) -> None:
        super().reset()
        self._known.clear()

    async def load_waiting(self, subscriptions: Iterable[Subscription]) -> None:
        new = {one.id: one for one in subscriptions if one.id not in self._known}
        wanted = [one.id for one in new.values() if one.next_change_at is not None or one.boundary_changes]
        self._known |= new.keys()
        if wanted:
            await self._load(wanted)

    def knows(self, subscription_id: str) -> bool:
        return subscription_id in self._known

    async def waiting_of(self, subscription: Subscription) -> Sequence[ScheduledChange]:
        if subscription.id not in self._known:
            self._known.add(subscription.id)
            await self._load([subscription.id])
        found = [
            change
            for change in self._locked.values()
            if change is not None and change.subscription_id == subscription.id and change.is_waiting
        ]
        return sorted(found, key=lambda change: (change.created_at, change.id))

    async def list_page(self, wanted: ChangeFilter, page: PageRequest) -> Slice[ScheduledChange]:
        column = self.table.c
        conditions = [column.subscription_id == wanted.subscription_id]
        if wanted.status is not None:
            conditions.append(column.status == wanted.status.value)
        return await self.page_of(page, *conditions)

    async def _load(self, subscription_ids: Iterable[str]) -> None:
        column = self.table.c
        statement = select(self.table).where(
            is_among(column.subscription_id, subscription_ids),
            column.status == ChangeStatus.SCHEDULED.value,
        )
        for row in (await self.uow.connection.execute(statement)).mappings():
            self._locked.setdefault(row["id"], change_from_row(row))
