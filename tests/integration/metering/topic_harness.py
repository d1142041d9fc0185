"""Metering whose usage goes through the usage topic: workers run where a test says so, for as long as it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import asyncpg

from libs.common.clock import SystemClock
from libs.common.contracts.topics import TOPICS, USAGE_TOPIC, Topic
from libs.common.messaging.bus import Bus, Record, Subscription
from libs.common.messaging.bus_migrations import install
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.messaging.embedded_subscription import EmbeddedSubscription
from libs.common.messaging.kafka_bus import KafkaBus
from libs.common.messaging.kafka_subscription import KafkaSubscription
from libs.common.persistence.session import asyncpg_dsn
from libs.common.stopping import Stopping
from services.metering.adapters.usage_months import UsageMonths
from services.metering.domain.usage_event import AcceptWindow
from services.metering.entrypoints.scheduler import count_usage_waiting
from services.metering.entrypoints.usage_consumer import UsageConsumer
from tests.integration.metering.harness import Metering
from tests.support.kafka import KafkaForTests
from tests.support.postgres import PostgresForTests
from tests.support.service_under_test import ServiceUnderTest
from tests.support.small_service import eventually

PARTITIONS = 4
KAFKA_SESSION_S = 1.5  # for how long a killed worker is missed
THROUGH_TOPIC = {"PERENNIAL_USAGE_INGEST": "kafka"}
RESULTS = "/v1/usage-events/results"


@asynccontextmanager
async def embedded_usage_bus(postgres: PostgresForTests) -> AsyncIterator[EmbeddedBus]:
    """An embedded bus that has the usage topic and nothing else."""
    async with postgres.fresh_database("bus") as dsn:
        connection = await asyncpg.connect(asyncpg_dsn(dsn))
        await install(connection)
        await connection.close()
        bus = EmbeddedBus(dsn)
        await bus.ensure_topics([Topic(USAGE_TOPIC, partitions=PARTITIONS)])
        try:
            yield bus
        finally:
            await bus.close()


@asynccontextmanager
async def kafka_usage_bus(kafka: KafkaForTests) -> AsyncIterator[KafkaBus]:
    """The usage topic of the run's broker, which others may have made, and written to."""
    bus = KafkaBus(kafka.bootstrap, client_id="usage-tests", session_s=KAFKA_SESSION_S)
    await bus.ensure_topics(TOPICS)
    try:
        yield bus
    finally:
        await bus.close()


class KillableBus:
    """A bus whose subscriptions may end as those of a killed process do: without a word to the group."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.is_killed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    @asynccontextmanager
    async def subscribe(
        self, group: str, topics: Sequence[str], *, member: str
    ) -> AsyncIterator[Subscription]:
        subscription = self._bus.subscribe(group, topics, member=member)
        try:
            await subscription.__aenter__()
            yield subscription
        finally:
            if self.is_killed:
                await _abandon(subscription)
            else:
                await subscription.__aexit__(None, None, None)


async def _abandon(subscription: Subscription) -> None:
    if isinstance(subscription, KafkaSubscription):
        await subscription.disconnect()
    else:
        assert isinstance(subscription, EmbeddedSubscription)
        if subscription._connection is not None:
            subscription._connection.terminate()


@dataclass
class Worker:
    """A worker process as far as usage goes: its consumer, and the word to stop."""

    consumer: UsageConsumer
    stopping: Stopping
    bus: KillableBus
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        self.tasks.append(asyncio.create_task(self.consumer.run()))

    async def stop(self) -> None:
        """As SIGTERM does. What is in hand is finished."""
        self.stopping.set()
        await asyncio.gather(*self.tasks)

    async def kill(self) -> None:
        """As far as a task can be killed: at once, whatever it holds, and the group is not told."""
        self.bus.is_killed = True
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class TopicMetering(Metering):
    """One tenant's view of a metering service that has the usage topic between."""

    def __init__(self, service: ServiceUnderTest, tenant: str) -> None:
        self.usage_bus: Bus = service.parts.platform.bus
        super().__init__(service, tenant, self.usage_bus)

    def worker(self, member: str = "one", **options: Any) -> Worker:
        stopping, bus = Stopping(), KillableBus(self.usage_bus)
        given: dict[str, Any] = {
            "units": self.units,
            "writers": 2,
            "commit_events_max": 5_000,
            "accept": AcceptWindow(),
            "poll_s": 0.1,
            **options,
        }
        consumer = UsageConsumer(
            service="metering",
            bus=cast(Bus, bus),
            months=UsageMonths(self.service.parts.worker_database),
            clock=SystemClock(),
            member=member,
            stopping=stopping,
            results_kept=timedelta(days=30),
            **given,
        )
        return Worker(consumer, stopping, bus)

    @asynccontextmanager
    async def working(self, *members: str, **options: Any) -> AsyncIterator[list[Worker]]:
        """Workers that run while the block runs."""
        workers = [self.worker(member, **options) for member in members or ("one",)]
        for worker in workers:
            worker.start()
        try:
            yield workers
        finally:
            for worker in workers:
                await worker.stop()

    async def store_all(self) -> None:
        """Let a worker store what the topic holds."""
        async with self.working():
            await self.until_stored()

    async def until_stored(self, *, timeout_s: float = 30) -> None:
        async def count() -> int:
            return await count_usage_waiting(self.units, self.usage_bus)

        await eventually(count, 0, timeout_s=timeout_s)

    async def batch(self, batch_id: str) -> dict[str, Any]:
        """What the results say of it, and the events that were not stored."""
        told = await self.get(RESULTS, batch_id=batch_id, limit=200)
        return {**told["batch"], "not_stored": told["data"]}

    async def publish(self, *records: Record) -> None:
        await self.usage_bus.publish(records)

    async def offsets(self) -> dict[int, int]:
        async with self.admin() as admin:
            rows = await admin.fetch(
                "SELECT partition, next_offset FROM usage_offset WHERE topic = $1", USAGE_TOPIC
            )
        return {row["partition"]: row["next_offset"] for row in rows}

    async def everything(self) -> Mapping[str, Sequence[Any]]:
        """All that ingest leaves in the database for this tenant, without what differs from one run to the next."""
        async with self.admin() as admin:
            return {
                name: [tuple(row) for row in await admin.fetch(statement, self.tenant)]
                for name, statement in EVERYTHING.items()
            }


EVERYTHING = {
    "sums": """SELECT m.code, b.subject, b.bucket_start, b.group_key, b.event_count, b.total, b.maximum
               FROM usage_bucket b JOIN meter m ON m.id = b.meter_id WHERE b.tenant = $1 ORDER BY 1, 2, 3, 4""",
    "events": """SELECT source, event_id, type, subject, data::text,
                        CASE WHEN event_id <> 'timeless' THEN occurred_at END
                 FROM usage_event WHERE tenant = $1 ORDER BY 1, 2""",
    "rejects": """SELECT event_id, source, type, subject, payload, reasons::text, seen_count
                  FROM usage_reject WHERE tenant = $1 ORDER BY payload""",
    "conflicts": """SELECT event_id, source, payload, seen_count FROM usage_conflict
                    WHERE tenant = $1 ORDER BY payload""",
    "keys": "SELECT count(*) FROM usage_key WHERE tenant = $1",
}
