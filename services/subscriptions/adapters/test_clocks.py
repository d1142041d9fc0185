"""Test clocks and their moves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import is_among, missing_from, raw
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters import mapping, rows
from services.subscriptions.adapters.mover_lock import CHANNEL
from services.subscriptions.application.ports import MovingClock
from services.subscriptions.domain.test_clock import (
    ClockMove,
    ClockMoveNotFound,
    MoveState,
    TestClock,
    TestClockNotFound,
)


class TestClockRepository(Repository[TestClock]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.test_clock,
            to_row=mapping.test_clock_to_row,
            from_row=mapping.test_clock_from_row,
            not_found=lambda id: TestClockNotFound("there is no test clock with this id"),
        )
        self._shared: dict[str, TestClock] = {}

    def reset(self) -> None:
        super().reset()
        self._shared.clear()

    async def load_shared(self, ids: Iterable[str]) -> Mapping[str, TestClock]:
        """Raises: TestClockNotFound."""
        wanted = set(ids)
        missing = sorted(missing_from(wanted, self._shared))
        if missing:
            statement = (
                select(self.table)
                .where(is_among(self.table.c.id, missing))
                .order_by(self.table.c.id)
                .with_for_update(read=True)
            )
            for row in (await self.uow.connection.execute(statement)).mappings():
                self._shared[row["id"]] = mapping.test_clock_from_row(row)
        for id in missing:
            if id not in self._shared:
                raise self._not_found(id)
        return {id: self._shared[id] for id in wanted}

    async def list_page(self, page: PageRequest) -> Slice[TestClock]:
        return await fetch_page(
            self.uow.connection,
            select(self.table),
            created_at=self.table.c.created_at,
            id=self.table.c.id,
            page=page,
            to_view=mapping.test_clock_from_row,
        )


class ClockMoveRepository(Repository[ClockMove]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.clock_move,
            to_row=mapping.clock_move_to_row,
            from_row=mapping.clock_move_from_row,
            not_found=lambda id: ClockMoveNotFound("there is no move with this id"),
        )

    async def find_moving(self, test_clock_id: str) -> ClockMove | None:
        found = await self.uow.connection.execute(
            select(self.table).where(
                self.table.c.clock_id == test_clock_id, self.table.c.state == MoveState.MOVING.value
            )
        )
        row = found.mappings().first()
        return mapping.clock_move_from_row(row) if row else None

    async def find_all_moving(self) -> Sequence[MovingClock]:
        await self.uow.become_finder()
        found = await self.uow.connection.execute(
            select(self.table.c.tenant, self.table.c.id)
            .where(self.table.c.due_at.is_not(None))
            .order_by(self.table.c.due_at, self.table.c.id)
        )
        return [MovingClock(tenant=row.tenant, move_id=row.id) for row in found]

    async def wake_mover(self) -> None:
        """Whoever holds the mover's lock listens."""
        await (await raw(self.uow.connection)).execute(f"NOTIFY {CHANNEL}")
