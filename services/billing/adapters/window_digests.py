"""Seals of windows, kept as they were said."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping, select

from libs.common.persistence.base import bulk_insert
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters.window_digest_rows import window_digest
from services.billing.domain.window_digest import UsageDigest, WindowDigest


class WindowDigestRepository:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._added: dict[str, WindowDigest] = {}

    def add(self, sealed: WindowDigest) -> None:
        self._added[_id(sealed)] = sealed

    def reset(self) -> None:
        self._added.clear()

    async def flush(self) -> None:
        added, self._added = self._added, {}
        given = [{"tenant": self._uow.tenant, "id": id, **_to_row(added[id])} for id in sorted(added)]
        await bulk_insert(self._uow.connection, window_digest, given, tail="ON CONFLICT (id) DO NOTHING")

    async def of_windows(self, window_ids: Collection[str]) -> list[WindowDigest]:
        """All seals of these windows, the oldest first."""
        table = window_digest
        wanted = (
            select(table).where(table.c.window_id.in_(window_ids)).order_by(table.c.window_id, table.c.seal)
        )
        if not window_ids:
            return []
        return [_from_row(row) for row in (await self._uow.connection.execute(wanted)).mappings()]


def _id(sealed: WindowDigest) -> str:
    return f"{sealed.window_id}/{sealed.seal}"


def _to_row(sealed: WindowDigest) -> dict[str, Any]:
    return {
        "window_id": sealed.window_id,
        "subscription_id": sealed.subscription_id,
        "period_index": sealed.period_index,
        "revision": sealed.revision,
        "seal": sealed.seal,
        "sealed_at": sealed.sealed_at,
        "digests": [
            {
                **{name: getattr(digest, name) for name in UsageDigest.__slots__},
                "quantity": str(digest.quantity),
            }
            for digest in sealed.digests
        ],
    }


def _from_row(row: RowMapping) -> WindowDigest:
    return WindowDigest(
        window_id=row["window_id"],
        subscription_id=row["subscription_id"],
        period_index=row["period_index"],
        revision=row["revision"],
        seal=row["seal"],
        sealed_at=row["sealed_at"],
        digests=tuple(
            UsageDigest(**{**digest, "quantity": Decimal(digest["quantity"])}) for digest in row["digests"]
        ),
    )
