"""Sellers, and who of them issues the invoices."""

from __future__ import annotations

from sqlalchemy import select, text

from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters import rows
from services.billing.adapters.party_mapping import seller_from_row, seller_to_row
from services.billing.domain.seller import Seller, SellerNotFound


class SellerRepository(Repository[Seller]):
    """Whether there is a seller is settled under a lock: a draft that found none is there for him who makes one."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.seller,
            to_row=seller_to_row,
            from_row=seller_from_row,
            not_found=lambda id: SellerNotFound("no seller has this id", id=id),
        )
        self._default: Seller | None = None
        self._is_settled = False
        self._read: dict[str, Seller | None] = {}

    def reset(self) -> None:
        super().reset()
        self._default, self._is_settled = None, False
        self._read.clear()

    async def find(self, id: str) -> Seller | None:
        """Read once in a unit of work: many documents of a batch may name the same seller."""
        if id in self._locked:
            return self._locked[id]
        if id not in self._read:
            self._read[id] = await super().find(id)
        return self._read[id]

    def add(self, aggregate: Seller) -> None:
        super().add(aggregate)
        if aggregate.is_default:
            self._default = aggregate

    async def find_default(self) -> Seller | None:
        if self._default is None and not self._is_settled:
            self._default = await self._read_default()
            if self._default is None:
                await self._lock("pg_advisory_xact_lock_shared")
                self._default = await self._read_default()
                self._is_settled = True
        return self._default

    async def step_down(self, seller: Seller) -> None:
        assert not seller.is_default, "he steps down"
        self.save(seller)
        await self.flush()
        self._default = None

    async def lock_default(self) -> None:
        await self._lock("pg_advisory_xact_lock")

    async def _read_default(self) -> Seller | None:
        found = await self.uow.connection.execute(select(rows.seller).where(rows.seller.c.is_default))
        row = found.mappings().first()
        return seller_from_row(row) if row else None

    async def _lock(self, function: str) -> None:
        await self.uow.connection.execute(
            text(f"SELECT {function}(hashtextextended('seller/' || :tenant, 0))"), {"tenant": self.uow.tenant}
        )
