"""The tax engine that needs nobody else: rules and rates that are kept here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.billing.adapters.shipped_tax_rates import shipped_table
from services.billing.domain.tax_assessment import TaxAssessment, TaxQuestion, assess
from services.billing.domain.tax_rate import TaxTable


class KeptRates(Protocol):
    async def table(self) -> TaxTable: ...


class TableTaxEngine:
    """By the law's rates, and before them those of the tenant's own."""

    def __init__(self, rates: KeptRates) -> None:
        self._rates = rates

    async def assess(self, question: TaxQuestion) -> Sequence[TaxAssessment]:
        """Who is registered nowhere needs no rates."""
        if not question.registrations:
            return assess(question, TaxTable(shipped_table(), {}))
        return assess(question, await self._rates.table())
