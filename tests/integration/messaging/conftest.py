"""A small service for each test; a server that may be stopped, for those who need one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import pytest_asyncio

from libs.common.contracts import EVENTS
from libs.common.messaging.embedded_bus import EmbeddedBus
from libs.common.telemetry import Tracing, setup_tracing
from tests.support.postgres import PostgresForTests, running_postgres
from tests.support.small_service import (
    Handlers,
    SmallService,
    ThingHappenedV1,
    forget_everything,
    small_bus,
    small_service,
)


@pytest.fixture(autouse=True)
def contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's own event is known for the length of a test only."""
    monkeypatch.setitem(EVENTS, ThingHappenedV1.TYPE, ThingHappenedV1)


@pytest_asyncio.fixture(scope="session")
async def shared_service(postgres: PostgresForTests) -> AsyncIterator[SmallService]:
    async with small_bus(postgres) as bus, small_service(postgres, bus) as service:
        yield service


@pytest_asyncio.fixture
async def service(shared_service: SmallService) -> SmallService:
    """Empty, and with handlers and pools of the test's own."""
    await forget_everything(shared_service)
    await shared_service.worker.close()
    return replace(shared_service, handlers=Handlers())


@pytest.fixture
def bus(service: SmallService) -> EmbeddedBus:
    assert isinstance(service.bus, EmbeddedBus)
    return service.bus


@pytest.fixture(scope="session")
def fragile() -> Iterator[PostgresForTests]:
    """A server of these tests' own, which they may stop; whoever stops it starts it again."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracing]:
    """Recording to the ring, of messages only."""
    for variable in (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_TRACES_SAMPLER",
    ):
        monkeypatch.delenv(variable, raising=False)
    tracing = setup_tracing(record_sql=False)
    yield tracing
    tracing.shutdown()
