"""What the use cases need of the outside: repositories and the unit of work that holds them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from libs.common.contracts.envelope import Event
from libs.common.paging import PageRequest, Slice
from services.catalog.domain.known_meter import KnownMeter
from services.catalog.domain.plan import Plan, PlanStatus
from services.catalog.domain.plan_version import PlanVersion
from services.catalog.domain.product import Product, ProductKind
from services.catalog.domain.tenant import Tenant, TenantMode
from services.catalog.domain.token_revocation import TokenRevocation


@dataclass(frozen=True, slots=True)
class ProductFilter:
    """What is None does not narrow the list."""

    code: str | None = None
    kind: ProductKind | None = None
    external_id: str | None = None
    archived: bool | None = None


@dataclass(frozen=True, slots=True)
class PlanFilter:
    """What is None does not narrow the list."""

    code: str | None = None
    status: PlanStatus | None = None
    external_id: str | None = None


class Tenants(Protocol):
    async def find(self, id: str) -> Tenant | None: ...
    async def find_for_update(self, id: str) -> Tenant | None: ...
    async def get(self, id: str) -> Tenant: ...
    async def get_for_update(self, id: str) -> Tenant: ...
    def add(self, aggregate: Tenant) -> None: ...
    def save(self, aggregate: Tenant) -> None: ...
    async def list_page(self, mode: TenantMode | None, page: PageRequest) -> Slice[Tenant]: ...


class RevokedTokens(Protocol):
    async def put(self, revocation: TokenRevocation) -> bool:
        """Keep it; False when the token was revoked already, until then or later."""
        ...


class Products(Protocol):
    async def get(self, id: str) -> Product: ...
    async def get_for_update(self, id: str) -> Product: ...
    async def find_named(self, *, ids: Collection[str], codes: Collection[str]) -> list[Product]:
        """Those of the tenant's products that have one of the ids or one of the codes."""
        ...

    def add(self, aggregate: Product) -> None: ...
    def save(self, aggregate: Product) -> None: ...
    async def list_page(self, wanted: ProductFilter, page: PageRequest) -> Slice[Product]: ...


class Plans(Protocol):
    async def get(self, id: str) -> Plan: ...
    async def get_for_update(self, id: str) -> Plan: ...
    def add(self, aggregate: Plan) -> None: ...
    def save(self, aggregate: Plan) -> None: ...
    async def list_page(self, wanted: PlanFilter, page: PageRequest) -> Slice[Plan]: ...


class PlanVersions(Protocol):
    """Only ever added to."""

    async def find(self, plan_id: str, number: int) -> PlanVersion | None: ...
    def add(self, version: PlanVersion) -> None: ...
    async def list_page(self, plan_id: str, page: PageRequest) -> Slice[PlanVersion]: ...


class KnownMeters(Protocol):
    async def find_known(self, codes: Collection[str]) -> frozenset[str]:
        """Those of the codes that are meters of the tenant, as far as heard."""
        ...

    async def put(self, meter: KnownMeter) -> None:
        """Keep it, unless a newer version is known."""
        ...


class Outbox(Protocol):
    def append(self, event: Event, *, key: str, traceparent: str | None = None) -> None: ...


class UnitOfWork(Protocol):
    """One transaction of one tenant. Whoever opened it commits."""

    @property
    def tenant(self) -> str: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def tenants(self) -> Tenants: ...
    @property
    def revoked_tokens(self) -> RevokedTokens: ...
    @property
    def products(self) -> Products: ...
    @property
    def plans(self) -> Plans: ...
    @property
    def plan_versions(self) -> PlanVersions: ...
    @property
    def known_meters(self) -> KnownMeters: ...

    def record(self, action: str, aggregate_id: str, version: int = 1) -> None: ...
