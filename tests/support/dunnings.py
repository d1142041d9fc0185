"""Dunnings in memory, beside the agreements that they follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from services.billing.domain.dunning import Dunning, DunningNotFound, dunning_id
from services.billing.domain.dunning_terms import AS_BY_DEFAULT, DunningTerms
from tests.support.memory import MemoryRepository

if TYPE_CHECKING:
    from tests.support.billing import MemoryBilling


class MemoryDunnings(MemoryRepository[Dunning]):
    def __init__(self, uow: MemoryBilling) -> None:
        super().__init__(lambda id: DunningNotFound("the invoice was never overdue", id=id))
        self._uow = uow

    async def find_of_invoice(self, invoice_id: str) -> Dunning | None:
        return await self.find_for_update(dunning_id(invoice_id))

    async def terms_of(self, subscription_ids: Iterable[str]) -> Mapping[str, DunningTerms]:
        known = self._uow.agreements.by_id
        return {id: known[id].dunning if id in known else AS_BY_DEFAULT for id in subscription_ids}
