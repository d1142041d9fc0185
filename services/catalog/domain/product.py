"""A product: what is sold. Its code is what people call it by, and never changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from stdnum import ean

from libs.common.errors import Conflict, InvalidInput, NotFound

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


class GtinInvalid(InvalidInput):
    """No GTIN looks like this, or its check digit is that of another."""

    code = "gtin_invalid"
    title = "The GTIN is invalid"


@dataclass(frozen=True, slots=True)
class Product:
    """`unit` is what its quantity is counted in, as it reads on an invoice (`flying minute`).

    `tax_category` is the tenant's own word for how it is taxed; `gtin` the number under which it is traded.
    """

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
    tax_category: str | None = None
    gtin: str | None = None
    archived_at: datetime | None = None

    @property
    def archived(self) -> bool:
        return self.archived_at is not None


@dataclass(frozen=True, slots=True)
class ProductDetails:
    """What of a product may change: not its id, its code or its kind.

    Raises: GtinInvalid.
    """

    name: str
    unit: str | None
    description: str
    external_id: str | None
    metadata: Mapping[str, str]
    tax_category: str | None = None
    gtin: str | None = None

    def __post_init__(self) -> None:
        if self.gtin is not None and not is_gtin(self.gtin):
            raise GtinInvalid(
                "no GTIN has this number",
                pointer="/gtin",
                remedy="Send the 8, 12, 13 or 14 digits below the bar code, the check digit included.",
            )


def is_gtin(number: str) -> bool:
    """Whether it is all digits, of a length that there is, with the right check digit.

    Source: GS1 General Specifications, 7.9.1: GTIN-8, GTIN-12 (UPC), GTIN-13 (EAN) and GTIN-14.
    """
    return number.isascii() and number.isdigit() and bool(ean.is_valid(number))


def details_of(product: Product) -> ProductDetails:
    return ProductDetails(**{name: getattr(product, name) for name in ProductDetails.__slots__})


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
    changes = {name: getattr(details, name) for name in ProductDetails.__slots__}
    return replace(product, **changes, version=product.version + 1)


def archive(product: Product, now: datetime) -> Product:
    """No new price may be made for it from now on; published prices go on. Archiving twice is harmless."""
    if product.archived:
        return product
    return replace(product, archived_at=now, version=product.version + 1)
