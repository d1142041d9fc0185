"""Subscriptions on a database of its own, shared by the tests of this folder: each has a tenant of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.subscriptions.bootstrap import build
from tests.integration.subscriptions.story import Story
from tests.support.clocks import FixedClock
from tests.support.postgres import PostgresForTests
from tests.support.service_under_test import ServiceUnderTest, new_tenant, service_under_test


@pytest_asyncio.fixture(scope="session")
async def subscriptions(
    postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServiceUnderTest]:
    folder = tmp_path_factory.mktemp("subscriptions")
    async with service_under_test(postgres, "subscriptions", build, folder=folder) as service:
        yield service


@pytest.fixture
def tenant() -> str:
    return new_tenant()


@pytest_asyncio.fixture
async def story(subscriptions: ServiceUnderTest, tenant: str) -> Story:
    """A sandbox tenant that sells one plan."""
    story = Story(subscriptions, tenant, FixedClock())
    await story.hear_of_tenant()
    await story.hear_of_plan()
    return story
