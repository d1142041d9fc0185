"""A legal entity issues its documents another way from now on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.billing.application.ports import UnitOfWork
from services.billing.domain.contact_details import SellerDetails
from services.billing.domain.seller import Seller


@dataclass(frozen=True, slots=True)
class ChangeSeller:
    """`changes` are fields of the seller by their names; what is not named stays."""

    seller_id: str
    changes: Mapping[str, Any]


async def change_seller(
    command: ChangeSeller, *, uow: UnitOfWork, check_version: Callable[[int], None]
) -> Seller:
    """Issued documents keep the seller as he was. The same again changes nothing.

    Raises: SellerNotFound, and what `check_version` raises for the version that was locked.
    """
    seller = await uow.sellers.get_for_update(command.seller_id)
    check_version(seller.version)
    changed = _with_logo(replace(seller, **command.changes), seller)
    if changed == seller:
        return seller
    changed = replace(changed, version=seller.version + 1)
    uow.sellers.save(changed)
    uow.record("seller.changed", changed.id, changed.version)
    return changed


def _with_logo(changed: Seller, seller: Seller) -> Seller:
    """The logo is sent on its own, and stays whatever is said of the other details."""
    logo = None if seller.details is None else seller.details.logo
    if changed.details == seller.details or logo is None:
        return changed
    return replace(changed, details=replace(changed.details or SellerDetails(), logo=logo))
