"""Changes over HTTP, with real tokens and a real database: now, later, altered, withdrawn, carried out."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from libs.common.contracts.catalog import PlanV1
from services.subscriptions.adapters import rows
from tests.integration.subscriptions.changing import a_basic, changed, hear_of_plans, move, quantities
from tests.integration.subscriptions.story import Story, pointers, version


@pytest.fixture
async def plans(story: Story) -> dict[str, PlanV1]:
    return await hear_of_plans(story)


async def test_a_change_now(story: Story, plans: dict[str, PlanV1]) -> None:
    async with story.client() as client:
        subscription = await a_basic(story, client)
        answer = await changed(
            client, subscription, when="now", quantities={"seats": "14"}, add=[{"plan": "swaps"}]
        )
        made = answer.json()
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == f"/v1/subscriptions/{subscription['id']}/changes/{made['id']}"
        shown = await client.get(answer.headers["location"])
        now = await client.get(f"/v1/subscriptions/{subscription['id']}")
    assert (made["status"], made["when"], made["effective_at"]) == ("applied", "now", "2025-06-01T12:00:00Z")
    assert made["wanted"]["add"][0]["plan_version_id"] == plans["swaps"].plan_version_id
    assert quantities(made["subscription"]) == {"seats": "14", "swaps/swaps": "1"}
    assert made["subscription"] == now.json()
    assert shown.json() == {name: value for name, value in made.items() if name != "subscription"}
    assert await story.types(subscription["id"]) == ["subscription.started", "subscription.changed"]
    told = json.loads(bytes((await story.events(subscription["id"]))[-1].data))
    assert [one["quantity"] for one in told["terms"][0]["segments"]] == ["10", "14", "1"]
    async with story.client() as client:  # what was segments in the database is so again
        again = await changed(client, subscription, when="now", quantities={"seats": "15"})
    assert quantities(again.json()["subscription"]) == {"seats": "15", "swaps/swaps": "1"}
    told = json.loads(bytes((await story.events(subscription["id"]))[-1].data))
    assert sorted(one["quantity"] for one in told["terms"][0]["segments"]) == [
        "1",
        "10",
        "15",
    ]  # of two at one instant, the last


async def test_a_repeat_changes_once(story: Story, plans: dict[str, PlanV1]) -> None:
    async with story.client() as client:
        subscription = await a_basic(story, client)
        headers = {"idempotency-key": "one"}
        first = await changed(client, subscription, headers, when="now", quantities={"seats": "14"})
        again = await changed(client, subscription, headers, when="now", quantities={"seats": "14"})
        bare = await client.post(f"/v1/subscriptions/{subscription['id']}/changes", json={"when": "now"})
        same = await changed(client, subscription, when="now", quantities={"seats": "14"})
        stale = await changed(client, subscription, version(1), when="now", quantities={"seats": "15"})
    assert again.content == first.content
    assert bare.json()["code"] == "idempotency_key_required"
    assert (same.json()["status"], same.json()["subscription"]["version"]) == ("unchanged", 2)
    assert stale.status_code == 412
    assert await story.types(subscription["id"]) == ["subscription.started", "subscription.changed"]


async def test_changes_wait_are_listed_altered_withdrawn_and_carried_out(
    story: Story, plans: dict[str, PlanV1]
) -> None:
    async with story.client() as client:
        subscription = await a_basic(story, client)
        at = f"/v1/subscriptions/{subscription['id']}/changes"
        dated = (
            await changed(client, subscription, when={"on": "2025-06-10"}, quantities={"seats": "8"})
        ).json()
        at_end = (await changed(client, subscription, when="period_end", plan="pro")).json()
        gone = (await changed(client, subscription, when="period_end", zone="Europe/Zurich")).json()
        assert [one["status"] for one in (dated, at_end, gone)] == ["scheduled"] * 3
        assert at_end["subscription"]["next_change_at"] == "2025-06-10T04:00:00Z"
        unversioned = await client.patch(f"{at}/{dated['id']}", json={"quantities": {"seats": "9"}})
        altered = await client.patch(
            f"{at}/{dated['id']}",
            json={"quantities": {"seats": "9"}, "when": {"on": "2025-06-11"}, "proration": "second"},
            headers=version(1),
        )
        withdrawn = await client.delete(f"{at}/{gone['id']}", headers=version(1))
        stale = await client.delete(f"{at}/{dated['id']}", headers=version(1))
        waiting = await client.get(at, params={"status": "scheduled", "limit": "1"})
        following = await client.get(waiting.links["next"]["url"])
    assert unversioned.status_code == 428
    assert altered.status_code == 200, altered.text
    assert (altered.headers["etag"], altered.json()["when"]) == ('"2"', {"on": "2025-06-11"})
    assert altered.json()["subscription"]["next_change_at"] == "2025-06-11T04:00:00Z"
    assert (withdrawn.json()["status"], stale.status_code) == ("withdrawn", 412)
    assert [one["id"] for one in waiting.json()["data"]] == [dated["id"]]
    assert [one["id"] for one in following.json()["data"]] == [at_end["id"]]
    await move(story, subscription, "2025-06-30T04:00:00Z")
    async with story.client() as client:
        listed = (await client.get(at)).json()["data"]
        now = (await client.get(f"/v1/subscriptions/{subscription['id']}")).json()
    assert [one["status"] for one in listed] == ["applied", "applied", "withdrawn"]
    assert [one["effective_at"] for one in listed] == ["2025-06-11T04:00:00Z", "2025-06-30T04:00:00Z", None]
    assert (now["plan"], quantities(now), now["next_change_at"]) == (
        "pro",
        {"seats": "9", "support": "1"},
        None,
    )
    assert await story.types(subscription["id"]) == [
        "subscription.started",
        "subscription.changed",
        "subscription.renewed",
    ]


async def test_one_that_cannot_be_carried_out_has_failed_with_its_reason(
    story: Story, plans: dict[str, PlanV1]
) -> None:
    async with story.client() as client:
        subscription = await a_basic(story, client)
        made = (await changed(client, subscription, when="period_end", plan="pro")).json()
    await story.hear_of_sale(plans["pro"], "withdrawn", version=2)
    await move(story, subscription, "2025-06-30T04:00:00Z")
    async with story.client() as client:
        shown = (await client.get(f"/v1/subscriptions/{subscription['id']}/changes/{made['id']}")).json()
        now = (await client.get(f"/v1/subscriptions/{subscription['id']}")).json()
    assert (shown["status"], shown["reason"]["code"]) == ("failed", "plan_version_not_on_sale")
    assert (now["plan"], now["status"], now["current_period"]["index"]) == ("basic", "active", 1)


async def test_a_backdated_change_and_another_interval(story: Story, plans: dict[str, PlanV1]) -> None:
    async with story.client() as client:
        subscription = await a_basic(story, client, starts_on="2025-03-31")
        await move(story, subscription, "2025-06-01T12:00:00Z")
        backdated = await changed(client, subscription, when={"on": "2025-04-10"}, quantities={"seats": "11"})
        assert backdated.status_code == 201, backdated.text
        told = json.loads(bytes((await story.events(subscription["id"]))[-1].data))
        yearly = await changed(client, subscription, when="now", plan="yearly")
    assert [one["period"]["index"] for one in told["terms"]] == [0, 1, 2]
    assert backdated.json()["effective_at"] == "2025-04-10T04:00:00Z"
    period = yearly.json()["subscription"]["current_period"]
    assert (period["index"], period["start"], period["end_on"]) == (3, "2025-06-01T12:00:00Z", "2026-06-01")
    kept = [
        row for row in await story.rows(rows.billing_period) if row["subscription_id"] == subscription["id"]
    ]
    ends = {row["index"]: row["end_at"] for row in kept}
    assert ends[2] == datetime(2025, 6, 1, 12, tzinfo=UTC)
    assert [row["index"] for row in sorted(kept, key=lambda row: row["index"])] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"when": "now"}, 422, ""),
        ({"quantities": {"seats": "1"}}, 422, "/when"),
        ({"when": "later", "quantities": {"seats": "1"}}, 422, "/when"),
        ({"when": "now", "quantities": {"seats": "-1"}}, 422, "/quantities/seats"),
        ({"when": "now", "quantities": {"chairs": "1"}}, 404, "/quantities/chairs"),
        ({"when": "now", "plan": "basic", "plan_version_id": "plv_00000000000000000000000009"}, 422, ""),
        ({"when": "now", "plan_version_id": "plv_00000000000000000000000009"}, 404, "/plan_version_id"),
        ({"when": "now", "currency": "EUR"}, 422, "/currency"),
        ({"when": "now", "proration": "half", "quantities": {"seats": "1"}}, 422, "/proration"),
        ({"when": {"on": "2024-01-01"}, "quantities": {"seats": "1"}}, 422, "/when/on"),
        ({"when": "now", "co_term_with": "sub_00000000000000000000000009"}, 404, "/co_term_with"),
        ({"when": "now", "status": "applied", "quantities": {"seats": "1"}}, 422, "/status"),
    ],
)
async def test_what_is_refused_says_where(
    story: Story, plans: dict[str, PlanV1], body: dict[str, Any], status: int, pointer: str
) -> None:
    async with story.client() as client:
        subscription = await a_basic(story, client)
        answer = await changed(client, subscription, **body)
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert pointer in ([told.get("pointer", "")] + (pointers(answer) if "errors" in told else []))
    assert await story.types(subscription["id"]) == ["subscription.started"]


async def test_another_tenants_and_another_customers_changes_are_not_there(
    story: Story, plans: dict[str, PlanV1]
) -> None:
    async with story.client() as client:
        subscription, other = await a_basic(story, client), await a_basic(story, client)
        made = (await changed(client, subscription, when="period_end", quantities={"seats": "3"})).json()
        mixed = await client.get(f"/v1/subscriptions/{other['id']}/changes/{made['id']}")
    async with story.client("subscriptions:read", customer=other["customer_id"]) as portal:
        foreign = await portal.get(f"/v1/subscriptions/{subscription['id']}/changes")
        one = await portal.get(f"/v1/subscriptions/{subscription['id']}/changes/{made['id']}")
        own = await portal.get(f"/v1/subscriptions/{other['id']}/changes")
    assert [answer.status_code for answer in (mixed, foreign, one, own)] == [404, 404, 404, 200]


async def test_two_at_once_are_both_there(story: Story, plans: dict[str, PlanV1]) -> None:
    async with story.client() as client:
        subscription = await a_basic(story, client)
        answers = await asyncio.gather(
            changed(client, subscription, when="now", quantities={"seats": "11"}),
            changed(client, subscription, when="now", add=[{"plan": "swaps", "quantities": {"swaps": "2"}}]),
            changed(client, subscription, when="period_end", quantities={"seats": "12"}),
            changed(client, subscription, when={"on": "2025-06-20"}, quantities={"seats": "13"}),
        )
        now = (await client.get(f"/v1/subscriptions/{subscription['id']}")).json()
    assert {answer.status_code for answer in answers} == {201}
    assert {code: Decimal(many) for code, many in quantities(now).items()} == {"seats": 11, "swaps/swaps": 2}
    assert now["next_change_at"] == "2025-06-20T04:00:00Z"
    [row] = [row for row in await story.rows(rows.subscription) if row["id"] == subscription["id"]]
    assert row["boundary_changes"] == 1
