"""Requests and answers about customers."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from libs.common.web.bodies import (
    Currency,
    ExternalId,
    Instant,
    Metadata,
    Name,
    StrictBody,
    Zone,
    identifier,
)
from libs.common.web.contact_bodies import AddressParts, Country, Email, Locale
from services.subscriptions.application.create_customer import CreateCustomer
from services.subscriptions.domain.customer import ERASED_NAME, PAYMENT_TERMS_DAYS_MAX, Customer
from services.subscriptions.domain.postal_address import PostalAddress
from services.subscriptions.domain.vat_id import VAT_ID_LENGTH_MAX

KEPT = (
    "Documents that were issued keep the name and the address that they were issued with, as the law wants of them.",
    "The customer's id, when it was added, its country, currency, zone, locale, payment terms and parent stay.",
    "Events that told of it before, and answers kept for an Idempotency-Key, are gone after seven days.",
)
_EXAMPLE: dict[str, Any] = {
    "name": "Delta Air Lines",
    "legal_name": "Delta Air Lines, Inc.",
    "email": "accounts@delta.example",
    "external_id": "crm-4711",
    "address": {
        "line1": "1030 Delta Blvd",
        "postal_code": "30354-1989",
        "city": "Atlanta",
        "region": "GA",
        "country": "US",
    },
    "currency": "USD",
    "zone": "America/New_York",
    "locale": "en-US",
    "payment_terms_days": 30,
    "metadata": {"segment": "airlines"},
}
_SHOWN = {
    **_EXAMPLE,
    "id": "cus_01jz3v6m1qk0c8n4r2d5s7t9wx",
    "is_erased": False,
    "version": 1,
    "created_at": "2025-06-01T12:00:00Z",
}
_LEFT = {
    **{name: _EXAMPLE[name] for name in ("currency", "zone", "locale", "payment_terms_days")},
    "id": "cus_01jz3v6m1qk0c8n4r2d5s7t9wx",
    "name": ERASED_NAME,
    "country": "US",
    "metadata": {},
    "is_erased": True,
    "erased_at": "2025-09-01T12:00:00Z",
    "version": 2,
    "created_at": "2025-06-01T12:00:00Z",
}


def _examples(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [value]})


CustomerId = Annotated[str, identifier("cus"), Field(examples=["cus_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
VatId = Annotated[
    str,
    Field(
        pattern=r"^[0-9A-Za-zÑñ&+*./ -]{2,40}$",
        max_length=VAT_ID_LENGTH_MAX,
        examples=["CHE-107.787.577 MWST"],
    ),
]
PaymentTermsDays = Annotated[int, Field(strict=True, ge=0, le=PAYMENT_TERMS_DAYS_MAX, examples=[30])]
NamePrefix = Annotated[str, Field(min_length=2, max_length=200, examples=["Delta"])]


class AddressBody(AddressParts):
    @classmethod
    def from_domain(cls, address: PostalAddress) -> Self:
        return cls(**{name: getattr(address, name) for name in cls.model_fields})

    def to_domain(self) -> PostalAddress:
        return PostalAddress(**{name: getattr(self, name) for name in type(self).model_fields})


class CustomerCreateBody(StrictBody):
    """Who agrees and pays. `zone` is the default of new subscriptions.

    `country` is where it is taxed: its address's unless given. `vat_id` is checked by form and check digit and must be
    that country's; nobody is asked whether it was given out. `parent_id` is the customer that pays for this one.
    `payment_terms_days`: how long it has to pay, where that is not for the seller to say.
    """

    model_config = _examples(_EXAMPLE)

    name: Name = Field(examples=["Delta Air Lines"])
    legal_name: Name | None = Field(default=None, examples=["Delta Air Lines, Inc."])
    email: Email | None = None
    external_id: ExternalId | None = None
    address: AddressBody | None = None
    country: Country | None = None
    vat_id: VatId | None = Field(default=None, examples=[None])
    currency: Currency | None = None
    zone: Zone | None = None
    locale: Locale | None = None
    parent_id: CustomerId | None = Field(default=None, examples=[None])
    payment_terms_days: PaymentTermsDays | None = None
    metadata: Metadata = Field(default_factory=dict)

    def to_command(self) -> CreateCustomer:
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return CreateCustomer(**{**given, "address": self.address.to_domain() if self.address else None})


class CustomerChangeBody(StrictBody):
    """What is left out stays as it is. All but `name` and `metadata` are taken away by null.

    An address is replaced as a whole. Who pays for the customer from now on is named on its next documents.
    """

    model_config = _examples({"email": "invoices@delta.example", "payment_terms_days": 14})

    name: Name | SkipJsonSchema[None] = None
    legal_name: Name | None = None
    email: Email | None = None
    external_id: ExternalId | None = None
    address: AddressBody | None = None
    country: Country | None = None
    vat_id: VatId | None = Field(default=None, examples=[None])
    currency: Currency | None = None
    zone: Zone | None = None
    locale: Locale | None = None
    parent_id: CustomerId | None = Field(default=None, examples=[None])
    payment_terms_days: PaymentTermsDays | None = None
    metadata: Metadata | SkipJsonSchema[None] = None

    @field_validator("name", "metadata", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("must not be null: leave it out to keep it as it is")
        return value

    def changes(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return {**given, "address": self.address.to_domain()} if self.address else given


class CustomerBody(StrictBody):
    """`is_erased`: what identified a person is gone for good; `name` says so."""

    model_config = _examples(_SHOWN)

    id: str
    name: str
    legal_name: str | None
    email: str | None
    external_id: str | None
    address: AddressBody | None
    country: str | None
    vat_id: str | None
    currency: str | None
    zone: str | None
    locale: str | None
    parent_id: str | None
    payment_terms_days: int | None
    metadata: dict[str, str]
    is_erased: bool
    erased_at: Instant | None
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, customer: Customer) -> Self:
        return cls(
            id=customer.id,
            name=customer.name,
            legal_name=customer.legal_name,
            email=customer.email,
            external_id=customer.external_id,
            address=AddressBody.from_domain(customer.address) if customer.address else None,
            country=customer.country,
            vat_id=customer.vat_id,
            currency=customer.currency,
            zone=customer.zone,
            locale=customer.locale,
            parent_id=customer.parent_id,
            payment_terms_days=customer.payment_terms_days,
            metadata=dict(customer.metadata or {}),
            is_erased=customer.is_erased,
            erased_at=customer.erased_at,
            version=customer.version,
            created_at=customer.created_at,
        )


class CustomerErasureBody(StrictBody):
    """What is left of the customer, and where something of it is kept, and for how long."""

    model_config = _examples({"customer": _LEFT, "kept": list(KEPT)})

    customer: CustomerBody
    kept: tuple[str, ...]

    @classmethod
    def from_domain(cls, customer: Customer) -> Self:
        return cls(customer=CustomerBody.from_domain(customer), kept=KEPT)
