"""Plans as billing heard of them: kept once, read once, seen by their own tenant only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event

from libs.common.contracts.catalog import (
    PlanOverlaidV1,
    PlanOverlayV1,
    PlanOverlayWithdrawnV1,
    PlanPublishedV1,
    PlanRetiredV1,
    PlanV1,
    PlanVersionSalesChangedV1,
)
from services.billing.adapters.plan_versions import PlanCache
from services.billing.application.snapshots import plan_from
from tests.integration.billing.test_schema import as_app
from tests.integration.billing.workbench import Workbench
from tests.support.billing import FEE, MINUTES, a_plan
from tests.support.service_under_test import ServiceUnderTest, new_tenant

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def published(tenant: str, plan: PlanV1) -> PlanPublishedV1:
    return PlanPublishedV1(tenant=tenant, version=plan.plan_version, occurred_at=NOW, plan=plan)


def named(tenant: str, number: int = 1, **changes: Any) -> PlanV1:
    """Ids are derived from the plan's, hence no two tenants have the same."""
    return a_plan(number=number, plan_version_id=f"plv_{tenant}_{number}", **changes)


@contextmanager
def statements(billing: ServiceUnderTest) -> Iterator[list[str]]:
    """What is asked of the database meanwhile, but for entering the tenant."""
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "set_config" not in statement:
            asked.append(statement)

    engine = billing.parts.api_units.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def test_reading_the_prices_of_a_version_costs_no_query_after_the_first(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    plan = named(tenant)
    overlay = PlanOverlayV1(overlay_id=f"ovl_{tenant}", customer_id="c", plan_version_id="x", plan=plan)
    await bench.hear(
        published(tenant, plan), PlanOverlaidV1(tenant=tenant, version=1, occurred_at=NOW, overlay=overlay)
    )
    counts = []
    for _ in range(3):
        async with billing.parts.api_units.open(tenant, "token:test") as uow:
            with statements(billing) as asked:
                found = await uow.plan_versions.find(plan.plan_version_id)
                own = await uow.plan_versions.find_overlay(overlay.overlay_id)
            counts.append(len(asked))
            assert found is not None
            assert own is not None
            assert [price.code for price in found.prices] == ["aircraft", "minutes"]
    assert counts == [2, 0, 0]


async def test_the_newest_version_is_asked_for_by_its_code_and_read_once(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.hear(published(tenant, named(tenant, 2, name="Second")), published(tenant, named(tenant)))
    names = []
    for _ in range(2):
        async with billing.parts.api_units.open(tenant, "token:test") as uow:
            with statements(billing) as asked:
                newest = await uow.plan_versions.find_by_code("engines", None)
                first = await uow.plan_versions.find_by_code("engines", 1)
                none = await uow.plan_versions.find_by_code("engines", 3)
            assert newest is not None
            assert first is not None
            assert none is None
            names.append((newest.name, first.name, len(asked)))
    assert names == [("Second", "Engines by the minute", 5), ("Second", "Engines by the minute", 3)]


async def test_another_tenant_sees_none_of_it_though_it_is_at_hand(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    plan = named(tenant)
    await bench.hear(published(tenant, plan))
    async with billing.parts.api_units.open(tenant, "token:test") as uow:
        assert await uow.plan_versions.find(plan.plan_version_id)
    async with billing.parts.api_units.open(new_tenant(), "token:test") as uow:
        assert await uow.plan_versions.find(plan.plan_version_id) is None
        assert await uow.plan_versions.find_by_code("engines", None) is None


async def test_hearing_it_again_changes_nothing(bench: Workbench, tenant: str) -> None:
    await bench.hear(published(tenant, named(tenant)))
    await bench.hear(published(tenant, named(tenant, name="Other")))
    rows = await bench.rows("SELECT plan->>'name' AS name FROM plan_version WHERE tenant = $1", tenant)
    assert [row["name"] for row in rows] == ["Engines by the minute"]


@pytest.mark.parametrize("table", ["plan_version", "plan_overlay"])
@pytest.mark.parametrize("change", ["UPDATE {} SET id = 'x'", "DELETE FROM {}"])
async def test_what_was_published_cannot_be_changed(
    bench: Workbench, tenant: str, table: str, change: str
) -> None:
    async with as_app(bench, tenant) as app:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app.execute(change.format(table))


async def test_a_plan_comes_back_as_it_was_told(bench: Workbench, tenant: str) -> None:
    """Stored without what is as by default, and read with it."""
    price = MINUTES.model_copy(
        update={"minimum_amount": Decimal("0.10"), "included_quantity": Decimal("1E+3")}
    )
    plan = named(tenant, prices=(FEE, price))
    await bench.hear(published(tenant, plan))
    async with bench.open(tenant) as uow:
        assert await uow.plan_versions.find(plan.plan_version_id) == plan_from(plan)


def test_only_so_many_plans_are_kept_and_those_that_are_used_stay() -> None:
    cache = PlanCache(plans_max=2)
    plan = plan_from(a_plan())
    cache.keep("a", "1", plan)
    cache.keep("a", "2", plan)
    assert cache.find("a", "1") is plan
    cache.keep("b", "1", plan)
    assert [cache.find(*key) for key in (("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"))] == [
        plan,
        None,
        plan,
        None,
    ]
    assert len(cache) == 2


# As they were said before prices knew more than the first models.
OLD_PUBLISHED = {
    "tenant": "0197c7b3-41a2-7d6e-9f00-5a3c8e1b2d47",
    "version": 2,
    "occurred_at": "2025-01-01T00:00:00Z",
    "plan": {
        "plan_id": "pln_1",
        "plan_version_id": "plv_old",
        "code": "old",
        "name": "Old",
        "plan_version": 1,
        "currency": "USD",
        "interval_unit": "month",
        "interval_count": 1,
        "prices": [
            {
                "id": "prc_1",
                "code": "minutes",
                "product_id": "prd_1",
                "description": "Minutes",
                "kind": "usage",
                "timing": "arrears",
                "model": "graduated",
                "currency": "USD",
                "tiers": [{"up_to": "10", "unit_amount": "2.50"}, {"unit_amount": "2.00"}],
                "meter": "minutes",
            }
        ],
    },
}


async def test_an_event_of_an_earlier_version_is_understood(bench: Workbench, tenant: str) -> None:
    old = json.loads(json.dumps(OLD_PUBLISHED))
    old["tenant"], old["plan"]["plan_version_id"] = tenant, f"plv_{tenant}"
    await bench.hear(PlanPublishedV1.model_validate(old))
    async with bench.open(tenant) as uow:
        found = await uow.plan_versions.find(f"plv_{tenant}")
    assert found is not None
    assert (found.phases, found.prices[0].phase, found.prices[0].included_quantity) == ((), None, 0)


async def test_news_of_the_catalog_that_billing_does_not_need_is_passed_over(
    bench: Workbench, tenant: str
) -> None:
    sale = PlanVersionSalesChangedV1(
        tenant=tenant,
        version=3,
        occurred_at=NOW,
        plan_id="pln_1",
        plan_version_id="plv_1",
        plan_version=1,
        status="withdrawn",
    )
    withdrawn = PlanOverlayWithdrawnV1(
        tenant=tenant, version=2, occurred_at=NOW, overlay_id="ovl_1", customer_id="cus_1"
    )
    retired = PlanRetiredV1(tenant=tenant, version=4, occurred_at=NOW, plan_id="pln_1")
    await bench.hear(sale, withdrawn, retired, published(tenant, named(tenant)))
    assert len(await bench.rows("SELECT id FROM plan_version WHERE tenant = $1", tenant)) == 1


async def test_two_workers_may_hear_it_at_once(bench: Workbench, tenant: str) -> None:
    plans = [published(tenant, named(tenant, number)) for number in range(1, 6)]
    await asyncio.gather(*(bench.hear(*order) for order in (plans, plans[::-1])))
    assert len(await bench.rows("SELECT id FROM plan_version WHERE tenant = $1", tenant)) == 5
