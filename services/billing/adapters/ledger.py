"""The ledger: only ever added to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from libs.common.persistence.base import bulk_insert
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.domain.ledger_entry import LedgerEntry


class LedgerRepository:
    """Entries are only ever added, each balanced set in one statement."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._rows: list[dict[str, Any]] = []

    def reset(self) -> None: ...

    def post(
        self,
        entries: Iterable[LedgerEntry],
        *,
        posted_at: datetime,
        invoice_id: str | None = None,
        attempt_id: str | None = None,
        balance_entry_id: str | None = None,
    ) -> None:
        self._rows += [
            {
                "tenant": self._uow.tenant,
                "posting_key": entry.posting,
                "ordinal": ordinal,
                "account": entry.account,
                "amount_minor": entry.amount.amount_minor,
                "currency": entry.amount.currency,
                "posted_at": posted_at,
                "invoice_id": invoice_id,
                "attempt_id": attempt_id,
                "balance_entry_id": balance_entry_id,
            }
            for ordinal, entry in enumerate(entries)
        ]

    async def flush(self) -> None:
        posted, self._rows = self._rows, []
        await bulk_insert(self._uow.connection, rows.ledger_entry, posted)
