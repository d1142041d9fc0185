"""A seller gets another logo, or none: on documents that are issued from now on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from services.billing.application.ports import UnitOfWork
from services.billing.domain.contact_details import SellerDetails
from services.billing.domain.seller import Seller
from services.billing.domain.seller_logo import SellerLogo


class LogoStore(Protocol):
    async def keep(self, logo: SellerLogo) -> None: ...


async def change_logo(
    seller_id: str,
    logo: SellerLogo | None,
    *,
    uow: UnitOfWork,
    logos: LogoStore,
    check_version: Callable[[int], None],
) -> Seller:
    """Issued documents keep the one that they have. The same again changes nothing.

    Raises: SellerNotFound, and what `check_version` raises for the version that was locked.
    """
    seller = await uow.sellers.get_for_update(seller_id)
    check_version(seller.version)
    details = seller.details or SellerDetails()
    if logo is not None:
        await logos.keep(logo)
    wanted = None if logo is None else logo.id
    if details.logo == wanted:
        return seller
    changed = replace(seller, details=replace(details, logo=wanted), version=seller.version + 1)
    uow.sellers.save(changed)
    uow.record("seller.logo_changed", changed.id, changed.version)
    return changed
