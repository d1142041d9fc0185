"""Billing on a database of its own, shared by the tests of this folder: each has a tenant of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.billing.bootstrap import build
from tests.integration.billing.workbench import Workbench
from tests.support.postgres import PostgresForTests
from tests.support.service_under_test import ServiceUnderTest, new_tenant, service_under_test


@pytest_asyncio.fixture(scope="session")
async def billing(
    postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServiceUnderTest]:
    folder = tmp_path_factory.mktemp("billing")
    async with service_under_test(postgres, "billing", build, folder=folder) as service:
        yield service


@pytest_asyncio.fixture
async def own_billing(
    postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServiceUnderTest]:
    """With a database that nobody else uses."""
    folder = tmp_path_factory.mktemp("own-billing")
    async with service_under_test(postgres, "billing", build, folder=folder) as service:
        yield service


@pytest_asyncio.fixture
async def bench(billing: ServiceUnderTest) -> Workbench:
    """Nothing that an earlier test left behind is due."""
    bench = Workbench(billing)
    async with bench.admin() as admin:
        await admin.execute(
            """UPDATE invoice SET due_at = NULL WHERE due_at IS NOT NULL;
               UPDATE payment_attempt SET due_at = NULL WHERE due_at IS NOT NULL;
               UPDATE dunning SET due_at = NULL WHERE due_at IS NOT NULL;
               UPDATE refund SET due_at = NULL, state = 'manual' WHERE due_at IS NOT NULL;
               UPDATE mail SET due_at = NULL, state = 'failed' WHERE due_at IS NOT NULL;
               UPDATE wallet SET due_at = NULL WHERE due_at IS NOT NULL;
               UPDATE spend_threshold SET due_at = NULL WHERE due_at IS NOT NULL"""
        )
    return bench


@pytest.fixture
def own_bench(own_billing: ServiceUnderTest) -> Workbench:
    return Workbench(own_billing)


@pytest.fixture
def tenant() -> str:
    return new_tenant()
