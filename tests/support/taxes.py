"""Rates of tax and how lines were taxed, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from services.billing.adapters.shipped_tax_rates import shipped_table
from services.billing.domain.tax_rate import TaxRate, TaxTable, ordered
from services.billing.domain.tax_treatment import TaxTreatment


class MemoryTaxRates:
    def __init__(self) -> None:
        self.own: list[TaxRate] = []

    async def table(self) -> TaxTable:
        return TaxTable(shipped_table(), ordered(self.own))

    async def count(self) -> int:
        return len(self.own)

    def add(self, rate: TaxRate) -> None:
        self.own.append(rate)


class MemoryBilledTreatments:
    def __init__(self) -> None:
        self.by_line: dict[str, TaxTreatment] = {}

    async def of_lines(self, line_ids: Iterable[str]) -> Mapping[str, TaxTreatment]:
        return {id: self.by_line[id] for id in line_ids if id in self.by_line}
