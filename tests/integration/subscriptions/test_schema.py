"""The migrations make the tables, rights and policies that the code counts on."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest

from libs.common.access.tenancy import APP
from libs.common.clock import SystemClock
from libs.common.contracts.catalog import PlanOverlaidV1, PlanOverlayV1, PlanOverlayWithdrawnV1
from libs.common.contracts.metering import MeterDefinedV1, UsageBalanceUpdatedV1
from libs.common.ids import new_id
from libs.common.persistence.session import asyncpg_dsn
from services.subscriptions.adapters import rows
from services.subscriptions.adapters.rows import metadata
from services.subscriptions.entrypoints import scheduler
from tests.integration.subscriptions.changing import a_basic, hear_of_plans
from tests.integration.subscriptions.story import Story, a_binding_of, key, usage_item
from tests.support.schema import schema_differences
from tests.support.service_under_test import ServiceUnderTest, new_tenant
from tests.support.subscriptions import MINUTES, NOW


async def test_migrations_make_the_tables_as_written(subscriptions: ServiceUnderTest) -> None:
    assert await schema_differences(subscriptions.database.admin_dsn, metadata) == []


async def test_every_tenant_table_has_forced_row_policies(subscriptions: ServiceUnderTest) -> None:
    admin = await asyncpg.connect(asyncpg_dsn(subscriptions.database.admin_dsn))
    try:
        unprotected = await admin.fetch(
            """SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE a.attname = 'tenant' AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
               AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"""
        )
    finally:
        await admin.close()
    assert {row["relname"] for row in unprotected} == {"outbox", "message_failure"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE billing_period SET start_at = now()",
        "UPDATE billing_period SET start_on = '2025-01-01'",
        "UPDATE billing_period SET index = 1",
        "DELETE FROM billing_period",
    ],
)
async def test_a_period_that_began_keeps_its_start_and_its_number(
    subscriptions: ServiceUnderTest, statement: str
) -> None:
    worker = await asyncpg.connect(asyncpg_dsn(subscriptions.database.worker_dsn))
    try:
        await worker.execute(f"SET ROLE {APP}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await worker.execute(statement)
        cut = await worker.execute("UPDATE billing_period SET end_at = end_at, end_on = end_on, more = more")
        assert cut == "UPDATE 0"  # its end may move; without a tenant there are no rows
    finally:
        await worker.close()


async def test_rows_are_the_tenants_own(story: Story) -> None:
    async with story.client() as client:
        clock = await story.test_clock(client, "2025-01-31T05:00:00Z")
        made = await story.subscription(client, test_clock_id=clock["id"])
        await story.bind(client, a_binding_of(usage_item(made)))
        moved = await client.post(f"/v1/test-clocks/{clock['id']}/moves", json={"to": clock["now"]})
    assert moved.status_code == 202
    await story.hear(story.failed(made["id"], "inv_1"))
    await _live_on(story)
    await story.hear_of_retirement()
    await story.hear_of_sale(story.plan, "withdrawn", version=2)
    await story.hear_of_payment_method(made["customer_id"])
    await story.as_admin(
        "INSERT INTO revenue_fill (id, tenant) VALUES (:id, :tenant)", id=made["id"], tenant=story.tenant
    )
    stranger = Story(story.service, new_tenant(), story.clock)
    for table in metadata.sorted_tables:
        if "tenant" in table.c and table.name not in ("outbox", "message_failure"):
            assert await stranger.rows(table) == [], table.name
            if table not in (rows.shared.known_clock, rows.shared.idempotency_key):
                assert len(await story.rows(table)) >= 1, table.name
    await story.as_admin("UPDATE clock_move SET state = 'arrived', due_at = NULL")


async def _live_on(story: Story) -> None:
    """A change that waits, a move of a plan, a quote, a receipt; an overlay and a balance that were told of."""
    plans = await hear_of_plans(story)
    term = {
        "length": {"unit": "year"},
        "early_termination": {"kind": "percentage", "percent": "50"},
    }
    async with story.client() as client:
        basic = await a_basic(story, client)
        bound = await a_basic(story, client, term=term)
        path = f"/v1/subscriptions/{basic['id']}"
        later = {"when": "period_end", "quantities": {"seats": "3"}}
        move = {
            "from_plan_version_id": plans["basic"].plan_version_id,
            "to_plan_version_id": plans["pro"].plan_version_id,
            "when": "now",
            "dry_run": True,
        }
        ending = {"subscription_id": basic["id"], "declared_by": "Ada", "statement": "I cancel."}
        quote = f"/v1/subscriptions/{bound['id']}/termination-quotes"
        for asked, body in (
            (f"{path}/changes", later),
            ("/v1/plan-moves", move),
            (quote, {"on": "2025-07-01"}),
            ("/v1/cancellations", ending),
        ):
            answer = await client.post(asked, json=body, headers=key())
            assert answer.status_code in (201, 202), answer.text
    for job in scheduler.jobs(story.service.parts.worker_units, SystemClock()):
        while await job.run_once():
            pass
    overlay = PlanOverlayV1(
        overlay_id=new_id("plo"),
        customer_id=basic["customer_id"],
        plan_version_id=plans["pro"].plan_version_id,
        plan=plans["pro"],
    )
    about = {"tenant": story.tenant, "occurred_at": NOW}
    await story.hear(
        MeterDefinedV1(**about, meter_id="mtr_1", code=MINUTES, aggregation="sum"),
        PlanOverlaidV1(**about, overlay=overlay),
        PlanOverlayWithdrawnV1(
            **about, overlay_id=overlay.overlay_id, customer_id=overlay.customer_id, version=2
        ),
        UsageBalanceUpdatedV1(
            **about,
            subscription_id=basic["id"],
            item_id=new_id("si"),
            meter=MINUTES,
            period_index=0,
            period_start=NOW,
            period_end=NOW + timedelta(days=30),
            quantity=Decimal(1),
            as_of=NOW,
        ),
    )
