"""A tenant changes what may change of a product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.clock import Clock
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.product import Product, ProductDetails, change_details, details_of


@dataclass(frozen=True, slots=True)
class ChangeProduct:
    """`change` makes the new details from those that are locked, so that what is not named stays."""

    product_id: str
    change: Callable[[ProductDetails], ProductDetails]


async def change_product(
    command: ChangeProduct, *, uow: UnitOfWork, clock: Clock, check_version: Callable[[int], None]
) -> Product:
    """Change it. The same details again change nothing and say nothing.

    Emits: ProductChanged.
    Raises: ProductNotFound, ProductArchived, and what `check_version` raises for the version that was locked.
    """
    product = await uow.products.get_for_update(command.product_id)
    check_version(product.version)
    changed = change_details(product, command.change(details_of(product)))
    if changed is not product:
        uow.products.save(changed)
        uow.record("product.changed", changed.id, changed.version)
        event = events.product_changed(changed, tenant=uow.tenant, now=clock.system_now())
        uow.outbox.append(event, key=changed.id)
    return changed
