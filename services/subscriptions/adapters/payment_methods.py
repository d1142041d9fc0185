"""Whether customers have a payment method, as billing told of it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from libs.common.persistence.base import bulk_insert, is_among, missing_from
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters.rows import customer_payment_method

_NEWER = """
    ON CONFLICT (id) DO UPDATE SET has_one = excluded.has_one, version = excluded.version
    WHERE customer_payment_method.version < excluded.version
"""


class KnownPaymentMethods:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._read: dict[str, bool] = {}

    def reset(self) -> None:
        self._read.clear()

    async def flush(self) -> None:
        """Nothing waits: what is heard is written at once."""

    async def load(self, customer_ids: Iterable[str]) -> None:
        missing = missing_from(customer_ids, self._read)
        if missing:
            table = customer_payment_method.c
            found = await self._uow.connection.execute(
                select(table.id, table.has_one).where(is_among(table.id, missing))
            )
            self._read.update(dict.fromkeys(missing, False))
            self._read.update({row.id: row.has_one for row in found})

    async def has_one(self, customer_id: str) -> bool:
        await self.load([customer_id])
        return self._read[customer_id]

    async def note(self, customer_id: str, has_one: bool, version: int) -> None:
        row = {"tenant": self._uow.tenant, "id": customer_id, "version": version, "has_one": has_one}
        await bulk_insert(self._uow.connection, customer_payment_method, [row], tail=_NEWER)
        self._read.pop(customer_id, None)
