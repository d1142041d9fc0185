"""Metering on a database of its own, shared by the tests of this folder: each has a tenant of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.metering.bootstrap import build
from tests.integration.metering.harness import Metering, Story
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
