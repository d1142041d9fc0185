"""Reads of refunds and disputes on one transaction."""

from __future__ import annotations

from sqlalchemy import select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.paging import fetch_page
from services.billing.adapters.credit_note_rows import refund
from services.billing.adapters.dispute_rows import dispute
from services.billing.adapters.disputes import dispute_from_row
from services.billing.adapters.refunds import refund_from_row
from services.billing.adapters.unit_of_work import BillingUnitOfWork
from services.billing.domain.dispute import Dispute, DisputeNotFound
from services.billing.domain.refund import Refund, RefundNotFound


class RefundQueries:
    """`customer_id` of None is anybody; else nothing of anybody else is there."""

    def __init__(self, uow: BillingUnitOfWork) -> None:
        self._connection = uow.connection

    async def list_refunds(self, page: PageRequest, **wanted: str | None) -> Slice[Refund]:
        """Those whose columns have the values that are wanted; None is any."""
        conditions = [refund.c[name] == value for name, value in wanted.items() if value is not None]
        return await fetch_page(
            self._connection,
            select(refund).where(*conditions),
            created_at=refund.c.created_at,
            id=refund.c.id,
            page=page,
            to_view=refund_from_row,
        )

    async def get_refund(self, id: str, *, customer_id: str | None) -> Refund:
        """Raises: RefundNotFound, also when it is not `customer_id`'s."""
        wanted = select(refund).where(refund.c.id == id)
        row = (await self._connection.execute(wanted)).mappings().first()
        if row is None or customer_id not in (None, row["customer_id"]):
            raise RefundNotFound("no refund has this id")
        return refund_from_row(row)

    async def list_disputes(self, page: PageRequest, **wanted: str | None) -> Slice[Dispute]:
        """Those whose columns have the values that are wanted; None is any."""
        conditions = [dispute.c[name] == value for name, value in wanted.items() if value is not None]
        return await fetch_page(
            self._connection,
            select(dispute).where(*conditions),
            created_at=dispute.c.created_at,
            id=dispute.c.id,
            page=page,
            to_view=dispute_from_row,
        )

    async def get_dispute(self, id: str, *, customer_id: str | None) -> Dispute:
        """Raises: DisputeNotFound, also when it is not `customer_id`'s."""
        wanted = select(dispute).where(dispute.c.id == id)
        row = (await self._connection.execute(wanted)).mappings().first()
        if row is None or customer_id not in (None, row["customer_id"]):
            raise DisputeNotFound("no dispute has this id")
        return dispute_from_row(row)
