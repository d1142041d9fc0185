"""Logos of sellers, by the hash of their content."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters.logo_rows import seller_logo
from services.billing.domain.seller_logo import SellerLogo


class SellerLogos:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def find(self, id: str) -> SellerLogo | None:
        table = seller_logo.c
        wanted = select(seller_logo).where(table.tenant == self._uow.tenant, table.id == id)
        row = (await self._uow.connection.execute(wanted)).mappings().first()
        if row is None:
            return None
        return SellerLogo(row["id"], row["media_type"], bytes(row["content"]), row["created_at"])

    async def keep(self, logo: SellerLogo) -> None:
        """The same picture again is the one that is there."""
        row = {
            "tenant": self._uow.tenant,
            "id": logo.id,
            "media_type": logo.media_type,
            "content": logo.content,
            "created_at": logo.created_at,
        }
        await self._uow.connection.execute(insert(seller_logo).values(row).on_conflict_do_nothing())
