"""An operator makes a tenant: a selling business, live or a sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from libs.common.clock import Clock
from libs.common.ids import new_uuid7
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.tenant import Tenant, TenantExists, TenantMode


@dataclass(frozen=True, slots=True)
class CreateTenant:
    """`tenant_id` may be chosen by the operator, so that tokens can be signed before the tenant is made."""

    name: str
    mode: TenantMode
    tenant_id: UUID | None = None


async def create_tenant(command: CreateTenant, *, uow: UnitOfWork, clock: Clock) -> Tenant:
    """Make the tenant; one that is there already under the same id, name and mode is returned as it is.

    Emits: TenantChanged, which every service hears.
    Raises: TenantExists, when the id stands for another name or mode.
    """
    now = clock.system_now()
    tenant_id = str(command.tenant_id or new_uuid7(now))
    known = await uow.tenants.find_for_update(tenant_id)
    if known is not None:
        if (known.name, known.mode) == (command.name, command.mode):
            return known
        raise TenantExists(
            "a tenant with this id has another name or mode",
            tenant_id=tenant_id,
            remedy="Choose another id; rename with PATCH. The mode never changes.",
        )
    tenant = Tenant(
        id=tenant_id, name=command.name, mode=command.mode, version=1, created_at=now, changed_at=now
    )
    uow.tenants.add(tenant)
    uow.record("tenant.created", tenant.id)
    uow.outbox.append(events.tenant_changed(tenant), key=tenant.id)
    return tenant
