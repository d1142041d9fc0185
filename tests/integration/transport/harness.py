"""What the transport suite needs to know of a transport: how to get at it, and how to hurt it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import asyncpg

from libs.common.messaging.bus import Bus, BusUnavailable, Delivery, Record, Subscription
from libs.common.messaging.bus_migrations import install
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.messaging.embedded_subscription import EmbeddedSubscription
from libs.common.messaging.kafka_bus import KafkaBus
from libs.common.messaging.kafka_subscription import KafkaSubscription
from libs.common.persistence.session import asyncpg_dsn
from tests.support.kafka import BOOTSTRAP, KafkaForTests
from tests.support.postgres import PostgresForTests

KAFKA_TIMEOUT_S = 3.0
# A broker that is not ours may allow no shorter session.
KAFKA_SESSION_S = 6.0 if BOOTSTRAP in os.environ else 3.0


class Transport(Protocol):
    """One deployment.

    `takeover_s` is how long a group may need to notice that a member died. `shares`: the members of a group share
    its partitions out, instead of one having them all. `retries`: a connection that is lost for a moment is
    made good without a word.
    """

    takeover_s: float
    shares: bool
    retries: bool

    def bus(self) -> Bus:
        """The bus as one more process would have it."""
        ...

    async def kill(self, subscription: Subscription) -> None:
        """What SIGKILL of its process does to a member."""
        ...

    async def cut_connections(self) -> None:
        """All connections of all processes are lost; the next attempt to connect succeeds."""
        ...

    async def stop(self) -> None:
        """The servers stop."""
        ...

    async def crash(self) -> None:
        """The servers are killed: no clean-up, nothing written that was not written before."""
        ...

    async def start(self) -> None:
        """The servers start again, with what they had."""
        ...


class EmbeddedTransport:
    takeover_s = 3.0
    shares = False
    retries = False

    def __init__(self, postgres: PostgresForTests, dsn: str) -> None:
        self._postgres, self._dsn = postgres, dsn

    def bus(self) -> EmbeddedBus:
        return EmbeddedBus(self._dsn)

    async def kill(self, subscription: Subscription) -> None:
        assert isinstance(subscription, EmbeddedSubscription)
        assert subscription._connection is not None
        subscription._connection.terminate()

    async def cut_connections(self) -> None:
        async with self._postgres.admin() as admin:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'perennial-bus%'"
            )

    async def stop(self) -> None:
        await asyncio.to_thread(self._postgres.server.stop)

    async def crash(self) -> None:
        pid_file = self._postgres.server.folder / "data" / "postmaster.pid"
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)  # its children die of it

    async def start(self) -> None:
        await asyncio.to_thread(self._postgres.server.start)


@asynccontextmanager
async def embedded_transport(postgres: PostgresForTests) -> AsyncIterator[EmbeddedTransport]:
    async with postgres.fresh_database("bus") as dsn:
        connection: asyncpg.Connection[Any] = await asyncpg.connect(asyncpg_dsn(dsn))
        await install(connection)
        await connection.close()
        yield EmbeddedTransport(postgres, dsn)


class _RememberingBus(KafkaBus):
    """Knows its subscriptions, so that their connections can be cut."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(
            bootstrap, client_id="perennial-test", timeout_s=KAFKA_TIMEOUT_S, session_s=KAFKA_SESSION_S
        )
        self.subscriptions: list[KafkaSubscription] = []

    def subscribe(self, group: str, topics: Sequence[str], *, member: str) -> KafkaSubscription:
        subscription = super().subscribe(group, topics, member=member)
        self.subscriptions.append(subscription)
        return subscription

    def clients(self) -> list[Any]:
        """aiokafka's, as many as are connected now."""
        found = [self._cluster._connected]
        if self._publisher._producer is not None:
            found.append(self._publisher._producer.client)
        found += [each._consumer._client for each in self.subscriptions if each._consumer is not None]
        return [client for client in found if client is not None]


class KafkaTransport:
    takeover_s = KAFKA_SESSION_S + 5
    shares = True
    retries = True

    def __init__(self, kafka: KafkaForTests) -> None:
        self._kafka = kafka
        self._buses: list[_RememberingBus] = []

    def bus(self) -> KafkaBus:
        bus = _RememberingBus(self._kafka.bootstrap)
        self._buses.append(bus)
        return bus

    async def kill(self, subscription: Subscription) -> None:
        """Its sockets are closed, and nothing is said any more: what Kafka sees of a SIGKILL."""
        assert isinstance(subscription, KafkaSubscription)
        await subscription.disconnect()

    async def cut_connections(self) -> None:
        for bus in self._buses:
            for client in bus.clients():
                for connection in list(client._conns.values()):
                    if connection._writer is not None:
                        connection._writer.transport.abort()

    async def stop(self) -> None:
        await asyncio.to_thread(self._kafka.broker.stop)

    async def crash(self) -> None:
        await asyncio.to_thread(self._kafka.broker.kill)

    async def start(self) -> None:
        await asyncio.to_thread(self._kafka.broker.start)


@asynccontextmanager
async def kafka_transport(kafka: KafkaForTests) -> AsyncIterator[KafkaTransport]:
    yield KafkaTransport(kafka)
    if kafka.is_ours and not kafka.broker.is_running:
        await asyncio.to_thread(kafka.broker.start)


def record(topic: str, key: str, number: int) -> Record:
    return Record(topic=topic, key=key, headers={"number": str(number)}, value=str(number).encode())


def numbers(deliveries: Sequence[Delivery], key: str | None = None) -> list[int]:
    return [int(d.value) for d in deliveries if key is None or d.key == key]


async def receive(
    subscription: Subscription, count: int, *, timeout_s: float = 20.0, records_max: int = 500
) -> list[Delivery]:
    """Poll until `count` records have come, acknowledging none; fails after `timeout_s`."""
    received: list[Delivery] = []
    async with asyncio.timeout(timeout_s):
        while len(received) < count:
            received += await subscription.poll(records_max=records_max, timeout_s=0.5)
    assert len(received) == count
    return received


async def receive_nothing(subscription: Subscription, *, for_s: float = 0.3) -> None:
    assert await subscription.poll(records_max=10, timeout_s=for_s) == []


async def publish_despite(bus: Bus, records: Sequence[Record]) -> int:
    """Publish as a relay does: again and again until it succeeds; returns how often it did not."""
    failures = 0
    while True:
        try:
            await bus.publish(records)
            return failures
        except BusUnavailable:
            failures += 1
            await asyncio.sleep(0.02)
