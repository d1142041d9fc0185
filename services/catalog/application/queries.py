"""Reads that answer a screen. They change nothing."""

from __future__ import annotations

from libs.common.paging import PageRequest, Slice
from services.catalog.application.ports import PlanFilter, ProductFilter, UnitOfWork
from services.catalog.domain.plan import Plan
from services.catalog.domain.plan_version import PlanVersion, PlanVersionNotFound
from services.catalog.domain.product import Product
from services.catalog.domain.tenant import Tenant, TenantMode


async def list_tenants(mode: TenantMode | None, page: PageRequest, *, uow: UnitOfWork) -> Slice[Tenant]:
    return await uow.tenants.list_page(mode, page)


async def get_tenant(tenant_id: str, *, uow: UnitOfWork) -> Tenant:
    """Raises: TenantNotFound."""
    return await uow.tenants.get(tenant_id)


async def list_products(wanted: ProductFilter, page: PageRequest, *, uow: UnitOfWork) -> Slice[Product]:
    return await uow.products.list_page(wanted, page)


async def get_product(product_id: str, *, uow: UnitOfWork) -> Product:
    """Raises: ProductNotFound."""
    return await uow.products.get(product_id)


async def list_plans(wanted: PlanFilter, page: PageRequest, *, uow: UnitOfWork) -> Slice[Plan]:
    return await uow.plans.list_page(wanted, page)


async def get_plan(plan_id: str, *, uow: UnitOfWork) -> Plan:
    """Raises: PlanNotFound."""
    return await uow.plans.get(plan_id)


async def list_plan_versions(plan_id: str, page: PageRequest, *, uow: UnitOfWork) -> Slice[PlanVersion]:
    """Raises: PlanNotFound."""
    plan = await uow.plans.get(plan_id)
    return await uow.plan_versions.list_page(plan.id, page)


async def get_plan_version(plan_id: str, number: int, *, uow: UnitOfWork) -> PlanVersion:
    """Raises: PlanNotFound, PlanVersionNotFound."""
    plan = await uow.plans.get(plan_id)
    version = await uow.plan_versions.find(plan.id, number)
    if version is None:
        raise PlanVersionNotFound(
            "the plan has no version of this number", number=number, newest=plan.published_number
        )
    return version
