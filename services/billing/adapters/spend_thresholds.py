"""Spend thresholds, one for each subscription at most."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, update

from libs.common.errors import NotFound
from libs.common.money import Money
from libs.common.paging import PageRequest, Slice
from libs.common.persistence.base import is_among
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import billing_run_rows as rows
from services.billing.domain.spend_threshold import SpendThreshold


class SpendThresholdRepository(Repository[SpendThreshold]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.spend_threshold,
            to_row=_to_row,
            from_row=_from_row,
            not_found=lambda id: NotFound("the subscription has no spend threshold", id=id),
        )

    async def claim(self, ids: Sequence[str], *, until: datetime) -> None:
        """Nobody else looks at them before `until`, by the wall. They were locked."""
        table = self.table
        await self.uow.connection.execute(
            update(table).where(is_among(table.c.id, ids)).values(retry_at=until)
        )

    async def unclaim(self, id: str) -> None:
        """Its usage was looked at."""
        table = self.table
        await self.uow.connection.execute(
            update(table).where(table.c.id == id).values(retry_at=None, attempts=0, last_error=None)
        )

    async def list_thresholds(self, page: PageRequest, *, customer_id: str | None) -> Slice[SpendThreshold]:
        chosen = () if customer_id is None else (self.table.c.customer_id == customer_id,)
        return await self.page_of(page, self.table.c.tenant == self.uow.tenant, *chosen)


def _to_row(threshold: SpendThreshold) -> dict[str, Any]:
    return {
        "id": threshold.id,
        "customer_id": threshold.customer_id,
        "amount_minor": None if threshold.amount is None else threshold.amount.amount_minor,
        "currency": None if threshold.amount is None else threshold.amount.currency,
        "checked_at": threshold.checked_at,
        "created_at": threshold.created_at,
        "version": threshold.version,
        "clock_id": threshold.clock_id,
        "due_at": threshold.due_at,
    }


def _from_row(row: RowMapping) -> SpendThreshold:
    return SpendThreshold(
        subscription_id=row["id"],
        customer_id=row["customer_id"],
        amount=None if row["amount_minor"] is None else Money(row["amount_minor"], row["currency"]),
        created_at=row["created_at"],
        clock_id=row["clock_id"],
        version=row["version"],
        checked_at=row["checked_at"],
        due_at=row["due_at"],
    )
