"""Gathered documents in the making: who may add to one now, and what is still to come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import func, select

from libs.common.periods import local_date
from libs.common.persistence.base import bulk_insert, is_among
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.domain.gathering import LATECOMER, GatheringKey
from services.billing.domain.invoice import Invoice


class GatheringRepository:
    """Nobody waits here for anybody: what another holds is left to him, and to the next turn."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def reset(self) -> None: ...

    async def open_for_update(self, wanted: Iterable[Invoice]) -> set[str]:
        """Make those that are not there yet, and lock all that nobody else has; returns the ids of the locked ones.

        Two that make one document wait for each other in id order, holding nothing that the other may want.
        """
        drafts = {draft.id: draft for draft in wanted}
        if not drafts:
            return set()
        table = rows.invoice
        made = await bulk_insert(
            self._uow.connection,
            table,
            [{"tenant": self._uow.tenant, **mapping.invoice_to_row(drafts[id])} for id in sorted(drafts)],
            tail="ON CONFLICT DO NOTHING RETURNING id",
        )
        for row in made:
            self._uow.record("invoice.opened", row["id"])
        free = (
            select(table.c.id)
            .where(is_among(table.c.id, drafts))
            .order_by(table.c.id)
            .with_for_update(skip_locked=True)
        )
        return set((await self._uow.connection.execute(free)).scalars())

    async def awaited(
        self, keys: Sequence[GatheringKey], *, but: Iterable[str]
    ) -> Mapping[GatheringKey, int]:
        """How many have not come yet: agreements that reach a boundary on the date, by what was told of them, and parts
        that have come but are not complete. `but` are the parts that are being gathered in this unit of work.
        """
        found: Counter[GatheringKey] = Counter()
        wanted = set(keys)
        for key in await self._to_reach(keys):
            found[key] += 1
        for key in await self._incomplete(keys, but=but):
            found[key] += 1
        return {key: found[key] for key in wanted}

    async def _to_reach(self, keys: Sequence[GatheringKey]) -> list[GatheringKey]:
        table = rows.agreement
        start, end = min(key.start for key in keys), max(key.end for key in keys)
        currency, zone = table.c.snapshot["currency"].astext, table.c.snapshot["zone"].astext
        chosen = select(
            table.c.payer_id,
            currency.label("currency"),
            zone.label("zone"),
            table.c.clock_id,
            table.c.next_boundary_at,
        ).where(
            table.c.tenant == self._uow.tenant,
            is_among(table.c.payer_id, {key.payer_id for key in keys}),
            table.c.next_boundary_at >= start,
            table.c.next_boundary_at < end,
        )
        return [
            GatheringKey(
                row.payer_id,
                row.currency,
                row.zone,
                row.clock_id,
                local_date(row.next_boundary_at, row.zone),
            )
            for row in await self._uow.connection.execute(chosen)
        ]

    async def _incomplete(self, keys: Sequence[GatheringKey], *, but: Iterable[str]) -> list[GatheringKey]:
        table = rows.invoice
        start, end = min(key.start for key in keys), max(key.end for key in keys)
        chosen = select(
            table.c.customer_id, table.c.currency, table.c.zone, table.c.clock_id, table.c.boundary_at
        ).where(
            table.c.tenant == self._uow.tenant,
            table.c.status == "draft",
            is_among(table.c.customer_id, {key.payer_id for key in keys}),
            table.c.boundary_at >= start,
            table.c.boundary_at < end,
            table.c.document_kind == "invoice",
            table.c.subscription_id.is_not(None),
            table.c.issue > 0,
            table.c.replaces_id.is_(None),
            func.coalesce(table.c.status_reason, "") != LATECOMER,
            ~is_among(table.c.id, but),
        )
        return [
            GatheringKey(
                row.customer_id,
                row.currency,
                row.zone,
                row.clock_id,
                local_date(row.boundary_at, row.zone),
            )
            for row in await self._uow.connection.execute(chosen)
        ]

    async def flush(self) -> None: ...
