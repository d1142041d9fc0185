"""Request and response bodies of billing profiles: how one customer is billed."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from libs.common.web.bodies import Description, Flag, Instant, Name, StrictBody
from services.billing.application.change_billing_profile import ChangeBillingProfile
from services.billing.domain.billing_profile import BillingProfile
from services.billing.entrypoints.contact_bodies import DocumentDeliveryBody
from services.billing.entrypoints.seller_bodies import GraceHours, SellerId

Reference = Annotated[Name, Field(examples=["PO-2026-117"])]
PaysByText = Literal["gateway", "bank_transfer"]
TaxStatusText = Literal["auto", "taxable", "exempt", "reverse_charge", "outside_scope"]


class BillingProfileChangeBody(StrictBody):
    """The whole profile: what is left out is as of a customer who has none.

    Without a `seller_id` the default seller bills. `gathers`: what falls due on one date stands on one invoice.
    `purchase_order`, `buyer_reference` and `notes` stand on each document that says nothing else. Who
    `pays_by` `bank_transfer` is asked for no money: his invoices wait for it.
    """

    seller_id: SellerId | None = None
    gathers: Flag = False
    purchase_order: Reference | None = None
    buyer_reference: Reference | None = None
    notes: Description | None = None
    tax_status: TaxStatusText = "auto"
    tax_exemption_reason: Name | None = None
    is_business: Flag | None = None
    draft_grace_hours: GraceHours | None = None
    delivery: DocumentDeliveryBody | None = None
    pays_by: PaysByText = "gateway"

    def to_command(self, customer_id: str) -> ChangeBillingProfile:
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        fields["delivery"] = None if self.delivery is None else self.delivery.to_domain()
        return ChangeBillingProfile(customer_id, fields)


class BillingProfileBody(StrictBody):
    """`version` is 0, and there is no `created_at`, while nothing was said of the customer."""

    customer_id: str
    seller_id: str | None
    gathers: bool
    purchase_order: str | None
    buyer_reference: str | None
    notes: str | None
    tax_status: TaxStatusText
    tax_exemption_reason: str | None
    is_business: bool | None
    draft_grace_hours: int | None
    delivery: DocumentDeliveryBody | None
    pays_by: PaysByText
    version: int
    created_at: Instant | None

    @classmethod
    def from_domain(cls, profile: BillingProfile) -> Self:
        shown = {name: getattr(profile, name) for name in cls.model_fields}
        delivery = None if profile.delivery is None else DocumentDeliveryBody.from_domain(profile.delivery)
        return cls(
            **{**shown, "delivery": delivery, "created_at": profile.created_at if profile.version else None}
        )
