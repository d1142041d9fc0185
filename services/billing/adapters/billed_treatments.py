"""How lines that were issued are taxed: what puts one right is taxed as it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import select

from libs.common.persistence.base import is_among, missing_from
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.domain.tax_treatment import TaxTreatment


class BilledTreatments:
    """Read for a whole batch where somebody asks for it at once."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._known: dict[str, TaxTreatment] = {}

    def reset(self) -> None:
        self._known.clear()

    async def of_lines(self, line_ids: Iterable[str]) -> Mapping[str, TaxTreatment]:
        wanted = set(line_ids)
        missing = sorted(missing_from(wanted, self._known))
        if missing:
            table = rows.invoice_line
            columns = (
                table.c.id,
                table.c.tax_category,
                table.c.tax_percent,
                table.c.tax_reason_code,
                table.c.tax_reason,
            )
            found = await self._uow.connection.execute(select(*columns).where(is_among(table.c.id, missing)))
            for row in found:
                self._known[row.id] = TaxTreatment(
                    row.tax_category, row.tax_percent, row.tax_reason_code, row.tax_reason
                )
        return {id: self._known[id] for id in wanted if id in self._known}

    async def flush(self) -> None:
        """There is nothing to write."""
