"""Reads of wallets. Under a portal token, whatever is another customer's is not there."""

from __future__ import annotations

from sqlalchemy import select

from libs.common.paging import PageRequest, Slice
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.unit_of_work import UnitOfWork
from services.billing.adapters.wallet_rows import wallet, wallet_entry, wallet_grant, wallet_top_up
from services.billing.adapters.wallets import (
    entry_from_row,
    grant_from_row,
    top_up_from_row,
    wallet_from_row,
)
from services.billing.domain.wallet import Grant, Wallet, WalletEntry, WalletNotFound
from services.billing.domain.wallet_top_up import TopUp


class WalletQueries:
    def __init__(self, uow: UnitOfWork) -> None:
        self._connection, self._tenant = uow.connection, uow.tenant

    async def get(self, id: str, *, customer_id: str | None) -> Wallet:
        found = (await self._connection.execute(select(wallet).where(wallet.c.id == id))).mappings().first()
        if found is None or customer_id not in (None, found["customer_id"]):
            raise WalletNotFound("no wallet has this id", id=id)
        return wallet_from_row(found)

    async def list_wallets(
        self, page: PageRequest, *, customer_id: str | None, currency: str | None
    ) -> Slice[Wallet]:
        wanted = select(wallet)
        if customer_id is not None:
            wanted = wanted.where(wallet.c.customer_id == customer_id)
        if currency is not None:
            wanted = wanted.where(wallet.c.currency == currency)
        return await fetch_page(
            self._connection,
            wanted,
            created_at=wallet.c.created_at,
            id=wallet.c.id,
            page=page,
            to_view=wallet_from_row,
        )

    async def list_grants(self, id: str, page: PageRequest, *, customer_id: str | None) -> Slice[Grant]:
        await self.get(id, customer_id=customer_id)
        return await fetch_page(
            self._connection,
            select(wallet_grant).where(wallet_grant.c.tenant == self._tenant, wallet_grant.c.wallet_id == id),
            created_at=wallet_grant.c.granted_at,
            id=wallet_grant.c.id,
            page=page,
            to_view=grant_from_row,
        )

    async def list_entries(
        self, id: str, page: PageRequest, *, customer_id: str | None
    ) -> Slice[WalletEntry]:
        await self.get(id, customer_id=customer_id)
        return await fetch_page(
            self._connection,
            select(wallet_entry).where(wallet_entry.c.tenant == self._tenant, wallet_entry.c.wallet_id == id),
            created_at=wallet_entry.c.recorded_at,
            id=wallet_entry.c.id,
            page=page,
            to_view=entry_from_row,
        )

    async def list_top_ups(self, id: str, page: PageRequest, *, customer_id: str | None) -> Slice[TopUp]:
        await self.get(id, customer_id=customer_id)
        return await fetch_page(
            self._connection,
            select(wallet_top_up).where(
                wallet_top_up.c.tenant == self._tenant, wallet_top_up.c.wallet_id == id
            ),
            created_at=wallet_top_up.c.requested_at,
            id=wallet_top_up.c.id,
            page=page,
            to_view=top_up_from_row,
        )
