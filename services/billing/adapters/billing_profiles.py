"""How customers are billed, loaded for a whole batch at once."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from libs.common.persistence.base import is_among, missing_from
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.adapters.party_mapping import profile_from_row, profile_to_row
from services.billing.domain.billing_profile import BillingProfile, BillingProfileNotFound


class BillingProfileRepository(Repository[BillingProfile]):
    """Most customers have none: that, too, is asked for once in a batch."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.billing_profile,
            to_row=profile_to_row,
            from_row=profile_from_row,
            not_found=lambda id: BillingProfileNotFound("the customer has no billing profile", id=id),
        )
        self._loaded: dict[str, BillingProfile | None] = {}

    def reset(self) -> None:
        super().reset()
        self._loaded.clear()

    async def load(self, customer_ids: Iterable[str]) -> None:
        missing = sorted(missing_from(customer_ids, self._loaded))
        if not missing:
            return
        self._loaded.update(dict.fromkeys(missing))
        wanted = select(self.table).where(is_among(self.table.c.id, missing))
        for row in (await self.uow.connection.execute(wanted)).mappings():
            self._loaded[row["id"]] = profile_from_row(row)

    async def find(self, id: str) -> BillingProfile | None:
        if id in self._locked:
            return self._locked[id]
        await self.load([id])
        return self._loaded[id]
