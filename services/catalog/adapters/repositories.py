"""Rows ↔ domain objects of the catalog: tenants, products, plans, revoked tokens, known meters."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Column, RowMapping, Table, or_, select
from sqlalchemy.dialects.postgresql import insert

from libs.common.access.revocation import revocation_key
from libs.common.paging import PageRequest, Slice
from libs.common.persistence.paging import fetch_page
from libs.common.persistence.repository import Repository
from libs.common.persistence.unit_of_work import UnitOfWork
from services.catalog.adapters import rows
from services.catalog.adapters.plan_json import draft_from_json, draft_to_json
from services.catalog.application.ports import PlanFilter, ProductFilter
from services.catalog.domain.known_meter import KnownMeter
from services.catalog.domain.plan import Plan, PlanNotFound
from services.catalog.domain.product import Product, ProductNotFound
from services.catalog.domain.tenant import Tenant, TenantMode, TenantNotFound
from services.catalog.domain.token_revocation import TokenRevocation


class TenantRepository(Repository[Tenant]):
    """The table has no tenant column: its rows are the tenants."""

    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.tenant,
            to_row=_tenant_to_row,
            from_row=_tenant_from_row,
            not_found=lambda id: TenantNotFound("there is no such tenant", tenant_id=id),
        )

    def _rows(self, aggregates: Iterable[Tenant]) -> Sequence[dict[str, Any]]:
        return sorted((self._to_row(tenant) for tenant in aggregates), key=lambda row: row["id"])

    async def list_page(self, mode: TenantMode | None, page: PageRequest) -> Slice[Tenant]:
        table = rows.tenant
        wanted = select(table)
        if mode is not None:
            wanted = wanted.where(table.c.mode == mode)
        return await fetch_page(
            self.uow.connection,
            wanted,
            created_at=table.c.created_at,
            id=table.c.id,
            page=page,
            to_view=_tenant_from_row,
        )


class ProductRepository(Repository[Product]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.product,
            to_row=_product_to_row,
            from_row=_product_from_row,
            not_found=lambda id: ProductNotFound("there is no such product", product_id=id),
        )

    async def find_named(self, *, ids: Collection[str], codes: Collection[str]) -> list[Product]:
        """In one statement, however many."""
        if not ids and not codes:
            return []
        table = rows.product
        wanted = select(table).where(or_(table.c.id.in_(sorted(ids)), table.c.code.in_(sorted(codes))))
        return [_product_from_row(row) for row in (await self.uow.connection.execute(wanted)).mappings()]

    async def list_page(self, wanted: ProductFilter, page: PageRequest) -> Slice[Product]:
        table = rows.product
        return await self.page_of(
            page,
            *equal(
                table,
                code=wanted.code,
                kind=wanted.kind,
                external_id=wanted.external_id,
                gtin=wanted.gtin,
            ),
            *is_set(table.c.archived_at, wanted.archived),
        )


class PlanRepository(Repository[Plan]):
    def __init__(self, uow: UnitOfWork) -> None:
        super().__init__(
            uow,
            rows.plan,
            to_row=_plan_to_row,
            from_row=_plan_from_row,
            not_found=lambda id: PlanNotFound("there is no such plan", plan_id=id),
        )

    async def find_named(self, codes: Collection[str]) -> list[Plan]:
        wanted = select(rows.plan).where(rows.plan.c.code.in_(sorted(codes)))
        return [_plan_from_row(row) for row in (await self.uow.connection.execute(wanted)).mappings()]

    async def list_page(self, wanted: PlanFilter, page: PageRequest) -> Slice[Plan]:
        table = rows.plan
        return await self.page_of(
            page, *equal(table, code=wanted.code, status=wanted.status, external_id=wanted.external_id)
        )


class RevokedTokenRepository:
    """The catalog's own list, which it shares with the reference data that every service keeps."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def put(self, revocation: TokenRevocation) -> bool:
        table = self._uow.machinery.revoked_token
        key = revocation_key(self._uow.tenant, revocation.token_id)
        row = insert(table).values(token_id=key, expires_at=revocation.expires_at)
        longer = row.on_conflict_do_update(
            index_elements=["token_id"],
            set_={"expires_at": row.excluded.expires_at},
            where=table.c.expires_at < row.excluded.expires_at,
        ).returning(table.c.token_id)
        return (await self._uow.connection.execute(longer)).first() is not None


