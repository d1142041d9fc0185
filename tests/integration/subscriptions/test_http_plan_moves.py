"""Plan moves over HTTP, carried on by a worker on a real database."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from libs.common.clock import SystemClock
from libs.common.contracts.catalog import PlanV1
from services.subscriptions.adapters.unit_of_work import SubscriptionsUnitOfWork
from services.subscriptions.application import move_plan
from services.subscriptions.entrypoints import scheduler
from tests.integration.subscriptions.changing import a_basic, hear_of_plans
from tests.integration.subscriptions.story import Story, key


@pytest.fixture
async def plans(story: Story) -> dict[str, PlanV1]:
    return await hear_of_plans(story)


async def asked(
    client: httpx.AsyncClient, plans: dict[str, PlanV1], *, to: str = "pro", **body: Any
) -> httpx.Response:
    given = {
        "from_plan_version_id": plans["basic"].plan_version_id,
        "to_plan_version_id": plans[to].plan_version_id,
        "when": "now",
        "dry_run": False,
        **body,
    }
    return await client.post("/v1/plan-moves", json=given, headers=key())


async def work_on(story: Story) -> int:
    """What the worker's job does, until nothing is due."""
    done = 0
    job = scheduler.jobs(story.service.parts.worker_units, SystemClock())[1]
    while some := await job.run_once():
        done += some
    return done


async def dying_before_its_commit(story: Story, move_id: str) -> None:
    uow: SubscriptionsUnitOfWork
    async with story.service.parts.worker_units.open(story.tenant, "test") as uow:
        await move_plan.carry_on_plan_move(move_id, uow=uow, clock=SystemClock(), length=2)
        await uow.flush()
        raise ConnectionError


async def test_a_dry_run_and_then_the_move(story: Story, plans: dict[str, PlanV1]) -> None:
    async with story.client() as client:
        made = [await a_basic(story, client) for _ in range(3)]
        with_add_on = await a_basic(story, client, add_ons=[{"plan": "swaps"}])
        asked_for = await asked(client, plans, dry_run=True)
        assert asked_for.status_code == 202, asked_for.text
        assert (asked_for.json()["status"], asked_for.json()["counts"]["found"]) == ("running", 0)
        await work_on(story)
        dry = (await client.get(asked_for.headers["location"])).json()
        assert (dry["status"], dry["counts"]) == (
            "done",
            {"found": 4, "moved": 3, "scheduled": 0, "unchanged": 0, "refused": 1},
        )
        assert dry["differences"][0]["subscription_id"] == made[0]["id"]
        assert [item["code"] for item in dry["differences"][0]["after"]] == ["seats", "support"]
        before = (await client.get(f"/v1/subscriptions/{made[0]['id']}")).json()
        assert before == made[0]
        at = (await asked(client, plans)).headers["location"]
        await work_on(story)
        done = (await client.get(at)).json()
        refused = (await client.get(f"{at}/results", params={"outcome": "refused"})).json()["data"]
        first = await client.get(f"{at}/results", params={"limit": "3"})
        rest = await client.get(first.links["next"]["url"])
        after = [(await client.get(f"/v1/subscriptions/{one['id']}")).json() for one in made]
        listed = (await client.get("/v1/plan-moves")).json()["data"]
    assert done["counts"] == dry["counts"]
    assert [(one["subscription_id"], one["reason"]["code"]) for one in refused] == [
        (with_add_on["id"], "add_on_does_not_fit")
    ]
    assert [len(page.json()["data"]) for page in (first, rest)] == [3, 1]
    assert {one["plan"] for one in after} == {"pro"}
    assert len(listed) == 2
    for one in made:
        assert await story.types(one["id"]) == ["subscription.started", "subscription.changed"]


async def test_a_worker_that_dies_is_followed_by_others_and_nothing_is_done_twice(
    story: Story, plans: dict[str, PlanV1]
) -> None:
    async with story.client() as client:
        made = [await a_basic(story, client) for _ in range(5)]
        at = (await asked(client, plans)).headers["location"]
        move_id = at.rsplit("/", 1)[1]
        uow: SubscriptionsUnitOfWork
        units = story.service.parts.worker_units
        async with units.open(story.tenant, "test") as uow:
            await move_plan.carry_on_plan_move(move_id, uow=uow, clock=SystemClock(), length=2)
        with pytest.raises(ConnectionError):
            await dying_before_its_commit(story, move_id)
        counts = (await client.get(at)).json()["counts"]
        assert (counts["found"], counts["moved"]) == (2, 2)
        await asyncio.gather(work_on(story), work_on(story))
        done = (await client.get(at)).json()
    assert (done["status"], done["counts"]["moved"]) == ("done", 5)
    for one in made:
        assert await story.types(one["id"]) == ["subscription.started", "subscription.changed"]


async def test_each_at_the_end_of_its_period(story: Story, plans: dict[str, PlanV1]) -> None:
    async with story.client() as client:
        subscription = await a_basic(story, client)
        at = (await asked(client, plans, when="period_end", proration="none")).headers["location"]
        await work_on(story)
        counts = (await client.get(at)).json()["counts"]
        [change] = (await client.get(f"/v1/subscriptions/{subscription['id']}/changes")).json()["data"]
    assert (counts["moved"], counts["scheduled"]) == (0, 1)
    assert (change["status"], change["wanted"]["proration"]) == ("scheduled", "none")


async def test_what_is_refused_says_where(story: Story, plans: dict[str, PlanV1]) -> None:
    async with story.client() as client:
        same = await asked(client, plans, to="basic")
        add_on = await asked(client, plans, to="swaps")
        vague = await asked(client, plans, when="soon")
        bare = await client.post("/v1/plan-moves", json={})
        gone = await client.get("/v1/plan-moves/plm_00000000000000000000000001/results")
    assert (same.status_code, same.json()["code"]) == (422, "nowhere_to_move")
    assert (add_on.status_code, add_on.json()["code"]) == (422, "add_on_does_not_fit")
    assert vague.status_code == 422
    assert bare.json()["code"] == "idempotency_key_required"
    assert gone.status_code == 404
