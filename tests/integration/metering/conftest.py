"""Metering on a database of its own, shared by the tests of this folder: each has a tenant of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.common.messaging.embedded_bus import EmbeddedBus
from services.metering.bootstrap import build
from tests.integration.metering.harness import Metering, Story
from tests.integration.metering.topic_harness import (
    THROUGH_TOPIC,
    TopicMetering,
    embedded_usage_bus,
    kafka_usage_bus,
)
from tests.support.kafka import KafkaForTests
from tests.support.postgres import PostgresForTests
from tests.support.service_under_test import ServiceUnderTest, new_tenant, service_under_test


@pytest_asyncio.fixture(scope="session")
async def metering_service(
    postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServiceUnderTest]:
    folder = tmp_path_factory.mktemp("metering")
    async with service_under_test(postgres, "metering", build, folder=folder) as service:
        yield service


@pytest_asyncio.fixture
async def metering(metering_service: ServiceUnderTest) -> AsyncIterator[Metering]:
    metering = Metering(metering_service, new_tenant())
    async with metering.client:
        yield metering


@pytest.fixture
def story(metering: Metering) -> Story:
    return Story(metering.tenant)


@pytest_asyncio.fixture(scope="session")
async def usage_bus(postgres: PostgresForTests) -> AsyncIterator[EmbeddedBus]:
    async with embedded_usage_bus(postgres) as bus:
        yield bus


@pytest_asyncio.fixture(scope="session")
async def topic_service(
    postgres: PostgresForTests, usage_bus: EmbeddedBus, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServiceUnderTest]:
    folder = tmp_path_factory.mktemp("metering-topic")
    async with service_under_test(
        postgres, "metering", build, folder=folder, environment=THROUGH_TOPIC, bus=usage_bus
    ) as service:
        yield service


@pytest_asyncio.fixture(scope="session")
async def kafka_service(
    postgres: PostgresForTests, kafka: KafkaForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServiceUnderTest]:
    folder = tmp_path_factory.mktemp("metering-kafka")
    async with (
        kafka_usage_bus(kafka) as bus,
        service_under_test(
            postgres, "metering", build, folder=folder, environment=THROUGH_TOPIC, bus=bus
        ) as service,
    ):
        yield service


@pytest_asyncio.fixture
async def through_topic(topic_service: ServiceUnderTest) -> AsyncIterator[TopicMetering]:
    metering = TopicMetering(topic_service, new_tenant())
    async with metering.client:
        yield metering


@pytest.fixture(params=["embedded", "kafka"])
def service_on_each_bus(request: pytest.FixtureRequest) -> ServiceUnderTest:
    name = "topic_service" if request.param == "embedded" else "kafka_service"
    service: ServiceUnderTest = request.getfixturevalue(name)
    return service


@pytest_asyncio.fixture
async def on_each_bus(service_on_each_bus: ServiceUnderTest) -> AsyncIterator[TopicMetering]:
    """What rests on the transport is shown on each."""
    metering = TopicMetering(service_on_each_bus, new_tenant())
    async with metering.client:
        yield metering
