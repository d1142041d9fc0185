"""The catalog's rows on a real PostgreSQL: tenants kept apart, state and events together, publications fixed."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select, text

from libs.common.access.tenancy import APP, MIGRATOR
from libs.common.persistence.session import asyncpg_dsn
from libs.common.persistence.unit_of_work import UnitsOfWork
from services.catalog.adapters import rows
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.application.publish_plan import PublishPlan, publish_plan
from services.catalog.domain.known_meter import KnownMeter
from services.catalog.domain.plan import Plan, PlanCodeTaken
from services.catalog.domain.product import ProductCodeTaken
from tests.support.catalog import NOW, TIERS, a_draft, a_fee, a_plan, a_product, a_usage_price
from tests.support.clocks import FixedClock
from tests.support.service_under_test import ServiceUnderTest, new_tenant
from tests.support.versions import any_version

ACTOR = "token:test"
TENANT_TABLES = (rows.product, rows.plan, rows.plan_version, rows.price, rows.known_meter)


def units_of(catalog: ServiceUnderTest) -> UnitsOfWork[CatalogUnitOfWork]:
    units: UnitsOfWork[CatalogUnitOfWork] = catalog.parts.api_units
    return units


def plan_of(tenant: str, **changes: Any) -> Plan:
    """Ids are unique in the whole database, so they carry the tenant here."""
    product_id = f"prd_{tenant}"
    draft = a_draft(a_fee(product_id=product_id), a_usage_price(product_id=product_id))
    return a_plan(**{"id": f"pln_{tenant}", "draft": draft, **changes})


async def a_published_plan(catalog: ServiceUnderTest, tenant: str) -> str:
    async with units_of(catalog).open(tenant, ACTOR) as uow:
        uow.products.add(a_product(id=f"prd_{tenant}"))
        await uow.known_meters.put(KnownMeter("flying-minutes", "mtr_1", "sum", "minute", 1))
        uow.plans.add(plan_of(tenant))
        await uow.flush()
        command = PublishPlan(f"pln_{tenant}")
        outcome = await publish_plan(command, uow=uow, clock=FixedClock(NOW), check_version=any_version)
    return outcome.plan_version.id


async def test_what_is_saved_is_found_again_as_it_was(catalog: ServiceUnderTest, tenant: str) -> None:
    plan = plan_of(tenant, metadata={"a": "b"}, external_id="crm-1")
    product = a_product(id=f"prd_{tenant}", archived_at=NOW, metadata={"x": "y"})
    async with units_of(catalog).open(tenant, ACTOR) as uow:
        uow.products.add(product)
        uow.plans.add(plan)
    async with units_of(catalog).open(tenant, ACTOR) as uow:
        assert await uow.products.get(product.id) == product
        assert await uow.plans.get(plan.id) == plan


async def test_a_published_version_is_found_again_with_its_digest(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    await a_published_plan(catalog, tenant)
    async with units_of(catalog).open(tenant, ACTOR) as uow:
        found = await uow.plan_versions.find(f"pln_{tenant}", 1)
    assert found is not None
    assert found.content == plan_of(tenant).draft
    assert found.content.prices[1].tiers == TIERS


async def test_another_tenant_and_no_tenant_see_nothing(catalog: ServiceUnderTest, tenant: str) -> None:
    await a_published_plan(catalog, tenant)
    for other in (new_tenant(), ""):
        async with units_of(catalog).database.transaction(APP, other) as connection:
            for table in TENANT_TABLES:
                assert (await connection.execute(select(table))).first() is None
    async with units_of(catalog).database.transaction(APP, tenant) as connection:
        for table in TENANT_TABLES:
            assert (await connection.execute(select(table))).first() is not None


async def test_no_row_can_be_written_for_another_tenant(catalog: ServiceUnderTest, tenant: str) -> None:
    statement = "INSERT INTO known_meter (tenant, code, meter_id, aggregation) VALUES ('{}', 'm', 'm', 'sum')"
    async with units_of(catalog).database.transaction(APP, tenant) as connection:
        with pytest.raises(Exception, match="row-level security"):
            await connection.execute(text(statement.format(new_tenant())))


async def test_state_event_and_change_are_saved_together(catalog: ServiceUnderTest, tenant: str) -> None:
    version_id = await a_published_plan(catalog, tenant)
    async with units_of(catalog).database.transaction(APP, tenant) as connection:
        outbox, changes = rows.shared.outbox, rows.shared.change_log
        sent = (await connection.execute(select(outbox).where(outbox.c.tenant == tenant))).one()
        (change,) = (await connection.execute(select(changes))).all()
    assert (sent.type, sent.aggregate_id) == ("perennial.catalog.plan.published.v1", f"pln_{tenant}")
    assert json.loads(sent.data)["plan"]["plan_version_id"] == version_id
    assert sent.published_at is None
    assert (change.actor, change.action, change.aggregate_version) == (ACTOR, "plan.published", 2)


async def test_what_fails_leaves_neither_state_nor_event(catalog: ServiceUnderTest, tenant: str) -> None:
    async def publish_and_die() -> None:
        async with units_of(catalog).open(tenant, ACTOR) as uow:
            uow.products.add(a_product(id=f"prd_{tenant}"))
            uow.plans.add(plan_of(tenant))
            await uow.known_meters.put(KnownMeter("flying-minutes", "mtr_1", "sum", "minute", 1))
            command = PublishPlan(f"pln_{tenant}")
            await publish_plan(command, uow=uow, clock=FixedClock(NOW), check_version=any_version)
            await uow.flush()
            raise RuntimeError("died before the commit")

    with pytest.raises(RuntimeError):
        await publish_and_die()
    outbox = rows.shared.outbox
    async with units_of(catalog).database.transaction(APP, tenant) as connection:
        assert (await connection.execute(select(rows.plan))).first() is None
        assert (await connection.execute(select(outbox).where(outbox.c.tenant == tenant))).first() is None


async def test_a_taken_code_is_a_conflict_that_says_which(catalog: ServiceUnderTest, tenant: str) -> None:
    await a_published_plan(catalog, tenant)
    with pytest.raises(ProductCodeTaken):
        async with units_of(catalog).open(tenant, ACTOR) as uow:
            uow.products.add(a_product(id=f"prd_{tenant}_2"))
    with pytest.raises(PlanCodeTaken):
        async with units_of(catalog).open(tenant, ACTOR) as uow:
            uow.plans.add(plan_of(tenant, id=f"pln_{tenant}_2"))


@pytest.mark.parametrize(
    "statement",
    ["UPDATE price SET terms = '{}'", "DELETE FROM price", "TRUNCATE price", "DELETE FROM plan_version"],
)
async def test_not_even_the_owner_changes_what_was_published(
    catalog: ServiceUnderTest, tenant: str, statement: str
) -> None:
    await a_published_plan(catalog, tenant)
    owner = await asyncpg.connect(asyncpg_dsn(catalog.database.admin_dsn))
    try:
        await owner.execute(f"SET ROLE {MIGRATOR}")
        with pytest.raises(asyncpg.RestrictViolationError):
            await owner.execute(statement)
    finally:
        await owner.close()


async def test_an_older_word_on_a_meter_changes_nothing(catalog: ServiceUnderTest, tenant: str) -> None:
    async with units_of(catalog).open(tenant, ACTOR) as uow:
        for version, unit in ((2, "minute"), (1, "hour"), (3, "second"), (3, "day")):
            await uow.known_meters.put(KnownMeter("m", "mtr_1", "sum", unit, version))
        stored = (await uow.connection.execute(select(rows.known_meter))).one()
    assert (stored.version, stored.unit) == (3, "second")
