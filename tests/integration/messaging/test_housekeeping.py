"""What is over goes by age, what is still needed stays, and every tenant's expired keys go."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from libs.common.access.caller import OPERATORS
from libs.common.messaging import housekeeping as housekeeping_module
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.messaging.housekeeping import BusHousekeeping, Housekeeping
from libs.common.persistence.base import bulk_insert
from libs.common.web.idempotency import StoredResponse, run_once
from tests.support.clocks import FixedClock
from tests.support.small_service import (
    TENANT_A,
    TENANT_B,
    Poison,
    SmallService,
    all_on_the_bus,
    background,
    delivery_of,
    eventually,
    happened,
    shared,
)


async def count(service: SmallService, table: str) -> int:
    return int((await service.rows(f"SELECT count(*) FROM {table}"))[0][0])


async def age(service: SmallService, table: str, column: str, days: float, *, where: str = "true") -> None:
    await service.rows(f"UPDATE {table} SET {column} = {column} - interval '{days} days' WHERE {where}")


async def tidy(service: SmallService) -> None:
    await Housekeeping(service.worker).tidy()


async def test_published_events_go_after_a_week_and_unpublished_ones_never(service: SmallService) -> None:
    await service.say(*(happened("t1", number) for number in range(1, 5)))
    await service.rows("UPDATE outbox SET published_at = clock_timestamp() WHERE aggregate_version < 4")
    await age(service, "outbox", "recorded_at", 30)
    await age(service, "outbox", "published_at", 7.01, where="aggregate_version = 1")
    await age(service, "outbox", "published_at", 6.99, where="aggregate_version = 2")
    await tidy(service)
    left = await service.rows("SELECT aggregate_version FROM outbox ORDER BY 1")
    assert [row[0] for row in left] == [2, 3, 4]


async def test_much_goes_in_slices(service: SmallService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping_module, "ROWS_MAX", 100)
    await service.say(*(happened("t1", number) for number in range(1, 351)))
    await service.rows("UPDATE outbox SET published_at = clock_timestamp() - interval '8 days'")
    await tidy(service)
    assert await count(service, "outbox") == 0


async def test_the_inbox_outlives_ninety_days_and_the_oldest_dead_letter(service: SmallService) -> None:
    poison = Poison()
    service.handlers.trouble["bad"] = poison
    bad, *others = [delivery_of(happened(id, 1)) for id in ("bad", "t1", "t2", "t3")]
    consumer = service.consumer()
    await consumer.apply([bad, *others])
    ids = [delivery.headers["ce_id"] for delivery in others]
    for id, days in zip(ids, (120, 91, 89), strict=True):
        await age(service, "inbox", "handled_at", days, where=f"message_id = '{id}'")
    await age(service, "message_failure", "first_failed_at", 100)
    await tidy(service)
    left = await service.rows("SELECT message_id FROM inbox")
    assert {row[0] for row in left} == {ids[1], ids[2]}

    poison.healed = True
    await consumer.failures.redrive(bad.headers["ce_id"])
    await consumer.retry_due()
    await tidy(service)
    left = await service.rows("SELECT message_id FROM inbox")
    assert {row[0] for row in left} == {ids[2], bad.headers["ce_id"]}


async def test_revocations_go_a_day_after_the_token_has_expired(service: SmallService) -> None:
    now = datetime.now(UTC)
    rows = [
        {"token_id": name, "expires_at": now - timedelta(hours=hours)}
        for name, hours in (("old", 25), ("young", 23), ("valid", -1))
    ]
    async with service.units.open(TENANT_A, "test") as uow:
        await bulk_insert(uow.connection, shared.revoked_token, rows)
    await tidy(service)
    left = await service.rows("SELECT token_id FROM revoked_token ORDER BY 1")
    assert [row[0] for row in left] == ["valid", "young"]


async def keep_key(service: SmallService, tenant: str, key: str) -> None:
    async def work() -> StoredResponse:
        return StoredResponse(201, {}, b"{}")

    async with service.units.open(tenant, "test") as uow:
        await run_once(uow, route="POST /v1/things", key=key, fingerprint=b"x", work=work)


async def test_expired_keys_of_all_tenants_go_and_others_stay(service: SmallService) -> None:
    """Those under which operators' requests stand, too: they belong to no tenant that anybody was told of."""
    for tenant in (TENANT_A, TENANT_B, OPERATORS):
        await keep_key(service, tenant, "old")
        await keep_key(service, tenant, "fresh")
    await age(service, "idempotency_key", "expires_at", 7.01, where="key = 'old'")
    await tidy(service)
    left = await service.rows("SELECT tenant::text, key FROM idempotency_key ORDER BY 1")
    assert [tuple(row) for row in left] == [(OPERATORS, "fresh"), (TENANT_A, "fresh"), (TENANT_B, "fresh")]


async def test_housekeeping_goes_on_after_an_outage(
    service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping_module, "INTERVAL_S", 0.05)
    async with background(Housekeeping(service.worker).run, Housekeeping(service.worker).run):
        for number in range(1, 4):
            await service.say(happened("t1", number))
            await service.rows("UPDATE outbox SET published_at = clock_timestamp() - interval '8 days'")
            await service.cut_connections()
            await eventually(lambda: count(service, "outbox"), 0)


async def test_the_bus_is_trimmed(bus: EmbeddedBus, service: SmallService) -> None:
    await service.say(*(happened("t1", number) for number in range(1, 4)))
    async with background(service.relay().run, service.consumer().run):
        await eventually(service.unpublished, 0)
        await eventually(lambda: count(service, "effect"), 3)
    await all_on_the_bus(bus, 3)  # a group that has read and not handled them holds them back
    wall = FixedClock(datetime.now(UTC) + timedelta(days=8))
    connection: asyncpg.Connection[Any] = await asyncpg.connect(bus._dsn)

    async def records() -> int:
        return int(await connection.fetchval("SELECT count(*) FROM bus_record"))

    async with background(BusHousekeeping(bus, wall).run):
        await asyncio.sleep(0.2)
        assert await records() == 3
    await connection.execute("DELETE FROM bus_offset WHERE \"group\" = 'onlooker'")
    async with background(BusHousekeeping(bus, wall).run):
        await eventually(records, 0)
    await connection.close()


async def test_replays_are_remembered_for_as_long_as_the_inbox(service: SmallService) -> None:
    for id, days in (("old", 90.01), ("young", 89.99)):
        await service.rows(
            "INSERT INTO replay_request (id, handler, asked_by, asked_at)"
            f" VALUES ('{id}', 'h', 'somebody', clock_timestamp() - interval '{days} days')"
        )
        await service.rows(f"INSERT INTO replay_partition VALUES ('{id}', 't', 0, 0, 1, false)")
    await tidy(service)
    left = await service.rows("SELECT id FROM replay_request JOIN replay_partition ON replay_id = id")
    assert [row["id"] for row in left] == ["young"]
