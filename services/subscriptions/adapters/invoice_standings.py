"""Which invoices of which subscriptions are overdue, and which were paid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from sqlalchemy import or_, select

from libs.common.persistence.base import bulk_insert, is_among
from libs.common.persistence.unit_of_work import UnitOfWork
from services.subscriptions.adapters.rows import subscription_invoice
from services.subscriptions.domain.invoice_standing import InvoiceStanding, Standing

_TAIL = """ON CONFLICT (subscription_id, invoice_id)
           DO UPDATE SET standing = excluded.standing, round = excluded.round"""
_OWED = tuple(standing.value for standing in InvoiceStanding if standing is not InvoiceStanding.PAID)


class InvoiceStandingRepository:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._read: dict[str, dict[str, Standing]] = defaultdict(dict)
        self._loaded: set[tuple[str, str]] = set()
        self._put: dict[tuple[str, str], Standing] = {}

    def reset(self) -> None:
        self._read.clear()
        self._loaded.clear()

    async def load(self, invoices: Iterable[tuple[str, str]]) -> None:
        missing = set(invoices) - self._loaded
        if not missing:
            return
        table = subscription_invoice.c
        statement = select(table.subscription_id, table.invoice_id, table.standing, table.round).where(
            is_among(table.subscription_id, {subscription_id for subscription_id, _ in missing}),
            or_(
                table.standing.in_(_OWED),
                is_among(table.invoice_id, {invoice_id for _, invoice_id in missing}),
            ),
        )
        for row in await self._uow.connection.execute(statement):
            # What was put since is newer than what the table still says.
            known = Standing(InvoiceStanding(row.standing), row.round)
            self._read[row.subscription_id].setdefault(row.invoice_id, known)
        self._loaded |= missing

    async def of(self, subscription_id: str, invoice_id: str) -> Mapping[str, Standing]:
        await self.load([(subscription_id, invoice_id)])
        return self._read[subscription_id]

    def put(self, subscription_id: str, invoice_id: str, standing: Standing) -> None:
        self._read[subscription_id][invoice_id] = standing
        self._put[subscription_id, invoice_id] = standing

    async def flush(self) -> None:
        put, self._put = self._put, {}
        rows = [
            {
                "tenant": self._uow.tenant,
                "subscription_id": subscription_id,
                "invoice_id": invoice_id,
                "standing": standing.standing.value,
                "round": standing.reopened_count,
            }
            for (subscription_id, invoice_id), standing in sorted(put.items())
        ]
        await bulk_insert(self._uow.connection, subscription_invoice, rows, tail=_TAIL)
