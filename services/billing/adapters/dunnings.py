"""Dunnings, and the schedules of the agreements that they follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, select, update

from libs.common.persistence.base import is_among, missing_from
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.adapters.agreements import AgreementRepository
from services.billing.adapters.dunning_json import dunning_terms_from_json, dunning_terms_to_json
from services.billing.adapters.dunning_rows import dunning as table
from services.billing.domain.dunning import Dunning, DunningNotFound, StepBehind, dunning_id
from services.billing.domain.dunning_terms import AS_BY_DEFAULT, DunningTerms

_BEHIND = ("reopened_count", "kind", "number", "outcome", "actor", "reason")
_SAME = tuple(name for name in Dunning.__slots__ if name not in ("agreements", "retry_days", "behind"))


class DunningRepository(Repository[Dunning]):
    """Whoever makes or changes one holds its invoice. The scheduler holds them first, and so waits for no invoice."""

    def __init__(self, uow: UnitOfWork, agreements: AgreementRepository) -> None:
        super().__init__(
            uow,
            table,
            to_row=dunning_to_row,
            from_row=dunning_from_row,
            not_found=lambda id: DunningNotFound("the invoice was never overdue", id=id),
        )
        self._agreements = agreements
        self._terms: dict[str, DunningTerms] = {}

    def reset(self) -> None:
        super().reset()
        self._terms.clear()

    async def find_of_invoice(self, invoice_id: str) -> Dunning | None:
        return await self.find_for_update(dunning_id(invoice_id))

    async def load_of_invoices(self, invoices: Mapping[str, Iterable[str]]) -> None:
        """All that failed tries of these invoices will need, in two statements; by invoice, the subscriptions."""
        await self.load_for_update(dunning_id(id) for id in invoices)
        begin = (about for id, about in invoices.items() if self._locked[dunning_id(id)] is None)
        await self.load_terms(subscription_id for about in begin for subscription_id in about)

    async def terms_of(self, subscription_ids: Iterable[str]) -> Mapping[str, DunningTerms]:
        """As told by now, also in this unit of work. Agreements that were never told of have the default."""
        ids = list(subscription_ids)
        await self.load_terms(ids)
        return {id: self._terms_at_hand(id) or self._terms[id] for id in ids}

    def _terms_at_hand(self, id: str) -> DunningTerms | None:
        known = self._agreements.at_hand(id)
        return None if known is None else known.dunning

    async def load_terms(self, subscription_ids: Iterable[str]) -> None:
        """At once, for a whole batch: those of agreements that are not at hand."""
        wanted = missing_from(subscription_ids, self._terms)
        missing = {id for id in wanted if self._terms_at_hand(id) is None}
        if not missing:
            return
        self._terms.update(dict.fromkeys(missing, AS_BY_DEFAULT))
        agreed = rows.agreement.c
        found = select(agreed.id, agreed.snapshot["dunning"]).where(is_among(agreed.id, missing))
        for id, stored in await self.uow.connection.execute(found):
            self._terms[id] = dunning_terms_from_json(stored)

    async def lock_free_invoices(self, invoice_ids: Iterable[str]) -> set[str]:
        """Those that nobody else holds, locked. Nobody waits: who holds one may be about to change its dunning."""
        invoice = rows.invoice
        free = (
            select(invoice.c.id)
            .where(is_among(invoice.c.id, set(invoice_ids)))
            .order_by(invoice.c.id)
            .with_for_update(skip_locked=True)
        )
        return set((await self.uow.connection.execute(free)).scalars())

    async def look_again_at(self, ids: Iterable[str], at: datetime) -> None:
        """No scheduler looks at them until then, by the wall. They are held."""
        await self.uow.connection.execute(
            update(table).where(is_among(table.c.id, set(ids))).values(retry_at=at)
        )


def dunning_to_row(dunning: Dunning) -> dict[str, Any]:
    return {
        **{name: getattr(dunning, name) for name in _SAME},
        "agreements": [[id, dunning_terms_to_json(terms)] for id, terms in dunning.agreements],
        "retry_days": list(dunning.retry_days),
        "behind": [
            {**{name: getattr(step, name) for name in _BEHIND}, "at": step.at.isoformat()}
            for step in dunning.behind
        ],
    }


def dunning_from_row(row: RowMapping) -> Dunning:
    return Dunning(
        **{name: row[name] for name in _SAME},
        agreements=tuple((id, dunning_terms_from_json(terms)) for id, terms in row["agreements"]),
        retry_days=tuple(row["retry_days"]),
        behind=tuple(
            StepBehind(**{**step, "at": datetime.fromisoformat(step["at"])}) for step in row["behind"]
        ),
    )
