"""What a test clock still has to wait for in one service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import ClassVar

from sqlalchemy import Table, TextClause, text

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
    names = tuple(table.name for table in due_tables)
    asked = {"clock": clock_id, "now": clock.now}
    told = (await uow.connection.execute(_question(names), asked)).one()
    return ClockDues(
        clock_now=clock.now,
        earliest_due_at=told.earliest,
        busy=told.busy,
        unpublished=told.unpublished,
        last_position=told.last_position,
    )


@lru_cache
def _question(due_tables: tuple[str, ...]) -> TextClause:
    """All at once, since it is asked many times while a clock moves; each part has an index of its own."""
    mine = "FROM {} WHERE clock_id = :clock AND due_at IS NOT NULL"
    earliest = [f"(SELECT min(due_at) {mine.format(table)})" for table in due_tables]
    busy = [f"(SELECT count(*) {mine.format(table)} AND due_at <= :now)" for table in due_tables]
    busy.append("(SELECT count(*) FROM message_failure WHERE test_clock = :clock AND NOT dead)")
    return text(
        f"""SELECT least({", ".join(["NULL::timestamptz", *earliest])}) AS earliest, {" + ".join(busy)} AS busy,
                   (SELECT count(*) FROM outbox WHERE test_clock = :clock AND published_at IS NULL) AS unpublished,
                   (SELECT coalesce(max(position), 0) FROM outbox WHERE test_clock = :clock) AS last_position"""
    )
