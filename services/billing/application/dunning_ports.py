"""What dunning needs from outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from services.billing.domain.dunning import Dunning
from services.billing.domain.dunning_terms import DunningTerms


class Dunnings(Protocol):
    async def find_of_invoice(self, invoice_id: str) -> Dunning | None:
        """Locked; the invoice is, before it."""
        ...

    async def find_for_update(self, id: str) -> Dunning | None: ...

    async def terms_of(self, subscription_ids: Iterable[str]) -> Mapping[str, DunningTerms]:
        """The schedules agreed on, as told by now."""
        ...

    def add(self, aggregate: Dunning) -> None: ...

    def save(self, aggregate: Dunning) -> None: ...
