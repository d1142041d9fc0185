"""What a test clock still has to wait for in one service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from sqlalchemy import Table, func, select

from libs.common.errors import NotFound
from libs.common.persistence.unit_of_work import UnitOfWork


class TestClockNotHeardOf(NotFound):
    """There is none, or the service has yet to hear of it; another tenant's is as good as none."""

    code: ClassVar[str] = "test_clock_not_heard_of"
    title: ClassVar[str] = "No such test clock has been heard of"


@dataclass(frozen=True, slots=True)
class ClockDues:
    """`busy` counts work that is due by the clock now, or under way; 0 with nothing `unpublished` means at rest.

    `last_position` is the last outbox row of the clock: if it has not moved between two looks, nothing happened.
    """

    clock_now: datetime
    earliest_due_at: datetime | None
    busy: int
    unpublished: int
    last_position: int


async def read_clock_dues(uow: UnitOfWork, clock_id: str, due_tables: Sequence[Table]) -> ClockDues:
    """Look at the due rows of a clock of the unit of work's tenant.

    The outbox and the failures know no tenants: they are asked about clocks that are this tenant's only.
    Raises: TestClockNotHeardOf.
    """
    clock = await uow.test_clock(clock_id)
    if clock is None:
        raise TestClockNotHeardOf("this service has heard of no test clock with this id")
    earliest: list[datetime] = []
    busy = 0
    for table in due_tables:
        due = table.c.due_at
        mine = (table.c.clock_id == clock_id) & due.is_not(None)
        row = (await uow.connection.execute(select(func.min(due).label("first")).where(mine))).one()
        if row.first is not None:
            earliest.append(row.first)
        counted = select(func.count()).select_from(table).where(mine, due <= clock.now)
        busy += (await uow.connection.execute(counted)).scalar_one()
    outbox, failure = uow.machinery.outbox, uow.machinery.message_failure
    # Two questions, each with an index of its own: this is asked many times while a clock moves.
    said = outbox.c.test_clock == clock_id
    waiting = select(func.count()).select_from(outbox).where(said, outbox.c.published_at.is_(None))
    last = select(func.coalesce(func.max(outbox.c.position), 0)).where(said)
    sent = select(
        waiting.scalar_subquery().label("unpublished"), last.scalar_subquery().label("last_position")
    )
    told = (await uow.connection.execute(sent)).one()
    retrying = (
        select(func.count()).select_from(failure).where(failure.c.test_clock == clock_id, ~failure.c.dead)
    )
    busy += (await uow.connection.execute(retrying)).scalar_one()
    return ClockDues(
        clock_now=clock.now,
        earliest_due_at=min(earliest, default=None),
        busy=busy,
        unpublished=told.unpublished,
        last_position=told.last_position,
    )
