"""A tenant makes a product: something that it sells."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.ids import new_id
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.product import Product, ProductDetails, ProductKind


@dataclass(frozen=True, slots=True)
class CreateProduct:
    code: str
    kind: ProductKind
    details: ProductDetails


async def create_product(command: CreateProduct, *, uow: UnitOfWork, clock: Clock) -> Product:
    """Make it.

    Emits: ProductChanged.
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
        tax_category=details.tax_category,
        gtin=details.gtin,
        external_id=details.external_id,
        metadata=details.metadata,
        version=1,
        created_at=now,
    )
    uow.products.add(product)
    uow.record("product.created", product.id)
    uow.outbox.append(events.product_changed(product, tenant=uow.tenant, now=now), key=product.id)
    return product
