"""The small service's database for these tests, emptied before each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest_asyncio

from tests.support.postgres import PostgresForTests
from tests.support.small_service import (
    Handlers,
    SmallService,
    forget_everything,
    small_bus,
    small_service,
)


@pytest_asyncio.fixture(scope="session")
async def shared_small_service(postgres: PostgresForTests) -> AsyncIterator[SmallService]:
    async with small_bus(postgres) as bus, small_service(postgres, bus) as service:
        yield service


@pytest_asyncio.fixture
async def service(shared_small_service: SmallService) -> SmallService:
    await forget_everything(shared_small_service)
    return replace(shared_small_service, handlers=Handlers())
