"""Making and renaming tenants, revoking tokens."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from libs.common.contracts.catalog import TenantChangedV1, TokenRevokedV1
from libs.common.errors import PreconditionFailed
from services.catalog.application.create_tenant import CreateTenant, create_tenant
from services.catalog.application.rename_tenant import RenameTenant, rename_tenant
from services.catalog.application.revoke_token import RevokeToken, revoke_token
from services.catalog.domain.tenant import TenantExists, TenantNotFound
from tests.support.catalog import MemoryCatalog
from tests.support.clocks import FixedClock
from tests.support.memory import Recorded
from tests.support.versions import OnlyVersion, any_version

ID = UUID("0197c7b3-41a2-7d6e-9f00-5a3c8e1b2d47")


async def test_a_tenant_is_made_and_told(uow: MemoryCatalog, clock: FixedClock) -> None:
    tenant = await create_tenant(CreateTenant(name="Cloudhop", mode="sandbox"), uow=uow, clock=clock)

    assert uow.tenants.by_id == {tenant.id: tenant}
    assert UUID(tenant.id).version == 7
    assert uow.outbox.events == [
        TenantChangedV1(tenant=tenant.id, version=1, occurred_at=clock.now, name="Cloudhop", mode="sandbox")
    ]
    assert uow.outbox.appended[0].key == tenant.id
    assert uow.recorded == [Recorded("tenant.created", tenant.id, 1)]


async def test_making_the_same_tenant_again_returns_it_and_says_nothing(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    command = CreateTenant(name="Cloudhop", mode="live", tenant_id=ID)
    first = await create_tenant(command, uow=uow, clock=clock)
    again = await create_tenant(command, uow=uow, clock=clock)
    assert again == first
    assert len(uow.outbox.events) == 1


@pytest.mark.parametrize(("name", "mode"), [("Cloudhop", "sandbox"), ("Other", "live")])
async def test_an_id_stands_for_one_name_and_mode(
    uow: MemoryCatalog, clock: FixedClock, name: str, mode: str
) -> None:
    await create_tenant(CreateTenant(name="Cloudhop", mode="live", tenant_id=ID), uow=uow, clock=clock)
    with pytest.raises(TenantExists):
        await create_tenant(CreateTenant(name=name, mode=mode, tenant_id=ID), uow=uow, clock=clock)  # type: ignore[arg-type]


async def test_renaming_tells_the_new_name(uow: MemoryCatalog, clock: FixedClock) -> None:
    tenant = await create_tenant(CreateTenant(name="Cloudhop", mode="live"), uow=uow, clock=clock)
    clock.advance(timedelta(days=1))
    command = RenameTenant(tenant.id, "Cloudhop Engines")
    renamed = await rename_tenant(command, uow=uow, clock=clock, check_version=OnlyVersion(1))

    assert (renamed.name, renamed.version) == ("Cloudhop Engines", 2)
    assert uow.outbox.events[-1] == TenantChangedV1(
        tenant=tenant.id, version=2, occurred_at=clock.now, name="Cloudhop Engines", mode="live"
    )
    assert uow.recorded[-1] == Recorded("tenant.renamed", tenant.id, 2)


async def test_renaming_to_the_same_name_says_nothing(uow: MemoryCatalog, clock: FixedClock) -> None:
    tenant = await create_tenant(CreateTenant(name="Cloudhop", mode="live"), uow=uow, clock=clock)
    command = RenameTenant(tenant.id, "Cloudhop")
    assert await rename_tenant(command, uow=uow, clock=clock, check_version=any_version) == tenant
    assert len(uow.outbox.events) == 1


async def test_a_version_that_has_passed_is_not_renamed(uow: MemoryCatalog, clock: FixedClock) -> None:
    tenant = await create_tenant(CreateTenant(name="Cloudhop", mode="live"), uow=uow, clock=clock)
    command = RenameTenant(tenant.id, "Other")
    with pytest.raises(PreconditionFailed):
        await rename_tenant(command, uow=uow, clock=clock, check_version=OnlyVersion(2))
    with pytest.raises(TenantNotFound):
        await rename_tenant(RenameTenant(str(ID), "x"), uow=uow, clock=clock, check_version=any_version)


async def test_a_revoked_token_is_told_on_behalf_of_who_asked(uow: MemoryCatalog, clock: FixedClock) -> None:
    expires_at = clock.now + timedelta(hours=1)
    await revoke_token(RevokeToken("tok_1", expires_at), uow=uow, clock=clock)

    assert uow.revoked_tokens.until == {"tok_1": expires_at}
    assert uow.outbox.events == [
        TokenRevokedV1(tenant=uow.tenant, occurred_at=clock.now, token_id="tok_1", expires_at=expires_at)
    ]
    assert uow.recorded == [Recorded("token.revoked", "tok_1", 1)]


async def test_revoking_again_says_nothing_unless_it_lasts_longer(
    uow: MemoryCatalog, clock: FixedClock
) -> None:
    hour, day = clock.now + timedelta(hours=1), clock.now + timedelta(days=1)
    await revoke_token(RevokeToken("tok_1", hour), uow=uow, clock=clock)
    await revoke_token(RevokeToken("tok_1", hour), uow=uow, clock=clock)
    assert len(uow.outbox.events) == 1
    await revoke_token(RevokeToken("tok_1", day), uow=uow, clock=clock)
    assert len(uow.outbox.events) == 2
    assert uow.revoked_tokens.until == {"tok_1": day}
