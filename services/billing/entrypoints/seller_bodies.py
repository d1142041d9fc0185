"""Request and response bodies of sellers: who issues documents, under which numbers, and when they are due."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from libs.common.web.bodies import Code, Description, Instant, Name, StrictBody, identifier
from services.billing.application.create_seller import CreateSeller
from services.billing.domain.seller import Seller, TaxRegistration
from services.billing.entrypoints.contact_bodies import SellerDetailsBody
from services.billing.entrypoints.tax_bodies import TaxRegistrationBody

SellerId = Annotated[str, identifier("sel")]

# A number ends in its ordinal: what stands before that ends in something else.
Prefix = Annotated[
    str,
    Field(pattern=r"^(?:[A-Z]|[A-Z0-9][A-Z0-9/-]{0,14}[A-Z/-])$", max_length=16, examples=["INV-"]),
]
PaymentTermsDays = Annotated[int, Field(strict=True, ge=0, le=365)]
GraceHours = Annotated[int, Field(strict=True, ge=0, le=24 * 60, examples=[24])]
CountedFromText = Literal["issue", "month_end"]
TaxNumber = Annotated[str, Field(max_length=64)]
TaxRoundingText = Literal["group", "line", "document"]
Registrations = Annotated[list[TaxRegistrationBody], Field(max_length=64)]

_OTHERWISE = frozenset({"registrations", "details"})


def registered(registrations: list[TaxRegistrationBody]) -> tuple[TaxRegistration, ...]:
    return tuple(registration.to_domain() for registration in registrations)


class NewSellerBody(StrictBody):
    """Each prefix stands before the numbers of one kind of document. With `number_reset` `year` the year follows it, and
    they count anew with each: `F-2026-000001`. `draft_grace_hours`: how long a complete draft waits for a look at it.
    `zero_invoices`: whether an invoice is made where all that was had was free. A seller without a `tax_number` and
    `registrations` charges no tax. `tax_rounding`: once for each rate, or for each line.
    """

    code: Code
    name: Name
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", examples=["NL"])]
    number_prefix: Prefix = "INV-"
    payment_terms_days: PaymentTermsDays = 14
    address: Description | None = None
    tax_number: TaxNumber | None = None
    number_reset: Literal["never", "year"] = "never"
    credit_note_prefix: Prefix | None = None
    deposit_prefix: Prefix | None = None
    compensation_prefix: Prefix | None = None
    payment_terms_from: CountedFromText = "issue"
    due_day_rule: Literal["calendar", "next_business_day"] = "calendar"
    draft_grace_hours: GraceHours = 0
    zero_invoices: Literal["issue", "skip"] = "skip"
    footer: Description | None = None
    tax_rounding: TaxRoundingText = "group"
    registrations: Registrations = Field(default_factory=list)
    details: SellerDetailsBody | None = None

    def to_command(self) -> CreateSeller:
        plain = {name: getattr(self, name) for name in type(self).model_fields if name not in _OTHERWISE}
        details = None if self.details is None else self.details.to_domain()
        return CreateSeller(**plain, registrations=registered(self.registrations), details=details)


class SellerChangeBody(StrictBody):
    """What is left out stays as it is; what may be missing is taken away by null. Documents that are issued keep the
    seller as he was. A changed prefix begins a count of its own, and one that comes back goes on where it was.
    """

    name: Name | SkipJsonSchema[None] = None
    number_prefix: Prefix | SkipJsonSchema[None] = None
    payment_terms_days: PaymentTermsDays | SkipJsonSchema[None] = None
    address: Description | None = None
    tax_number: TaxNumber | None = None
    number_reset: Literal["never", "year"] | SkipJsonSchema[None] = None
    credit_note_prefix: Prefix | None = None
    deposit_prefix: Prefix | None = None
    compensation_prefix: Prefix | None = None
    payment_terms_from: CountedFromText | SkipJsonSchema[None] = None
    due_day_rule: Literal["calendar", "next_business_day"] | SkipJsonSchema[None] = None
    draft_grace_hours: GraceHours | SkipJsonSchema[None] = None
    zero_invoices: Literal["issue", "skip"] | SkipJsonSchema[None] = None
    footer: Description | None = None
    tax_rounding: TaxRoundingText | SkipJsonSchema[None] = None
    registrations: Registrations | SkipJsonSchema[None] = None
    details: SellerDetailsBody | None = None

    @field_validator(
        "name",
        "number_prefix",
        "payment_terms_days",
        "number_reset",
        "payment_terms_from",
        "due_day_rule",
        "draft_grace_hours",
        "zero_invoices",
        "tax_rounding",
        "registrations",
        mode="before",
    )
    @classmethod
    def _given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("must not be null: leave it out to keep it as it is")
        return value

    def changes(self) -> dict[str, Any]:
        changes = {name: getattr(self, name) for name in self.model_fields_set}
        if self.registrations is not None:
            changes["registrations"] = registered(self.registrations)
        if self.details is not None:
            changes["details"] = self.details.to_domain()
        return changes


class SellerBody(StrictBody):
    id: str
    code: str
    name: str
    country: str
    number_prefix: str
    payment_terms_days: int
    is_default: bool
    address: str | None
    tax_number: str | None
    number_reset: str
    credit_note_prefix: str | None
    deposit_prefix: str | None
    compensation_prefix: str | None
    payment_terms_from: CountedFromText
    due_day_rule: str
    draft_grace_hours: int
    zero_invoices: str
    footer: str | None
    tax_rounding: TaxRoundingText
    registrations: list[TaxRegistrationBody]
    details: SellerDetailsBody | None
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, seller: Seller) -> Self:
        plain = {name: getattr(seller, name) for name in cls.model_fields if name not in _OTHERWISE}
        known = [TaxRegistrationBody.from_domain(registration) for registration in seller.registrations]
        details = None if seller.details is None else SellerDetailsBody.from_domain(seller.details)
        return cls(**plain, registrations=known, details=details)
