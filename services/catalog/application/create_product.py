"""A tenant makes a product: something that it sells."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.ids import new_id
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.product import Product, ProductDetails, ProductKind


@dataclass(frozen=True, slots=True)
class CreateProduct:
    code: str
    kind: ProductKind
    details: ProductDetails


async def create_product(command: CreateProduct, *, uow: UnitOfWork, clock: Clock) -> Product:
    """Make it. Nothing is said: readers learn of a product by the prices of a published plan.

    Raises: ProductCodeTaken, when the unit of work is flushed.
    """
    now = clock.system_now()
    details = command.details
    product = Product(
        id=new_id("prd", now),
        code=command.code,
        name=details.name,
        kind=command.kind,
        unit=details.unit,
        description=details.description,
        external_id=details.external_id,
        metadata=details.metadata,
        version=1,
        created_at=now,
    )
    uow.products.add(product)
    uow.record("product.created", product.id)
    return product
