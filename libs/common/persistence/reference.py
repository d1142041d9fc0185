"""Reference data that every service keeps a copy of: tenants, test clocks, revoked tokens."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from libs.common.access.revocation import revocation_key
from libs.common.contracts.catalog import TenantChangedV1, TokenRevokedV1
from libs.common.contracts.subscriptions import TestClockMovedV1
from libs.common.persistence.unit_of_work import UnitOfWork


async def on_tenant_changed(event: TenantChangedV1, uow: UnitOfWork) -> None:
    """Keep the newest version of the tenant."""
    table = uow.machinery.known_tenant
    row = insert(table).values(tenant=event.tenant, name=event.name, mode=event.mode, version=event.version)
    newer = {"name": row.excluded.name, "version": row.excluded.version}
    await uow.connection.execute(
        row.on_conflict_do_update(
            index_elements=["tenant"], set_=newer, where=table.c.version < row.excluded.version
        )
    )


async def on_token_revoked(event: TokenRevokedV1, uow: UnitOfWork) -> None:
    """Refuse the token: a tenant its own, operators anybody's."""
    table = uow.machinery.revoked_token
    key = revocation_key(event.tenant, event.token_id)
    row = insert(table).values(token_id=key, expires_at=event.expires_at)
    longer = {"expires_at": func.greatest(table.c.expires_at, row.excluded.expires_at)}
    await uow.connection.execute(row.on_conflict_do_update(index_elements=["token_id"], set_=longer))


async def on_test_clock_moved(event: TestClockMovedV1, uow: UnitOfWork) -> None:
    """A clock never goes back: an older message that comes late changes nothing."""
    table = uow.machinery.known_clock
    row = insert(table).values(tenant=event.tenant, id=event.clock_id, now=event.now, version=event.version)
    newer = {"now": row.excluded.now, "version": row.excluded.version}
    await uow.connection.execute(
        row.on_conflict_do_update(
            index_elements=["id"], set_=newer, where=table.c.version < row.excluded.version
        )
    )
    uow.clocks.reset()


async def find_tenant_mode(uow: UnitOfWork) -> Literal["live", "sandbox"] | None:
    """The mode of the unit of work's tenant; None while this service has not heard of it."""
    table = uow.machinery.known_tenant
    row = (await uow.connection.execute(select(table.c.mode).where(table.c.tenant == uow.tenant))).first()
    return row.mode if row else None
