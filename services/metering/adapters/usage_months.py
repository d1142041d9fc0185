"""Partitions of raw events are made on demand, in a short transaction before the one that needs them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import asyncpg
from sqlalchemy import text

from libs.common.access.tenancy import APP
from libs.common.persistence.session import Database

FIRST = date(2000, 1, 1)  # what is older shares one partition, so that no sender can make thousands of tables

_ENSURE = text("SELECT ensure_usage_month(:month)")


def is_month_missing(error: BaseException) -> bool:
    """Whether an event was of a month that has no partition yet."""
    return isinstance(error, asyncpg.CheckViolationError) and error.constraint_name is None


class UsageMonths:
    """Remembers which months are there, so that a month is asked for once in each process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[date] = set()

    async def ensure(self, months: Iterable[date]) -> None:
        """Make what is missing. Harmless if several do it at once."""
        for month in sorted(set(months) - self._known):
            if month >= FIRST:
                async with self._database.transaction(APP) as connection:
                    await connection.execute(_ENSURE, {"month": month})
            self._known.add(month)
