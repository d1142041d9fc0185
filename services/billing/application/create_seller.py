"""A legal entity starts to issue invoices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.common.ids import new_id
from services.billing.application.ports import UnitOfWork
from services.billing.domain.seller import Seller


@dataclass(frozen=True, slots=True)
class CreateSeller:
    code: str
    name: str
    country: str
    number_prefix: str
    payment_terms_days: int
    address: str | None = None
    tax_number: str | None = None


async def create_seller(command: CreateSeller, *, now: datetime, uow: UnitOfWork) -> Seller:
    """The tenant's first seller issues all its invoices; drafts that waited for one become due now.

    Raises: SellerCodeTaken.
    """
    await uow.sellers.lock_default()
    is_first = await uow.sellers.find_default() is None
    seller = Seller(
        id=new_id("sel"),
        code=command.code,
        name=command.name,
        country=command.country,
        number_prefix=command.number_prefix,
        payment_terms_days=command.payment_terms_days,
        is_default=is_first,
        version=1,
        created_at=now,
        address=command.address,
        tax_number=command.tax_number,
    )
    uow.sellers.add(seller)
    uow.record("seller.created", seller.id)
    if is_first:
        await uow.invoices.release_waiting_for_seller()
    return seller
