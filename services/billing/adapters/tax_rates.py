"""Rates of tax: those of the tenant's own, read once in a transaction, beside those that ship with the program."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import RowMapping, func, select

from libs.common.paging import PageRequest, Position, Slice
from libs.common.persistence.base import bulk_insert
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters.shipped_tax_rates import shipped_table, shipped_tax_rates
from services.billing.adapters.tax_rate_rows import tax_rate
from services.billing.domain.tax_rate import TaxRate, TaxTable, ordered

_FIELDS = ("id", "country", "category", "percent", "valid_from", "source", "created_at")


class TaxRateRepository:
    """Rates are added, never changed."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._table: TaxTable | None = None
        self._added: list[TaxRate] = []

    def reset(self) -> None:
        self._table = None

    async def table(self) -> TaxTable:
        """One statement for all documents of a tenant, and none where no seller is registered for tax."""
        if self._table is None:
            wanted = select(tax_rate).where(tax_rate.c.tenant == self._uow.tenant)
            found = (await self._uow.connection.execute(wanted)).mappings()
            own = [*(_from_row(row) for row in found), *self._added]
            self._table = TaxTable(shipped=shipped_table(), own=ordered(own))
        return self._table

    async def count(self) -> int:
        counted = select(func.count()).where(tax_rate.c.tenant == self._uow.tenant)
        return int((await self._uow.connection.execute(counted)).scalar_one()) + len(self._added)

    def add(self, rate: TaxRate) -> None:
        self._added.append(rate)
        self._table = None

    async def page(self, page: PageRequest, *, country: str | None, category: str | None) -> Slice[TaxRate]:
        """Shipped and own as one list; those that are shipped count as written on the day from which they hold."""
        wanted = select(tax_rate)
        if country is not None:
            wanted = wanted.where(tax_rate.c.country == country)
        if category is not None:
            wanted = wanted.where(tax_rate.c.category == category)
        own = await fetch_page(
            self._uow.connection,
            wanted,
            created_at=tax_rate.c.created_at,
            id=tax_rate.c.id,
            page=replace(page, limit=page.limit + 1),
            to_view=_from_row,
        )
        shipped = [
            rate
            for rate in shipped_tax_rates()
            if country in (None, rate.country) and category in (None, rate.category) and _is_on(rate, page)
        ]
        found = sorted([*own.items, *shipped], key=_place)
        shown = found[: page.limit]
        last = Position(*_place(shown[-1])) if len(found) > page.limit else None
        return Slice(items=tuple(shown), next=last)

    async def flush(self) -> None:
        added, self._added = self._added, []
        rows = [
            {"tenant": self._uow.tenant, **{name: getattr(rate, name) for name in _FIELDS}} for rate in added
        ]
        await bulk_insert(self._uow.connection, tax_rate, rows)


def _from_row(row: RowMapping) -> TaxRate:
    plain: dict[str, Any] = {name: row[name] for name in _FIELDS}
    return TaxRate(**plain)


def _place(rate: TaxRate) -> tuple[Any, str]:
    return rate.created_at, rate.id


def _is_on(rate: TaxRate, page: PageRequest) -> bool:
    if page.after is not None and _place(rate) <= (page.after.created_at, page.after.id):
        return False
    if page.created_from is not None and rate.created_at < page.created_from:
        return False
    return page.created_to is None or rate.created_at < page.created_to
