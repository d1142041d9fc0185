"""A tenant: one selling business. It is live or a sandbox, for ever."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from libs.common.errors import Conflict, NotFound

TenantMode = Literal["live", "sandbox"]


class TenantNotFound(NotFound):
    """No tenant has this id."""

    code = "tenant_not_found"
    title = "There is no such tenant"


class TenantExists(Conflict):
    """The id is taken by a tenant of another name or mode."""

    code = "tenant_exists"
    title = "The tenant exists already"


@dataclass(frozen=True, slots=True)
class Tenant:
    """`version` counts its changes; readers keep the highest they have heard of."""

    id: str
    name: str
    mode: TenantMode
    version: int
    created_at: datetime
    changed_at: datetime


def rename(tenant: Tenant, name: str, now: datetime) -> Tenant:
    """The tenant under its new name; itself, unchanged, when that is its name already."""
    if name == tenant.name:
        return tenant
    return replace(tenant, name=name, version=tenant.version + 1, changed_at=now)
