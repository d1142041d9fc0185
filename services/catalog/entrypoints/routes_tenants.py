"""Routes of the operators: tenants, and tokens to be refused."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from libs.common.paging import Slice
from libs.common.web.late_routes import LateRouter
from libs.common.web.pagination import Page, PageDep
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.application import queries
from services.catalog.application.create_tenant import CreateTenant, create_tenant
from services.catalog.application.rename_tenant import RenameTenant, rename_tenant
from services.catalog.application.revoke_token import RevokeToken, revoke_token
from services.catalog.domain.tenant import TenantMode
from services.catalog.entrypoints.bodies import (
    TenantBody,
    TenantChangeBody,
    TenantCreateBody,
    TenantId,
    TokenRevocationBody,
    TokenRevocationCreateBody,
)
from services.catalog.entrypoints.dependencies import ClockDep, OperatorCall, OperatorMakeCall, RevokeCall

router = LateRouter(prefix="/v1", tags=["tenants"])


@router.post("/tenants", status_code=201, response_model=TenantBody, summary="Make a tenant")
async def post_tenant(body: TenantCreateBody, call: OperatorMakeCall, clock: ClockDep) -> Response:
    """A selling business, live or a sandbox. With an `id` of its own, making it again returns it as it is."""
    command = CreateTenant(name=body.name, mode=body.mode, tenant_id=body.id)

    async def work(uow: CatalogUnitOfWork) -> TenantBody:
        return TenantBody.from_domain(await create_tenant(command, uow=uow, clock=clock))

    return await call.once(work, location=lambda made: f"/v1/tenants/{made.id}")


@router.get("/tenants", response_model=Page[TenantBody], summary="List tenants")
async def list_tenants(
    call: OperatorCall, page: PageDep, mode: Annotated[TenantMode | None, Query()] = None
) -> Response:
    """Oldest first."""

    async def work(uow: CatalogUnitOfWork) -> Slice[TenantBody]:
        return (await queries.list_tenants(mode, page, uow=uow)).map(TenantBody.from_domain)

    return await call.page(work)


@router.get("/tenants/{tenant_id}", response_model=TenantBody, summary="Show a tenant")
async def get_tenant(tenant_id: TenantId, call: OperatorCall) -> Response:
    async def work(uow: CatalogUnitOfWork) -> TenantBody:
        return TenantBody.from_domain(await queries.get_tenant(str(tenant_id), uow=uow))

    return await call.read(work)


@router.patch("/tenants/{tenant_id}", response_model=TenantBody, summary="Rename a tenant")
async def patch_tenant(
    tenant_id: TenantId, body: TenantChangeBody, call: OperatorCall, clock: ClockDep
) -> Response:
    """Every service hears of the new name."""
    command = RenameTenant(tenant_id=str(tenant_id), name=body.name)

    async def work(uow: CatalogUnitOfWork) -> TenantBody:
        renamed = await rename_tenant(command, uow=uow, clock=clock, check_version=call.require_version)
        return TenantBody.from_domain(renamed)

    return await call.change(work)


@router.post(
    "/token-revocations",
    status_code=201,
    response_model=TokenRevocationBody,
    tags=["tokens"],
    summary="Revoke a token",
)
async def post_token_revocation(
    body: TokenRevocationCreateBody, call: RevokeCall, clock: ClockDep
) -> Response:
    """Every service refuses the token within seconds: a tenant's own, or anybody's when operators say so.

    Nobody can tell from an id whether there is such a token, or whose it is. So any id is accepted; revoking
    another tenant's, or an operator's, has no effect and tells nothing.
    """
    command = RevokeToken(token_id=body.token_id, expires_at=body.expires_at)

    async def work(uow: CatalogUnitOfWork) -> TokenRevocationBody:
        return TokenRevocationBody.from_domain(await revoke_token(command, uow=uow, clock=clock))

    return await call.once(work)
