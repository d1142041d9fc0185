"""An operator gives a tenant another name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from libs.common.clock import Clock
from services.catalog.application import events
from services.catalog.application.ports import UnitOfWork
from services.catalog.domain.tenant import Tenant, rename


@dataclass(frozen=True, slots=True)
class RenameTenant:
    tenant_id: str
    name: str


async def rename_tenant(
    command: RenameTenant, *, uow: UnitOfWork, clock: Clock, check_version: Callable[[int], None]
) -> Tenant:
    """Rename it. The same name again changes nothing and says nothing.

    Emits: TenantChanged.
    Raises: TenantNotFound, and what `check_version` raises for the version that was locked.
    """
    tenant = await uow.tenants.get_for_update(command.tenant_id)
    check_version(tenant.version)
    renamed = rename(tenant, command.name, clock.system_now())
    if renamed is tenant:
        return tenant
    uow.tenants.save(renamed)
    uow.record("tenant.renamed", renamed.id, renamed.version)
    uow.outbox.append(events.tenant_changed(renamed), key=renamed.id)
    return renamed
