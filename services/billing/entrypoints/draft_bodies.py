"""Request and response bodies of what people do to drafts: one-off invoices, manual lines, references."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from libs.common.web.bodies import (
    BusinessDate,
    Currency,
    DecimalText,
    Description,
    ExternalId,
    Flag,
    Instant,
    Quantity,
    StrictBody,
    Zone,
    identifier,
)
from services.billing.application.add_manual_line import NewManualLine
from services.billing.application.create_invoice import CreateInvoice
from services.billing.domain.manual_line import ManualLine
from services.billing.domain.payment_terms import PaymentTerms
from services.billing.entrypoints.bodies import CustomerId, ServicePeriodBody
from services.billing.entrypoints.profile_bodies import Reference
from services.billing.entrypoints.seller_bodies import CountedFromText, PaymentTermsDays

LINES_MAX = 200

ManualLineId = Annotated[str, identifier("mln")]


def _not_zero(value: Decimal) -> Decimal:
    if not value:
        raise ValueError("must be more or less than nothing")
    return value


def _given_back_by_quantity(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("-"):
        raise ValueError("must not be negative: to give something back, make the quantity negative")
    return value


LineQuantity = Annotated[DecimalText, AfterValidator(_not_zero)]
LinePrice = Annotated[Quantity, BeforeValidator(_given_back_by_quantity)]
LineDescription = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
    Field(examples=["Delivery"]),
]
TaxCategoryWord = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9_.:-]{0,63})$", max_length=64, examples=["standard"])
]
ProductId = Annotated[str, identifier("prd")]
TaxBehavior = Literal["exclusive", "inclusive"]
Purpose = Literal["sale", "sla_credit"]


class NewServicePeriodBody(StrictBody):
    """Local dates in the document's zone; `end` is not included."""

    start: BusinessDate
    end: BusinessDate

    @model_validator(mode="after")
    def _has_length(self) -> Self:
        if self.end <= self.start:
            raise ValueError("end must come after start")
        return self


def _dates(period: NewServicePeriodBody | None) -> dict[str, Any]:
    return {
        "service_start_on": None if period is None else period.start,
        "service_end_on": None if period is None else period.end,
    }


class NewManualLineBody(StrictBody):
    """`quantity` times `unit_amount`, rounded once. A credit has a negative quantity; the price is never negative.

    An `sla_credit` makes up for service that was missed. Without a service period it is supplied on the day of its
    document.
    """

    description: LineDescription
    quantity: LineQuantity = Decimal(1)
    unit_amount: LinePrice
    tax_category: TaxCategoryWord | None = None
    tax_behavior: TaxBehavior = "exclusive"
    purpose: Purpose = "sale"
    product_id: ProductId | None = None
    service_period: NewServicePeriodBody | None = None

    def to_domain(self) -> NewManualLine:
        plain = {name: getattr(self, name) for name in type(self).model_fields if name != "service_period"}
        return NewManualLine(**plain, **_dates(self.service_period))


class ManualLineChangeBody(StrictBody):
    """What is left out stays as it is. `tax_category`, `product_id` and `service_period` are taken away by null."""

    description: LineDescription | SkipJsonSchema[None] = None
    quantity: LineQuantity | SkipJsonSchema[None] = None
    unit_amount: LinePrice | SkipJsonSchema[None] = None
    tax_category: TaxCategoryWord | None = None
    tax_behavior: TaxBehavior | SkipJsonSchema[None] = None
    purpose: Purpose | SkipJsonSchema[None] = None
    product_id: ProductId | None = None
    service_period: NewServicePeriodBody | None = None

    @field_validator("description", "quantity", "unit_amount", "tax_behavior", "purpose", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("must not be null: leave it out to keep it as it is")
        return value

    def changes(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in self.model_fields_set if name != "service_period"}
        return (
            {**given, **_dates(self.service_period)} if "service_period" in self.model_fields_set else given
        )


class ManualLineBody(StrictBody):
    id: str
    invoice_id: str
    description: str
    quantity: DecimalText
    unit_amount: DecimalText
    currency: str
    tax_category: str | None
    tax_behavior: TaxBehavior
    purpose: Purpose
    product_id: str | None
    service_period: ServicePeriodBody | None
    created_at: Instant

    @classmethod
    def from_domain(cls, line: ManualLine) -> Self:
        plain = {name: getattr(line, name) for name in cls.model_fields if name != "service_period"}
        start_on, end_on = line.service_start_on, line.service_end_on
        given = start_on is not None and end_on is not None
        return cls(**plain, service_period=ServicePeriodBody(start=start_on, end=end_on) if given else None)


class PaymentTermsBody(StrictBody):
    """`days` after the date of issue, or after the last day of its month."""

    days: PaymentTermsDays
    counted_from: CountedFromText = "issue"

    def to_domain(self) -> PaymentTerms:
        return PaymentTerms(self.days, self.counted_from)


class NewInvoiceBody(StrictBody):
    """An invoice for what no subscription tells of. It stays a draft unless `finalize` says otherwise.

    `zone` says on which local date it is issued; it is the customer's unless given. Without `payment_terms` the
    customer's hold, or else the seller's.
    """

    customer_id: CustomerId
    currency: Currency
    zone: Zone | None = None
    lines: Annotated[tuple[NewManualLineBody, ...], Field(max_length=LINES_MAX)] = ()
    finalize: Flag = False
    notes: Description | None = None
    purchase_order: Reference | None = None
    buyer_reference: Reference | None = None
    external_id: ExternalId | None = None
    payment_terms: PaymentTermsBody | None = None

    @model_validator(mode="after")
    def _has_something_to_ask_for(self) -> Self:
        if self.finalize and not self.lines:
            raise ValueError("an invoice that is finalized at once needs lines")
        return self

    def to_command(self) -> CreateInvoice:
        return CreateInvoice(
            customer_id=self.customer_id,
            currency=self.currency,
            zone=self.zone,
            lines=tuple(line.to_domain() for line in self.lines),
            finalize=self.finalize,
            notes=self.notes,
            purchase_order=self.purchase_order,
            buyer_reference=self.buyer_reference,
            external_id=self.external_id,
            payment_terms=None if self.payment_terms is None else self.payment_terms.to_domain(),
        )


class InvoiceChangeBody(StrictBody):
    """What is left out stays as it is; null takes away, so that the customer's profile and terms hold again."""

    notes: Description | None = None
    purchase_order: Reference | None = None
    buyer_reference: Reference | None = None
    payment_terms: PaymentTermsBody | None = None

    def changes(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return {**given, "payment_terms": self.payment_terms.to_domain()} if self.payment_terms else given
