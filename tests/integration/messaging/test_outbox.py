"""State, event and note of the change commit together, or vanish together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from libs.common.messaging.outbox import CHANNEL
from libs.common.persistence.outage import is_outage
from libs.common.persistence.session import asyncpg_dsn
from libs.common.persistence.unit_of_work import AlreadyExists
from libs.common.telemetry import Tracing, root_span, traceparent_of
from tests.support.small_service import TENANT_A, TENANT_B, SmallService, Thing, happened


async def counts(service: SmallService) -> tuple[int, ...]:
    (row,) = await service.rows(
        "SELECT (SELECT count(*) FROM thing), (SELECT count(*) FROM outbox), (SELECT count(*) FROM change_log)"
    )
    return tuple(row)


async def save_all(
    service: SmallService, *, note: str = "", meanwhile: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Save a thing, its event and the note of the change; then, before the commit, something happens."""
    async with service.units.open(TENANT_A, "token:1") as uow:
        uow.things.add(Thing("t1", note=note))
        uow.outbox.append(happened("t1", 1), key="t1")
        uow.record("thing.made", "t1")
        await uow.flush()
        if meanwhile is not None:
            await meanwhile()


async def die() -> None:
    raise RuntimeError("died before the commit")


async def test_state_event_and_change_commit_together(service: SmallService) -> None:
    await save_all(service)
    assert await counts(service) == (1, 1, 1)
    (change,) = await service.rows("SELECT tenant::text, actor, action, aggregate_version FROM change_log")
    assert tuple(change) == (TENANT_A, "token:1", "thing.made", 1)


async def test_an_error_leaves_none_of_them(service: SmallService) -> None:
    with pytest.raises(RuntimeError):
        await save_all(service, meanwhile=die)
    assert await counts(service) == (0, 0, 0)


async def test_a_state_that_cannot_be_saved_takes_its_event_along(service: SmallService) -> None:
    await service.make_things(Thing("t0", note="taken"))
    with pytest.raises(AlreadyExists):
        await save_all(service, note="taken")
    assert await counts(service) == (1, 0, 0)


async def test_a_session_lost_before_the_commit_leaves_none_of_them(service: SmallService) -> None:
    with pytest.raises(Exception) as lost:
        await save_all(service, meanwhile=service.cut_connections)
    assert is_outage(lost.value)
    assert await counts(service) == (0, 0, 0)
    await save_all(service)  # on a connection that the pool made anew
    assert await counts(service) == (1, 1, 1)


async def test_events_of_several_tenants_share_a_transaction(service: SmallService) -> None:
    async with service.units.open_for_many() as uow:
        for tenant in (TENANT_A, TENANT_B):
            await uow.become(tenant, f"event:{tenant}")
            uow.things.add(Thing(f"t{tenant[-1]}"))
            uow.record("thing.made", f"t{tenant[-1]}")
            uow.outbox.append(happened("t", 1, tenant), key="t")
    sent = await service.rows("SELECT tenant::text FROM outbox ORDER BY position")
    changes = await service.rows("SELECT tenant::text, actor FROM change_log ORDER BY position")
    assert [row[0] for row in sent] == [TENANT_A, TENANT_B]
    assert [tuple(row) for row in changes] == [
        (TENANT_A, f"event:{TENANT_A}"),
        (TENANT_B, f"event:{TENANT_B}"),
    ]


async def test_events_stand_in_the_order_in_which_they_were_appended(service: SmallService) -> None:
    await service.say(*(happened("t1", number) for number in range(300)))
    sent = await service.rows("SELECT aggregate_version, data FROM outbox ORDER BY position")
    numbers = [int(row["data"].decode().split('"number":')[1].rstrip("}")) for row in sent]
    assert numbers == list(range(300))


async def test_whoever_listens_is_told_after_the_commit_and_not_before(service: SmallService) -> None:
    told = asyncio.Event()
    listener = await asyncpg.connect(asyncpg_dsn(service.database.worker_dsn))
    await listener.add_listener(CHANNEL, lambda *_: told.set())
    try:
        async with service.units.open(TENANT_A, "test") as uow:
            uow.outbox.append(happened("t1", 1), key="t1")
            await uow.flush()
            await asyncio.sleep(0.1)
            assert not told.is_set()
        async with asyncio.timeout(5):
            await told.wait()
    finally:
        await listener.close()


async def test_the_trace_is_stored_with_the_event(service: SmallService, tracing: Tracing) -> None:
    with root_span("now") as now:
        await service.say(happened("t1", 1))
    older = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await service.say(happened("t1", 2), traceparent=older)
    await service.say(happened("t1", 3))
    stored = await service.rows("SELECT traceparent FROM outbox ORDER BY position")
    assert [row[0] for row in stored] == [traceparent_of(now), older, None]
