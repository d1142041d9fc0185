"""The transports that the suite runs on. One more is one more parameter."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from libs.common.contracts.topics import Topic
from libs.common.messaging.bus import Bus
from tests.integration.transport.harness import Transport, embedded_transport, kafka_transport
from tests.support.postgres import PostgresForTests, running_postgres

PARTITIONS = 4


@pytest.fixture(scope="session")
def transport_postgres() -> Iterator[PostgresForTests]:
    """A server of the suite's own, which it may stop, and which writes as it does in earnest."""
    with running_postgres(fsync=True) as server:
        yield server


@pytest_asyncio.fixture(params=["embedded", "kafka"])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[Transport]:
    if request.param == "embedded":
        async with embedded_transport(request.getfixturevalue("transport_postgres")) as embedded:
            yield embedded
    else:
        async with kafka_transport(request.getfixturevalue("kafka")) as on_kafka:
            yield on_kafka


@pytest_asyncio.fixture
async def bus(transport: Transport) -> AsyncIterator[Bus]:
    bus = transport.bus()
    yield bus
    await bus.close()


@pytest_asyncio.fixture
async def topic(bus: Bus) -> str:
    """A new topic of four partitions; servers may be shared with other tests, names are not."""
    name = f"test.{secrets.token_hex(6)}"
    await bus.ensure_topics([Topic(name, partitions=PARTITIONS)])
    return name


@pytest_asyncio.fixture
async def single(bus: Bus) -> str:
    """A new topic of one partition, where there is one order for everything."""
    name = f"test.{secrets.token_hex(6)}"
    await bus.ensure_topics([Topic(name, partitions=1)])
    return name


@pytest.fixture
def group() -> str:
    return f"group.{secrets.token_hex(6)}"
