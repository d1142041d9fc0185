"""The catalog on a database of its own, shared by the tests of this folder: each has a tenant of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.catalog.bootstrap import build
from tests.support.postgres import PostgresForTests
from tests.support.service_under_test import ServiceUnderTest, new_tenant, service_under_test


@pytest_asyncio.fixture(scope="session")
async def catalog(
    postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServiceUnderTest]:
    folder = tmp_path_factory.mktemp("catalog")
    async with service_under_test(postgres, "catalog", build, folder=folder) as service:
        yield service


@pytest.fixture
def tenant() -> str:
    return new_tenant()
