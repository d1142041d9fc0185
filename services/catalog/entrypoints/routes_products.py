"""Routes of products."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.bodies import Code, ExternalId
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.application import queries
from services.catalog.application.archive_product import ArchiveProduct, archive_product
from services.catalog.application.change_product import ChangeProduct, change_product
from services.catalog.application.create_product import CreateProduct, create_product
from services.catalog.application.ports import ProductFilter
from services.catalog.domain.product import ProductKind
from services.catalog.entrypoints.bodies import (
    Gtin,
    ProductBody,
    ProductChangeBody,
    ProductCreateBody,
    ProductId,
)
from services.catalog.entrypoints.dependencies import ClockDep, MakeCall, ReadCall, WriteCall

router = LateRouter(prefix="/v1/products", tags=["products"])


@router.post("", status_code=201, response_model=ProductBody, summary="Make a product")
async def post_product(body: ProductCreateBody, call: MakeCall, clock: ClockDep) -> Response:
    """Something that is sold, by itself or within plans."""
    command = CreateProduct(code=body.code, kind=body.kind, details=body.details())

    async def work(uow: CatalogUnitOfWork) -> ProductBody:
        return ProductBody.from_domain(await create_product(command, uow=uow, clock=clock))

    return await call.once(work, location=lambda made: f"/v1/products/{made.id}")


@router.get("", response_model=Page[ProductBody], summary="List products")
async def list_products(
    call: ReadCall,
    page: PageDep,
    code: Annotated[Code | None, Query()] = None,
    kind: Annotated[ProductKind | None, Query()] = None,
    external_id: Annotated[ExternalId | None, Query()] = None,
    gtin: Annotated[Gtin | None, Query()] = None,
    archived: Annotated[bool | None, Query(description="Only archived ones, or only others.")] = None,
) -> Response:
    """Oldest first, archived ones included unless told otherwise."""
    wanted = ProductFilter(code=code, kind=kind, external_id=external_id, gtin=gtin, archived=archived)

    async def work(uow: CatalogUnitOfWork) -> Slice[ProductBody]:
        return (await queries.list_products(wanted, page, uow=uow)).map(ProductBody.from_domain)

    return await call.page(work)


@router.get("/{product_id}", response_model=ProductBody, summary="Show a product")
async def get_product(product_id: ProductId, call: ReadCall) -> Response:
    async def work(uow: CatalogUnitOfWork) -> ProductBody:
        return ProductBody.from_domain(await queries.get_product(product_id, uow=uow))

    return await call.read(work)


@router.patch("/{product_id}", response_model=ProductBody, summary="Change a product")
async def patch_product(
    product_id: ProductId, body: ProductChangeBody, call: WriteCall, clock: ClockDep
) -> Response:
    """Published prices keep the words that they were published with."""
    command = ChangeProduct(product_id=product_id, change=body.apply)

    async def work(uow: CatalogUnitOfWork) -> ProductBody:
        changed = await change_product(command, uow=uow, clock=clock, check_version=call.require_version)
        return ProductBody.from_domain(changed)

    return await call.change(work)


@router.post("/{product_id}/archival", response_model=ProductBody, summary="Archive a product")
async def post_product_archival(product_id: ProductId, call: WriteCall, clock: ClockDep) -> Response:
    """No new price may name it; what was published goes on. Archiving it again changes nothing."""
    command = ArchiveProduct(product_id=product_id)

    async def work(uow: CatalogUnitOfWork) -> ProductBody:
        archived = await archive_product(command, uow=uow, clock=clock, check_version=call.require_version)
        return ProductBody.from_domain(archived)

    return await call.change(work)
