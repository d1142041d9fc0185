"""Random lives of usage: the service and a brute-force model agree, whatever happens in whatever order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from secrets import randbits
from typing import Any

import pytest
import pytest_asyncio

from libs.common.messaging.bus import Bus
from libs.common.messaging.embedded_bus import EmbeddedBus
from services.metering.adapters.audit import audit_metering
from tests.integration.metering.kinds_of_meters import KINDS
from tests.integration.metering.random_life import Life, Restartable, Size, restartable
from tests.integration.metering.topic_harness import embedded_usage_bus
from tests.support.postgres import PostgresForTests
from tests.support.service_database import ServiceDatabase, service_database
from tests.support.service_under_test import new_tenant

SEEDS = range(8)
METERS = 6  # with as many seeds, each kind of meter is there twice
LIVES, THROUGH_TOPIC = 200, 20


@pytest_asyncio.fixture(scope="module")
async def lives_database(postgres: PostgresForTests) -> AsyncIterator[ServiceDatabase]:
    async with service_database(postgres, "metering") as database:
        yield database


@pytest_asyncio.fixture(scope="module")
async def topic_lives_database(postgres: PostgresForTests) -> AsyncIterator[ServiceDatabase]:
    async with service_database(postgres, "metering") as database:
        yield database


@pytest_asyncio.fixture(scope="module")
async def lives_bus(postgres: PostgresForTests) -> AsyncIterator[EmbeddedBus]:
    """One whose usage topic nobody else reads."""
    async with embedded_usage_bus(postgres) as bus:
        yield bus


@pytest.fixture(scope="module")
def lives_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lives")


async def lead(
    seed: int,
    database: ServiceDatabase,
    folder: Path,
    size: Size,
    *,
    names: Sequence[str] = (),
    tenant: str | None = None,
    bus: Bus | None = None,
) -> Sequence[Any]:
    """All answers of this life."""
    async with restartable(database, folder, tenant or new_tenant(), bus) as processes:
        life = Life(seed, processes, size, names)
        before = await found_wrong(processes)  # by the life before, which has told it
        try:
            await life.live()
            async with processes.metering.admin() as admin:
                await admin.execute("UPDATE outbox SET published_at = clock_timestamp()")
            assert await found_wrong(processes) - before == set()
        except Exception as wrong:
            wrong.add_note("\n".join([f"seed {seed}, {', '.join(life.kinds)}", *life.told]))
            raise
    return life.answers


async def found_wrong(processes: Restartable) -> set[str]:
    report = await audit_metering(processes.metering.service.parts.audit_database)
    return {f"{check.name}: {problem}" for check in report.checks for problem in check.problems}


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed-{seed}")
async def test_a_life_comes_to_what_the_model_says(
    seed: int, lives_database: ServiceDatabase, lives_folder: Path
) -> None:
    names = [kind.name for kind in KINDS[seed % (len(KINDS) // METERS) :: len(KINDS) // METERS]]
    await lead(seed, lives_database, lives_folder, Size(), names=names)


async def test_a_life_through_the_usage_topic_comes_to_the_same(
    lives_database: ServiceDatabase,
    topic_lives_database: ServiceDatabase,
    lives_folder: Path,
    lives_bus: EmbeddedBus,
) -> None:
    await lead_both_ways(100, lives_database, topic_lives_database, lives_folder, lives_bus)


@pytest.mark.long
async def test_many_lives_come_to_what_the_model_says(
    lives_database: ServiceDatabase,
    topic_lives_database: ServiceDatabase,
    lives_folder: Path,
    lives_bus: EmbeddedBus,
) -> None:
    """Others with each run; each tells its seed when something is wrong."""
    for _ in range(LIVES):
        await lead(randbits(32), lives_database, lives_folder, Size(events=80, meters=METERS))
    for _ in range(THROUGH_TOPIC):
        await lead_both_ways(randbits(32), lives_database, topic_lives_database, lives_folder, lives_bus)


async def lead_both_ways(
    seed: int, database: ServiceDatabase, other: ServiceDatabase, folder: Path, bus: EmbeddedBus
) -> None:
    """The same tenant on two databases, since events of one instant stand in the order of their keys."""
    size, tenant = Size(events=24, meters=3, questions=4), new_tenant()
    answers = await lead(seed, database, folder, size, tenant=tenant)
    assert answers == await lead(seed, other, folder, size, tenant=tenant, bus=bus)
