"""A legal entity starts to issue invoices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from libs.common.ids import new_id
from services.billing.application.ports import UnitOfWork
from services.billing.domain.contact_details import SellerDetails
from services.billing.domain.document_number import NumberReset
from services.billing.domain.invoice_totals import TaxRounding
from services.billing.domain.payment_terms import CountedFrom, DueDayRule
from services.billing.domain.seller import Seller, TaxRegistration


@dataclass(frozen=True, slots=True)
class CreateSeller:
    """Each field is the seller's of the same name."""

    code: str
    name: str
    country: str
    number_prefix: str
    payment_terms_days: int
    address: str | None = None
    tax_number: str | None = None
    number_reset: NumberReset = "never"
    credit_note_prefix: str | None = None
    deposit_prefix: str | None = None
    compensation_prefix: str | None = None
    payment_terms_from: CountedFrom = "issue"
    due_day_rule: DueDayRule = "calendar"
    draft_grace_hours: int = 0
    zero_invoices: Literal["issue", "skip"] = "skip"
    footer: str | None = None
    tax_rounding: TaxRounding = "group"
    registrations: tuple[TaxRegistration, ...] = ()
    details: SellerDetails | None = None


async def create_seller(command: CreateSeller, *, now: datetime, uow: UnitOfWork) -> Seller:
    """The tenant's first seller issues all its invoices; drafts that waited for one become due now.

    Raises: SellerCodeTaken.
    """
    await uow.sellers.lock_default()
    is_first = await uow.sellers.find_default() is None
    seller = Seller(
        **{name: getattr(command, name) for name in CreateSeller.__slots__},
        id=new_id("sel"),
        is_default=is_first,
        version=1,
        created_at=now,
    )
    uow.sellers.add(seller)
    uow.record("seller.created", seller.id)
    if is_first:
        await uow.invoices.release_waiting_for_seller()
    return seller
