"""How one customer is billed: by which seller, on what kind of documents, and what the law says of the buyer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from libs.common.errors import NotFound
from services.billing.domain.contact_details import DocumentDelivery

TaxStatus = Literal["auto", "taxable", "exempt", "reverse_charge", "outside_scope"]
PaysBy = Literal["gateway", "bank_transfer"]


class BillingProfileNotFound(NotFound):
    code = "billing_profile_not_found"
    title = "There is no such billing profile"


@dataclass(frozen=True, slots=True)
class BillingProfile:
    """What a business says of how a customer is billed; its documents keep it as they found it.

    `seller_id` of None is the tenant's default seller. `gathers`: what falls due on one date stands on one invoice.
    `tax_status` `auto` follows from the countries, the VAT id and the category of what is sold. `is_business` of None:
    whoever has a VAT id. `draft_grace_hours` of None are the seller's. Whoever `pays_by` bank transfer is asked for
    nothing: his invoices wait for the money, and he needs no payment method.
    """

    customer_id: str
    created_at: datetime
    version: int = 1
    seller_id: str | None = None
    gathers: bool = False
    purchase_order: str | None = None
    buyer_reference: str | None = None
    notes: str | None = None
    tax_status: TaxStatus = "auto"
    tax_exemption_reason: str | None = None
    is_business: bool | None = None
    draft_grace_hours: int | None = None
    delivery: DocumentDelivery | None = None
    pays_by: PaysBy = "gateway"

    @property
    def id(self) -> str:
        return self.customer_id


def without_person(profile: BillingProfile) -> BillingProfile:
    """The profile without the words that may name a person. Telling it twice changes nothing."""
    forgotten = replace(
        profile,
        purchase_order=None,
        buyer_reference=None,
        notes=None,
        tax_exemption_reason=None,
        delivery=None,
    )
    return profile if forgotten == profile else replace(forgotten, version=profile.version + 1)
