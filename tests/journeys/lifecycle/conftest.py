"""All services for the lives of this folder, and for each a tenant of its own that sells its module's catalog."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.journeys.lifecycle.journey import ZONE, Life
from tests.support.all_services import AllServices, all_services
from tests.support.postgres import PostgresForTests


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def services(
    postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[AllServices]:
    folder = tmp_path_factory.mktemp("lives")
    mails = {"PERENNIAL_BILLING_MAIL_FOLDER": str(folder / "mail")}
    async with all_services(postgres, folder=folder, environment=mails) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="package")
async def life(services: AllServices, request: pytest.FixtureRequest) -> AsyncIterator[Life]:
    tenant = await services.make_tenant()
    async with services.client(tenant) as client:
        life = Life(services, client, ZONE)
        seller = {"code": "s", "name": "Seller", "country": "NL", "number_prefix": "S-"}
        await life.post("/v1/sellers", seller)
        await life.post("/v1/catalog-imports?dry_run=false", request.module.CATALOG)
        yield life
