"""The terms of periods as last told, and whether they have been held against what was charged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ARRAY, Integer, Select, Text, cast, func, select, tuple_

from libs.common.persistence.base import bulk_insert, is_among, missing_from
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.domain.terms import PeriodTerms

PeriodKey = tuple[str, int]


class PeriodTermsRepository:
    """The newest of each period. Whoever reads or keeps them holds their agreement locked."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._known: dict[PeriodKey, PeriodTerms | None] = {}
        self._unsettled: dict[str, dict[int, PeriodTerms]] = {}
        self._changed: set[PeriodKey] = set()

    def reset(self) -> None:
        self._known.clear()
        self._unsettled.clear()

    async def load(self, keys: Iterable[PeriodKey], *, unsettled_of: Iterable[str] = ()) -> None:
        """Those of these periods, and all that are not settled yet of these subscriptions."""
        missing = sorted(missing_from(keys, self._known))
        subscriptions = missing_from(unsettled_of, self._unsettled)
        if not missing and not subscriptions:
            return
        table = rows.period_terms.c
        mine = is_among(table.subscription_id, {id for id, _ in missing} | subscriptions)
        is_wanted = tuple_(table.subscription_id, table.period_index).in_(listed(missing))
        found = await self._uow.connection.execute(
            select(rows.period_terms).where(mine, is_wanted | ~table.is_settled)
        )
        self._known.update(dict.fromkeys(missing))
        self._unsettled.update({id: {} for id in subscriptions})
        for row in found.mappings():
            terms = self._known.get((row["subscription_id"], row["period_index"]))
            if terms is None:
                terms = mapping.terms_from_row(row)
                self._known[terms.key] = terms
            if not row["is_settled"] and terms.subscription_id in subscriptions:
                self._unsettled[terms.subscription_id][terms.period.index] = terms

    async def find(self, subscription_id: str, period_index: int) -> PeriodTerms | None:
        await self.load([(subscription_id, period_index)])
        return self._known[subscription_id, period_index]

    async def of_periods(self, subscription_id: str, start: int, end: int) -> dict[int, PeriodTerms]:
        """Those that were told of the periods from `start` until before `end`."""
        await self.load([(subscription_id, index) for index in range(start, end)])
        found = {index: self._known[subscription_id, index] for index in range(start, end)}
        return {index: terms for index, terms in found.items() if terms is not None}

    async def unsettled(self, subscription_id: str) -> list[PeriodTerms]:
        await self.load([], unsettled_of=[subscription_id])
        found = self._unsettled[subscription_id]
        return [found[index] for index in sorted(found)]

    async def keep_newest(self, terms: PeriodTerms) -> None:
        subscription_id, index = terms.key
        await self.load([terms.key], unsettled_of=[subscription_id])
        known = self._known[terms.key]
        if known is None or known.version < terms.version:
            self._known[terms.key] = terms
            self._unsettled[subscription_id][index] = terms
            self._changed.add(terms.key)

    async def settle(self, terms: PeriodTerms) -> None:
        subscription_id, index = terms.key
        await self.load([], unsettled_of=[subscription_id])
        if self._unsettled[subscription_id].pop(index, None) is not None:
            self._changed.add(terms.key)

    async def flush(self) -> None:
        changed, self._changed = self._changed, set()
        given = []
        for subscription_id, index in sorted(changed):
            terms = self._known[subscription_id, index]
            assert terms is not None, "what was kept or settled is known"
            is_settled = index not in self._unsettled[subscription_id]
            given.append({"tenant": self._uow.tenant, **mapping.terms_to_row(terms, is_settled=is_settled)})
        await bulk_insert(
            self._uow.connection,
            rows.period_terms,
            given,
            tail="ON CONFLICT (subscription_id, period_index) DO UPDATE "
            "SET version = excluded.version, terms = excluded.terms, is_settled = excluded.is_settled",
        )


def listed(keys: Sequence[PeriodKey]) -> Select[PeriodKey]:
    """Two arrays, however many pairs: the statement is spelled once."""
    return select(
        func.unnest(cast([subscription_id for subscription_id, _ in keys], ARRAY(Text))),
        func.unnest(cast([period_index for _, period_index in keys], ARRAY(Integer))),
    )
