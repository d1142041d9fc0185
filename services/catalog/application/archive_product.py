"""A tenant stops selling a product: no new price may name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.clock import Clock
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.product import Product, archive


@dataclass(frozen=True, slots=True)
class ArchiveProduct:
    product_id: str


async def archive_product(
    command: ArchiveProduct, *, uow: UnitOfWork, clock: Clock, check_version: Callable[[int], None]
) -> Product:
    """Archive it; published prices go on. Archiving twice is harmless.

    Emits: ProductChanged.
    Raises: ProductNotFound, and what `check_version` raises for the version that was locked.
    """
    product = await uow.products.get_for_update(command.product_id)
    check_version(product.version)
    now = clock.system_now()
    archived = archive(product, now)
    if archived is not product:
        uow.products.save(archived)
        uow.record("product.archived", archived.id, archived.version)
        uow.outbox.append(events.product_changed(archived, tenant=uow.tenant, now=now), key=archived.id)
    return archived