class KnownMeterRepository:
    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    async def find_known(self, codes: Collection[str]) -> frozenset[str]:
        table = rows.known_meter
        wanted = select(table.c.code).where(table.c.code.in_(sorted(codes)))
        return frozenset((await self._uow.connection.execute(wanted)).scalars())

    async def find_named(self, codes: Collection[str]) -> list[KnownMeter]:
        wanted = select(rows.known_meter).where(rows.known_meter.c.code.in_(sorted(codes)))
        found = (await self._uow.connection.execute(wanted)).mappings()
        return [KnownMeter(**{name: row[name] for name in KnownMeter.__slots__}) for row in found]

    async def put(self, meter: KnownMeter) -> None:
        table = rows.known_meter
        told = {
            "meter_id": meter.meter_id,
            "aggregation": meter.aggregation,
            "unit": meter.unit,
            "version": meter.version,
        }
        row = insert(table).values(tenant=self._uow.tenant, code=meter.code, **told)
        await self._uow.connection.execute(
            row.on_conflict_do_update(
                index_elements=["tenant", "code"],
                set_=told,
                where=table.c.version < row.excluded.version,
            )
        )


def equal(table: Table, **wanted: str | None) -> list[Any]:
    """The conditions of a filter: what is None does not narrow it."""
    return [table.c[name] == value for name, value in wanted.items() if value is not None]


def is_set(column: Column[Any], wanted: bool | None) -> list[Any]:
    """The condition that the column has a value, or has none."""
    if wanted is None:
        return []
    return [column.is_not(None) if wanted else column.is_(None)]


def _tenant_to_row(tenant: Tenant) -> dict[str, Any]:
    return {
        "id": tenant.id,
        "name": tenant.name,
        "mode": tenant.mode,
        "version": tenant.version,
        "created_at": tenant.created_at,
        "changed_at": tenant.changed_at,
    }


def _tenant_from_row(row: RowMapping) -> Tenant:
    return Tenant(
        id=row["id"],
        name=row["name"],
        mode=row["mode"],
        version=row["version"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
    )


def _product_to_row(product: Product) -> dict[str, Any]:
    return {
        "id": product.id,
        "code": product.code,
        "name": product.name,
        "kind": product.kind,
        "unit": product.unit,
        "description": product.description,
        "tax_category": product.tax_category,
        "gtin": product.gtin,
        "external_id": product.external_id,
        "metadata": dict(product.metadata),
        "version": product.version,
        "created_at": product.created_at,
        "archived_at": product.archived_at,
    }


def _product_from_row(row: RowMapping) -> Product:
    return Product(
        id=row["id"],
        code=row["code"],
        name=row["name"],
        kind=row["kind"],
        unit=row["unit"],
        description=row["description"],
        tax_category=row["tax_category"],
        gtin=row["gtin"],
        external_id=row["external_id"],
        metadata=row["metadata"],
        version=row["version"],
        created_at=row["created_at"],
        archived_at=row["archived_at"],
    )


def _plan_to_row(plan: Plan) -> dict[str, Any]:
    return {
        "id": plan.id,
        "code": plan.code,
        "external_id": plan.external_id,
        "metadata": dict(plan.metadata),
        "status": plan.status,
        "draft": draft_to_json(plan.draft),
        "published_number": plan.published_number,
        "version": plan.version,
        "created_at": plan.created_at,
        "retired_at": plan.retired_at,
        "off_sale": {str(number): state for number, state in plan.off_sale.items()},
    }


def _plan_from_row(row: RowMapping) -> Plan:
    return Plan(
        id=row["id"],
        code=row["code"],
        external_id=row["external_id"],
        metadata=row["metadata"],
        status=row["status"],
        draft=draft_from_json(row["draft"]),
        published_number=row["published_number"],
        version=row["version"],
        created_at=row["created_at"],
        retired_at=row["retired_at"],
        off_sale={int(number): state for number, state in row["off_sale"].items()},
    )
