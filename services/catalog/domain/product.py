"""A product: what is sold. Its code is what people call it by, and never changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from libs.common.errors import Conflict, NotFound

ProductKind = Literal["goods", "service", "digital"]


class ProductNotFound(NotFound):
    """No product of this tenant has this id."""

    code = "product_not_found"
    title = "There is no such product"


class ProductCodeTaken(Conflict):
    """Another product of this tenant has the code, perhaps an archived one."""

    code = "product_code_taken"
    title = "The product code is taken"


class ProductArchived(Conflict):
    """An archived product is kept for what was sold of it, and changes no more."""

    code = "product_archived"
    title = "The product is archived"


@dataclass(frozen=True, slots=True)
class Product:
    """`unit` is what its quantity is counted in, as it reads on an invoice (`flying minute`)."""

    id: str
    code: str
    name: str
    kind: ProductKind
    unit: str | None
    description: str
    external_id: str | None
    metadata: Mapping[str, str]
    version: int
    created_at: datetime
    archived_at: datetime | None = None

    @property
    def archived(self) -> bool:
        return self.archived_at is not None


@dataclass(frozen=True, slots=True)
class ProductDetails:
    """What of a product may change: not its id, its code or its kind."""

    name: str
    unit: str | None
    description: str
    external_id: str | None
    metadata: Mapping[str, str]


def details_of(product: Product) -> ProductDetails:
    return ProductDetails(
        name=product.name,
        unit=product.unit,
        description=product.description,
        external_id=product.external_id,
        metadata=product.metadata,
    )


def change_details(product: Product, details: ProductDetails) -> Product:
    """The product with these details; itself when they are the same. Published prices keep their own words.

    Raises: ProductArchived.
    """
    if details == details_of(product):
        return product
    if product.archived:
        raise ProductArchived(
            "an archived product cannot be changed",
            product_id=product.id,
            remedy="Make a new product with another code.",
        )
    return replace(
        product,
        name=details.name,
        unit=details.unit,
        description=details.description,
        external_id=details.external_id,
        metadata=details.metadata,
        version=product.version + 1,
    )


def archive(product: Product, now: datetime) -> Product:
    """No new price may be made for it from now on; published prices go on. Archiving twice is harmless."""
    if product.archived:
        return product
    return replace(product, archived_at=now, version=product.version + 1)
