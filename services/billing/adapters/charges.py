"""Charges: which are recorded, and which stand on a document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select

from libs.common.persistence.base import bulk_insert, is_among
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import mapping, rows
from services.billing.domain.charge import Charge


class ChargeRepository:
    """Charges are added, never changed. Those of a draft are at hand once loaded."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._added: list[Charge] = []
        self._known: dict[str, bool] = {}
        self._by_invoice: dict[str, list[Charge]] = {}

    def reset(self) -> None:
        self._known.clear()
        self._by_invoice.clear()

    async def load_recorded(self, ids: Iterable[str]) -> None:
        missing = set(ids) - self._known.keys()
        if missing:
            self._known.update(dict.fromkeys(missing, False))
            found = select(rows.charge.c.id).where(is_among(rows.charge.c.id, missing))
            self._known.update({row.id: True for row in await self._uow.connection.execute(found)})

    async def recorded(self, ids: Sequence[str]) -> set[str]:
        await self.load_recorded(ids)
        return {id for id in ids if self._known[id]}

    async def load_of_invoices(self, invoice_ids: Iterable[str]) -> None:
        missing = set(invoice_ids) - self._by_invoice.keys()
        if missing:
            self._by_invoice.update({id: [] for id in missing})
            found = select(rows.charge).where(is_among(rows.charge.c.invoice_id, missing))
            for row in (await self._uow.connection.execute(found)).mappings():
                self._by_invoice[row["invoice_id"]].append(mapping.charge_from_row(row))
            for charge in self._added:
                if charge.invoice_id in missing:
                    self._by_invoice[charge.invoice_id].append(charge)

    async def of_invoice(self, invoice_id: str) -> list[Charge]:
        await self.load_of_invoices([invoice_id])
        return self._by_invoice[invoice_id]

    async def of_periods(self, subscription_id: str, start: int, end: int) -> list[Charge]:
        """Those of the billing periods from `start` until before `end`, written already."""
        table = rows.charge
        found = select(table).where(
            table.c.tenant == self._uow.tenant,
            table.c.subscription_id == subscription_id,
            table.c.period_index.between(start, end - 1),
        )
        return [
            mapping.charge_from_row(row) for row in (await self._uow.connection.execute(found)).mappings()
        ]

    def add(self, charge: Charge) -> None:
        self._added.append(charge)
        self._known[charge.id] = True
        if charge.invoice_id in self._by_invoice:
            self._by_invoice[charge.invoice_id].append(charge)

    async def flush(self) -> None:
        added, self._added = self._added, []
        await bulk_insert(
            self._uow.connection,
            rows.charge,
            [{"tenant": self._uow.tenant, **mapping.charge_to_row(charge)} for charge in added],
        )
