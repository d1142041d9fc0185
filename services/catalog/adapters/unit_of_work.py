"""The catalog's repositories on one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.errors import ServiceError
from libs.common.persistence.unit_of_work import UnitOfWork
from services.catalog.adapters.plan_versions import PlanVersionRepository
from services.catalog.adapters.repositories import (
    KnownMeterRepository,
    PlanRepository,
    ProductRepository,
    RevokedTokenRepository,
    TenantRepository,
)
from services.catalog.adapters.rows import shared
from services.catalog.domain.plan import PlanCodeTaken
from services.catalog.domain.product import ProductCodeTaken
from services.catalog.domain.tenant import TenantExists


def _tenant_exists() -> TenantExists:
    return TenantExists("a tenant with this id was made a moment ago", remedy="Send the request again.")


def _product_code_taken() -> ProductCodeTaken:
    return ProductCodeTaken(
        "another product has this code", pointer="/code", remedy="Choose another code, or use that product."
    )


def _plan_code_taken() -> PlanCodeTaken:
    return PlanCodeTaken(
        "another plan has this code",
        pointer="/code",
        remedy="Choose another code, or change that plan's draft.",
    )


class CatalogUnitOfWork(UnitOfWork):
    constraint_errors: ClassVar[Mapping[str, Callable[[], ServiceError]]] = {
        "pk_tenant": _tenant_exists,
        "uq_product_tenant_code": _product_code_taken,
        "uq_plan_tenant_code": _plan_code_taken,
    }

    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__(connection, shared)
        self.tenants = TenantRepository(self)
        self.revoked_tokens = RevokedTokenRepository(self)
        self.products = ProductRepository(self)
        self.plans = PlanRepository(self)
        self.plan_versions = PlanVersionRepository(self)
        self.known_meters = KnownMeterRepository(self)
        self.register(self.tenants, self.products, self.plans, self.plan_versions)
