"""What was published is read once: the price of a plan version costs no query after the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from libs.common.persistence.unit_of_work import UnitsOfWork
from services.catalog.adapters.published_versions import PublishedVersions
from services.catalog.adapters.unit_of_work import CatalogUnitOfWork
from services.catalog.application.offered_version import get_version
from services.catalog.application.publish_plan import PublishPlan, publish_plan
from services.catalog.domain.plan_version import PlanVersion, publish_as
from services.catalog.domain.sale import ALWAYS
from tests.integration.catalog.asking import FEE, make_plan, publish
from tests.support.catalog import NOW, a_draft, a_fee
from tests.support.clocks import FixedClock
from tests.support.service_under_test import ServiceUnderTest
from tests.support.versions import any_version

BOTH = ("catalog:read", "catalog:write")


def units_of(catalog: ServiceUnderTest) -> UnitsOfWork[CatalogUnitOfWork]:
    units: UnitsOfWork[CatalogUnitOfWork] = catalog.parts.api_units
    return units


@contextmanager
def statements(catalog: ServiceUnderTest) -> Iterator[list[str]]:
    """What is asked of the database meanwhile, but for entering the tenant."""
    asked: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "set_config" not in statement:
            asked.append(statement)

    engine = units_of(catalog).database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def test_reading_a_version_costs_no_query_after_the_first(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        plan_id = (await make_plan(client))["id"]
        await publish(client, plan_id)
    async with units_of(catalog).open(tenant, "test") as uow:
        plan = await uow.plans.get(plan_id)
    counts = []
    for _ in range(3):
        async with units_of(catalog).open(tenant, "test") as uow:
            with statements(catalog) as asked:
                await get_version(plan, 1, uow=uow)
            counts.append(len(asked))
    assert counts == [2, 0, 0]  # the version and its prices


async def test_showing_a_version_asks_only_whether_it_is_still_sold(
    catalog: ServiceUnderTest, tenant: str
) -> None:
    async with catalog.client(tenant, *BOTH) as client:
        plan = await make_plan(client)
        await publish(client, plan["id"])
        path = f"/v1/plans/{plan['id']}/versions/1"
        shown = await client.get(path)
        with statements(catalog) as asked:
            again = await client.get(path)
        assert again.json() == shown.json()
        assert [statement.split("FROM ")[1].split()[0] for statement in asked] == ["plan"]
        await client.post(f"{path}/withdrawal")
        assert (await client.get(path)).json()["status"] == "withdrawn"


async def test_what_is_rolled_back_was_never_at_hand(catalog: ServiceUnderTest, tenant: str) -> None:
    """Whoever tries out a publication must not leave it behind for others."""
    async with catalog.client(tenant, *BOTH) as client:
        plan = await make_plan(client)

    async def try_out() -> None:
        async with units_of(catalog).open(tenant, "test") as uow:
            command = PublishPlan(plan["id"])
            await publish_plan(command, uow=uow, clock=FixedClock(NOW), check_version=any_version)
            await uow.flush()
            assert await uow.plan_versions.find(plan["id"], 1)
            raise RuntimeError("only tried")

    with pytest.raises(RuntimeError):
        await try_out()
    async with catalog.client(tenant, *BOTH) as client:
        path = f"/v1/plans/{plan['id']}"
        assert (await client.get(f"{path}/versions/1")).status_code == 404
        dearer = {"prices": [{**FEE, "unit_amount": "1300"}]}
        await client.patch(path, json=dearer, headers={"if-match": "*"})
        await publish(client, plan["id"])
        shown = (await client.get(f"{path}/versions/1")).json()
    assert shown["prices"][0]["unit_amount"] == "1300"


def a_version(plan_id: str) -> PlanVersion:
    return publish_as(plan_id, "power", 1, a_draft(a_fee()), ALWAYS, NOW)


def test_versions_at_hand_are_each_tenants_own_and_not_too_many() -> None:
    kept = PublishedVersions(count_max=2)
    one, two, three = (a_version(f"pln_{number}") for number in range(3))
    kept.put("a", one)
    kept.put("a", two)
    assert kept.find("b", one.id) is None
    assert kept.find("a", one.id) is one  # and was asked for later than the other
    kept.put("a", three)
    assert [kept.find("a", version.id) for version in (one, two, three)] == [one, None, three]
    other = replace(three, digest="other")
    kept.put("b", other)
    assert (kept.find("b", three.id), kept.find("a", three.id)) == (other, three)
