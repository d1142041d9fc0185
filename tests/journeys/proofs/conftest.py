"""All services, and one customer whose invoices are proved."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.journeys.lifecycle.journey import ZONE, Life
from tests.journeys.proofs.world import live
from tests.support.all_services import AllServices, all_services
from tests.support.postgres import PostgresForTests


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def services(
    postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AllServices]:
    async with all_services(postgres, folder=tmp_path_factory.mktemp("proofs")) as running:
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def life(services: AllServices) -> AsyncIterator[Life]:
    """After a month: an invoice of its beginning, and one with all its usage."""
    tenant = await services.make_tenant()
    async with services.client(tenant) as client:
        life = Life(services, client, ZONE)
        seller = {"code": "s", "name": "Seller", "country": "NL", "number_prefix": "S-"}
        await life.post("/v1/sellers", seller)
        await live(life)
        yield life
