"""Plans to change between over HTTP, subscriptions on a test clock, and what moves that."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx

from libs.common.contracts.catalog import PlanV1
from libs.common.contracts.subscriptions import TestClockMovedV1
from tests.integration.subscriptions.story import Story, key
from tests.support.changes import a_plan_of, a_price


def a_plan_for(story: Story, code: str, number: int, *prices: Any, **changes: Any) -> PlanV1:
    """With ids of this tenant's own."""
    digits = story.tenant.replace("-", "")[:22]
    letter = f"{sum(code.encode()) % 1000:03d}{number}"
    return a_plan_of(
        code,
        number,
        *(price.model_copy(update={"id": f"{price.id}_{story.tenant}"}) for price in prices),
        plan_version_id=f"plv_{digits}{letter}",
        plan_id=f"pln_{code}_{story.tenant}",
        **changes,
    )


async def hear_of_plans(story: Story) -> dict[str, PlanV1]:
    known = {
        "basic": a_plan_for(story, "basic", 1, a_price("seats", "10"), a_price("seats", "9", currency="EUR")),
        "pro": a_plan_for(story, "pro", 1, a_price("seats", "30"), a_price("support", "100")),
        "yearly": a_plan_for(story, "yearly", 1, a_price("seats", "100"), interval_unit="year"),
        "swaps": a_plan_for(story, "swaps", 1, a_price("swaps", "5"), kind="add_on", for_plans=("basic",)),
    }
    for plan in known.values():
        await story.hear_of_plan(plan)
    return known


async def a_basic(story: Story, client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """Ten seats since 31 May 2025, by a test clock that shows 1 June."""
    clock = await story.test_clock(client, "2025-06-01T12:00:00Z")
    given = {
        "plan": "basic",
        "quantities": {"seats": "10"},
        "starts_on": "2025-05-31",
        "test_clock_id": clock["id"],
        **body,
    }
    return await story.subscription(client, **given)


async def changed(
    client: httpx.AsyncClient,
    subscription: dict[str, Any],
    headers: dict[str, str] | None = None,
    **body: Any,
) -> httpx.Response:
    return await client.post(
        f"/v1/subscriptions/{subscription['id']}/changes", json=body, headers={**key(), **(headers or {})}
    )


def quantities(subscription: dict[str, Any]) -> dict[str, str]:
    return {item["code"]: item["quantity"] for item in subscription["items"]}


async def move(story: Story, subscription: dict[str, Any], to: str) -> None:
    """The subscription's clock shows `to`, and its scheduler has done what is due by then."""
    now, id = datetime.fromisoformat(to), subscription["test_clock_id"]
    await story.as_admin("UPDATE test_clock SET now = :now WHERE id = :id", now=now, id=id)
    # As versions go, seconds of the year do: they rise with the time that the clock shows.
    version = int((now - datetime(2025, 1, 1, tzinfo=UTC)).total_seconds())
    await story.hear(
        TestClockMovedV1(tenant=story.tenant, occurred_at=now, clock_id=id, now=now, version=version)
    )
    while await story.job().run_once():
        pass
