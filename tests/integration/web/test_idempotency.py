"""Idempotency keys on a real database: done once, answered alike, whoever races."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from sqlalchemy import MetaData, Table, func, insert, select, text, update

from libs.common.access.tenancy import create_roles, grant_schema, open_to_app
from libs.common.errors import Conflict
from libs.common.persistence.base import id_column, new_metadata, tenant_column
from libs.common.persistence.machinery import Machinery, machinery, protect_machinery
from libs.common.persistence.session import Database
from libs.common.persistence.unit_of_work import UnitOfWork, UnitsOfWork
from libs.common.web import idempotency
from libs.common.web.idempotency import (
    REPLAYED,
    IdempotencyInProgress,
    IdempotencyKeyReused,
    StoredResponse,
    run_once,
)

TENANT = "0190f0a0-0000-7000-8000-000000000001"
OTHER = "0190f0a0-0000-7000-8000-000000000002"
MADE = StoredResponse(201, {"etag": '"1"', "location": "/v1/things/1"}, b'{"id":"1"}')


@dataclass
class Service:
    """One table of things, and the machinery beside it, with row policies on."""

    units: UnitsOfWork[UnitOfWork]
    things: Table
    machinery: Machinery
    metadata: MetaData
    calls: int = 0
    works: list[str] = field(default_factory=list)

    async def make(
        self,
        *,
        tenant: str = TENANT,
        route: str = "POST /v1/things",
        key: str = "k",
        body: bytes = b"{}",
        answer: StoredResponse = MADE,
        meanwhile: Callable[[UnitOfWork], Awaitable[None]] | None = None,
    ) -> StoredResponse:
        async with self.units.open(tenant, "token:1") as uow:

            async def work() -> StoredResponse:
                self.calls += 1
                await uow.connection.execute(
                    insert(self.things).values(tenant=uow.tenant, id=f"thing_{self.calls}")
                )
                if meanwhile is not None:
                    await meanwhile(uow)
                return answer

            return await run_once(uow, route=route, key=key, fingerprint=body, work=work)

    async def count(self, table: Table, tenant: str = TENANT) -> int:
        async with self.units.open(tenant, "test") as uow:
            found: int = (await uow.connection.execute(select(func.count()).select_from(table))).scalar_one()
            return found

    async def expire(self, tenant: str = TENANT) -> None:
        async with self.units.open(tenant, "test") as uow:
            keys = self.machinery.idempotency_key
            await uow.connection.execute(update(keys).values(expires_at=func.now() - text("interval '1 s'")))


@pytest_asyncio.fixture
async def service(database: str) -> AsyncIterator[Service]:
    metadata = new_metadata()
    tables = machinery(metadata)
    things = Table("thing", metadata, tenant_column(), id_column())
    opened = Database(database)
    async with opened.engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        statements = [*create_roles(), *grant_schema(), *protect_machinery(), *open_to_app("thing")]
        for statement in statements:
            await connection.execute(text(statement))
    yield Service(UnitsOfWork(opened, lambda c: UnitOfWork(c, tables)), things, tables, metadata)
    await opened.close()


async def test_the_same_request_again_gets_the_same_answer_and_does_nothing(service: Service) -> None:
    first = await service.make()
    again = await service.make()
    assert (first.replayed, again.replayed) == (False, True)
    assert again == StoredResponse(201, {**MADE.headers, REPLAYED: "true"}, MADE.body, replayed=True)
    assert await service.count(service.things) == 1


async def test_another_body_under_the_same_key_is_refused(service: Service) -> None:
    await service.make()
    with pytest.raises(IdempotencyKeyReused):
        await service.make(body=b"other")
    assert await service.count(service.things) == 1


async def test_a_key_belongs_to_one_tenant_and_one_route(service: Service) -> None:
    await service.make()
    assert not (await service.make(tenant=OTHER)).replayed
    assert not (await service.make(route="POST /v1/others")).replayed
    assert await service.count(service.machinery.idempotency_key) == 2
    assert await service.count(service.machinery.idempotency_key, OTHER) == 1


async def test_while_the_first_is_under_way_the_second_is_told_to_wait(service: Service) -> None:
    async def meanwhile(_: UnitOfWork) -> None:
        with pytest.raises(IdempotencyInProgress):
            await service.make()
        assert not (await service.make(key="other")).replayed

    await service.make(meanwhile=meanwhile)
    assert (await service.make()).replayed


async def test_twenty_at_once_do_it_once(service: Service) -> None:
    answers = await asyncio.gather(*(service.make() for _ in range(20)), return_exceptions=True)
    done = [answer for answer in answers if isinstance(answer, StoredResponse) and not answer.replayed]
    assert len(done) == 1
    assert all(isinstance(answer, StoredResponse | IdempotencyInProgress) for answer in answers)
    assert await service.count(service.things) == 1


async def test_a_failure_keeps_neither_the_work_nor_the_key(service: Service) -> None:
    async def fail(_: UnitOfWork) -> None:
        raise Conflict("no")

    with pytest.raises(Conflict):
        await service.make(meanwhile=fail)
    assert await service.count(service.things) == 0
    assert not (await service.make(body=b"corrected")).replayed


async def test_an_answer_that_is_no_success_is_not_kept(service: Service) -> None:
    await service.make(answer=StoredResponse(404, {}, b"{}"))
    assert not (await service.make()).replayed


async def test_a_key_whose_time_is_over_is_free_again(service: Service) -> None:
    await service.make()
    await service.expire()
    assert not (await service.make(body=b"new")).replayed
    assert (await service.make(body=b"new")).replayed


async def test_a_process_that_dies_leaves_nothing_locked(service: Service) -> None:
    started, forever = asyncio.Event(), asyncio.Event()

    async def hang(_: UnitOfWork) -> None:
        started.set()
        await forever.wait()

    task = asyncio.create_task(service.make(meanwhile=hang))
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not (await service.make()).replayed
    assert await service.count(service.things) == 1


async def test_work_may_go_on_for_another_tenant(service: Service) -> None:
    """As making a tenant does: the key stays with who asked."""

    async def go_on(uow: UnitOfWork) -> None:
        await uow.become(OTHER, "token:1")

    await service.make(meanwhile=go_on)
    assert (await service.make()).replayed
    assert await service.count(service.machinery.idempotency_key) == 1
    assert await service.count(service.machinery.idempotency_key, OTHER) == 0


async def test_keys_are_kept_for_a_week(service: Service) -> None:
    await service.make()
    async with service.units.open(TENANT, "test") as uow:
        keys = service.machinery.idempotency_key
        left = (await uow.connection.execute(select(keys.c.expires_at - func.now()))).scalar_one()
    assert abs((left - idempotency.KEPT_FOR).total_seconds()) < 60
