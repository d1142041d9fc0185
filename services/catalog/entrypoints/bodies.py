"""Requests and answers about tenants, revoked tokens and products."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from libs.common.web.bodies import (
    Code,
    Description,
    ExternalId,
    Instant,
    Metadata,
    Name,
    StrictBody,
    identifier,
)
from services.catalog.domain.product import Product, ProductDetails, ProductKind, is_gtin
from services.catalog.domain.tenant import Tenant, TenantMode
from services.catalog.domain.token_revocation import TokenRevocation


def _not_nil(value: UUID) -> UUID:
    if not value.int:
        raise ValueError("must not be the nil UUID, which stands for the operators")
    return value


def _gtin(value: str) -> str:
    if not is_gtin(value):
        raise ValueError("must be the 8, 12, 13 or 14 digits of a GTIN, the right check digit included")
    return value


ProductId = Annotated[str, identifier("prd"), Field(examples=["prd_01jz3v6m1qk0c8n4r2d5s7t9wx"])]
TenantId = Annotated[UUID, AfterValidator(_not_nil), Field(examples=["0197c7b3-41a2-7d6e-9f00-5a3c8e1b2d47"])]
TokenId = Annotated[
    str, Field(pattern=r"^[\x21-\x7e]{1,220}$", max_length=220, examples=["tok_01jz3v6m1qk0c8n4r2d5s7t9wx"])
]
Unit = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=40, examples=["flying minute"])]

TaxCategory = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9_.:-]{0,63})$", max_length=64, examples=["standard"])
]
"""The tenant's own word for how a thing is taxed: `standard`, `reduced`, `books`."""

Gtin = Annotated[
    str, Field(pattern=r"^[0-9]{8,14}$", max_length=14, examples=["4006381333931"]), AfterValidator(_gtin)
]


def examples(*values: dict[str, Any]) -> ConfigDict:
    """What a body looks like, as the OpenAPI document shows it."""
    return ConfigDict(json_schema_extra={"examples": list(values)})


class TenantCreateBody(StrictBody):
    """A selling business. Its mode never changes. `id` is made here unless it is given."""

    id: TenantId | None = None
    name: Name = Field(examples=["Cloudhop Engines"])
    mode: TenantMode = Field(examples=["sandbox"])


class TenantChangeBody(StrictBody):
    name: Name


class TenantBody(StrictBody):
    id: str = Field(examples=["0197c7b3-41a2-7d6e-9f00-5a3c8e1b2d47"])
    name: str = Field(examples=["Cloudhop Engines"])
    mode: TenantMode = Field(examples=["sandbox"])
    version: int
    created_at: Instant

    @classmethod
    def from_domain(cls, tenant: Tenant) -> Self:
        return cls(
            id=tenant.id,
            name=tenant.name,
            mode=tenant.mode,
            version=tenant.version,
            created_at=tenant.created_at,
        )


class TokenRevocationCreateBody(StrictBody):
    """`token_id` is the token's `jti`. Leave `expires_at` out unless the token's `exp` is known for certain."""

    token_id: TokenId
    expires_at: Instant | None = None


class TokenRevocationBody(StrictBody):
    """The token is refused by every service within seconds, until it would have expired by itself."""

    token_id: str = Field(examples=["tok_01jz3v6m1qk0c8n4r2d5s7t9wx"])
    expires_at: Instant

    @classmethod
    def from_domain(cls, revocation: TokenRevocation) -> Self:
        return cls(token_id=revocation.token_id, expires_at=revocation.expires_at)


_PRODUCT: dict[str, Any] = {
    "code": "luminaire",
    "name": "Luminaire LED 40 W",
    "kind": "goods",
    "unit": "luminaire",
    "description": "Ceiling light, dimmable",
    "tax_category": "standard",
    "gtin": "4006381333931",
    "external_id": "sku-4711",
    "metadata": {"colour": "white"},
}


class ProductCreateBody(StrictBody):
    """Something that is sold. `code` and `kind` never change; `unit` is what its quantity is counted in."""

    model_config = examples(_PRODUCT)

    code: Code
    name: Name
    kind: ProductKind = Field(examples=["service"])
    unit: Unit | None = None
    description: Description = ""
    tax_category: TaxCategory | None = None
    gtin: Gtin | None = None
    external_id: ExternalId | None = None
    metadata: Metadata = Field(default_factory=dict)

    def details(self) -> ProductDetails:
        return ProductDetails(**{name: getattr(self, name) for name in ProductDetails.__slots__})


class ProductChangeBody(StrictBody):
    """What is left out stays as it is. `unit`, `tax_category`, `gtin` and `external_id` are taken away by null."""

    model_config = examples({"name": "Luminaire LED 45 W", "gtin": None})

    name: Name | SkipJsonSchema[None] = None
    unit: Unit | None = None
    description: Description | SkipJsonSchema[None] = None
    tax_category: TaxCategory | None = None
    gtin: Gtin | None = None
    external_id: ExternalId | None = None
    metadata: Metadata | SkipJsonSchema[None] = None

    @field_validator("name", "description", "metadata", mode="before")
    @classmethod
    def _given(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("must not be null: leave it out to keep it as it is")
        return value

    def apply(self, details: ProductDetails) -> ProductDetails:
        return replace(details, **{name: getattr(self, name) for name in self.model_fields_set})


class ProductBody(StrictBody):
    model_config = ConfigDict(
        from_attributes=True,
        **examples(
            {
                "id": "prd_01jz3v6m1qk0c8n4r2d5s7t9wx",
                **_PRODUCT,
                "version": 1,
                "created_at": "2025-06-01T12:00:00Z",
                "archived_at": None,
            }
        ),
    )

    id: str
    code: str
    name: str
    kind: ProductKind
    unit: str | None
    description: str
    tax_category: str | None
    gtin: str | None
    external_id: str | None
    metadata: dict[str, str]
    version: int
    created_at: Instant
    archived_at: Instant | None

    @classmethod
    def from_domain(cls, product: Product) -> Self:
        return cls.model_validate(product)
