"""Making, changing and archiving products."""

from __future__ import annotations

from dataclasses import replace

import pytest

from libs.common.contracts.catalog import ProductChangedV1
from libs.common.errors import PreconditionFailed
from services.catalog.application.archive_product import ArchiveProduct, archive_product
from services.catalog.application.change_product import ChangeProduct, change_product
from services.catalog.application.create_product import CreateProduct, create_product
from services.catalog.domain.product import ProductDetails, ProductNotFound
from tests.support.catalog import MemoryCatalog
from tests.support.clocks import FixedClock
from tests.support.memory import Recorded
from tests.support.versions import OnlyVersion, any_version

DETAILS = ProductDetails(
    name="Desk",
    unit="desk",
    description="",
    external_id="sku-1",
    metadata={"a": "b"},
    tax_category="reduced",
    gtin="96385074",
)


def renamed(details: ProductDetails) -> ProductDetails:
    return replace(details, name="Minutes aloft")


async def test_a_product_is_made(uow: MemoryCatalog, clock: FixedClock) -> None:
    product = await create_product(CreateProduct("desk", "goods", DETAILS), uow=uow, clock=clock)
    assert uow.products.by_id[product.id] == product
    assert (product.code, product.kind, product.name, product.version) == ("desk", "goods", "Desk", 1)
    assert product.created_at == clock.now
    assert uow.recorded == [Recorded("product.created", product.id, 1)]
    (event,) = uow.outbox.events
    assert isinstance(event, ProductChangedV1)
    told = event.product
    assert (told.product_id, told.product_version, told.code, told.kind) == (product.id, 1, "desk", "goods")
    assert (told.unit, told.tax_category, told.gtin) == ("desk", "reduced", "96385074")


async def test_every_change_is_told_once(uow: MemoryCatalog, clock: FixedClock) -> None:
    await change_product(
        ChangeProduct("prd_engine", renamed), uow=uow, clock=clock, check_version=any_version
    )
    for _ in range(2):
        await archive_product(ArchiveProduct("prd_engine"), uow=uow, clock=clock, check_version=any_version)
    told = [event.product for event in uow.outbox.events if isinstance(event, ProductChangedV1)]
    assert [(p.product_version, p.name, p.is_archived) for p in told] == [
        (2, "Minutes aloft", False),
        (3, "Minutes aloft", True),
    ]


async def test_a_product_is_changed(uow: MemoryCatalog, clock: FixedClock) -> None:
    command = ChangeProduct("prd_engine", renamed)
    changed = await change_product(command, uow=uow, clock=clock, check_version=OnlyVersion(1))
    assert uow.products.by_id["prd_engine"] == changed
    assert (changed.name, changed.version) == ("Minutes aloft", 2)
    assert uow.recorded == [Recorded("product.changed", "prd_engine", 2)]


async def test_the_same_details_again_change_nothing(uow: MemoryCatalog, clock: FixedClock) -> None:
    command = ChangeProduct("prd_engine", lambda details: details)
    await change_product(command, uow=uow, clock=clock, check_version=any_version)
    assert uow.products.by_id["prd_engine"].version == 1
    assert (uow.recorded, uow.outbox.events) == ([], [])


async def test_another_version_than_the_named_one_is_left_alone(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    with pytest.raises(PreconditionFailed):
        await change_product(
            ChangeProduct("prd_engine", renamed), uow=uow, clock=clock, check_version=OnlyVersion(7)
        )
    with pytest.raises(PreconditionFailed):
        await archive_product(
            ArchiveProduct("prd_engine"), uow=uow, clock=clock, check_version=OnlyVersion(7)
        )
    assert uow.products.by_id["prd_engine"].version == 1


async def test_archiving_twice_archives_once(uow: MemoryCatalog, clock: FixedClock) -> None:
    command = ArchiveProduct("prd_engine")
    archived = await archive_product(command, uow=uow, clock=clock, check_version=any_version)
    again = await archive_product(command, uow=uow, clock=clock, check_version=any_version)
    assert archived.archived_at == clock.now
    assert again == archived
    assert uow.recorded == [Recorded("product.archived", "prd_engine", 2)]


async def test_an_unknown_product_is_not_found(uow: MemoryCatalog, clock: FixedClock) -> None:
    with pytest.raises(ProductNotFound):
        await change_product(
            ChangeProduct("prd_other", renamed), uow=uow, clock=clock, check_version=any_version
        )
