"""Another legal entity issues what nobody else is named for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from services.billing.application.ports import UnitOfWork
from services.billing.domain.seller import Seller


async def choose_default_seller(
    seller_id: str, *, uow: UnitOfWork, check_version: Callable[[int], None]
) -> Seller:
    """He issues what is issued from now on; of the one who did so far, numbers stay where they are.

    Choosing the default one again changes nothing.
    Raises: SellerNotFound, and what `check_version` raises for the version that was locked.
    """
    await uow.sellers.lock_default()
    known = await uow.sellers.find_default()
    former = None if known is None or known.id == seller_id else await uow.sellers.get_for_update(known.id)
    seller = await uow.sellers.get_for_update(seller_id)
    check_version(seller.version)
    if seller.is_default:
        return seller
    if former is not None:
        stepped_down = replace(former, is_default=False, version=former.version + 1)
        await uow.sellers.step_down(stepped_down)
        uow.record("seller.stepped_down", stepped_down.id, stepped_down.version)
    chosen = replace(seller, is_default=True, version=seller.version + 1)
    uow.sellers.save(chosen)
    uow.record("seller.made_default", chosen.id, chosen.version)
    return chosen
