"""Subscriptions over HTTP, with real tokens and a real database."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from libs.common.ids import new_id
from services.subscriptions.adapters import rows
from tests.integration.subscriptions.story import Story, key, pointers, usage_item, version
from tests.support.service_under_test import new_tenant


async def test_a_subscription_begins_at_once(story: Story) -> None:
    async with story.client() as client:
        customer = await story.customer(client)
        body = {
            "customer_id": customer["id"],
            "plan": "power",
            "quantities": {"aircraft": "629"},
            "starts_on": "2013-01-01",
            "ends_on": "2014-01-01",
            "external_id": "DL",
        }
        answer = await client.post("/v1/subscriptions", json=body, headers=key())
        made = answer.json()
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == f"/v1/subscriptions/{made['id']}"
        assert answer.headers["etag"] == '"1"'
        shown = await client.get(answer.headers["location"])
    assert shown.json() == made
    assert made["status"] == "active"
    assert (made["zone"], made["currency"], made["interval"]) == (
        "America/New_York",
        "USD",
        {"unit": "month", "count": 1},
    )
    assert (made["starts_at"], made["ends_at"]) == ("2013-01-01T05:00:00Z", "2014-01-01T05:00:00Z")
    assert made["current_period"] == {
        "index": 0,
        "kind": "regular",
        "start": "2013-01-01T05:00:00Z",
        "end": "2013-02-01T05:00:00Z",
        "start_on": "2013-01-01",
        "end_on": "2013-02-01",
    }
    assert made["next_renewal_at"] == "2013-02-01T05:00:00Z"
    assert [(item["price"], item["kind"], item["quantity"], item["meter"]) for item in made["items"]] == [
        ("aircraft", "recurring", "629", None),
        ("minutes", "usage", None, "flying-minutes"),
    ]
    [started] = await story.events(made["id"])
    told = json.loads(bytes(started.data))
    assert told["subscription"]["customer"]["name"] == "Delta Air Lines"
    assert told["subscription"]["items"][0]["price"]["unit_amount"] == "1200.00"
    assert [item["item_id"] for item in told["subscription"]["items"]] == [
        item["id"] for item in made["items"]
    ]
    [log] = [row for row in await story.rows(rows.shared.change_log) if row["aggregate_id"] == made["id"]]
    assert (log["action"], log["actor"].startswith("token:")) == ("subscription.started", True)


async def test_a_key_is_required_and_a_repeat_agrees_once(story: Story) -> None:
    async with story.client() as client:
        customer = await story.customer(client)
        body = {"customer_id": customer["id"], "plan": "power"}
        bare = await client.post("/v1/subscriptions", json=body)
        first = await client.post("/v1/subscriptions", json=body, headers={"idempotency-key": "one"})
        again = await client.post("/v1/subscriptions", json=body, headers={"idempotency-key": "one"})
        other = await client.post(
            "/v1/subscriptions", json={**body, "zone": "UTC"}, headers={"idempotency-key": "one"}
        )
        listed = await client.get("/v1/subscriptions")
    assert (bare.status_code, bare.json()["code"]) == (400, "idempotency_key_required")
    assert first.status_code == 201
    assert again.content == first.content
    assert other.status_code == 422
    assert len(listed.json()["data"]) == 1


@pytest.mark.parametrize(
    ("changes", "status", "pointer"),
    [
        ({"plan": None}, 422, ""),
        ({"plan_version_id": "plv_00000000000000000000000009"}, 422, ""),
        ({"quantities": {"aircraft": "-1"}}, 422, "/quantities/aircraft"),
        ({"quantities": {"aircraft": 3}}, 422, "/quantities/aircraft"),
        ({"quantities": {"minutes": "1"}}, 422, "/quantities/minutes"),
        ({"zone": "Mars/Olympus"}, 422, "/zone"),
        ({"starts_on": "2025-02-30"}, 422, "/starts_on"),
        ({"ends_on": "2025-01-31"}, 422, "/ends_on"),
        ({"test_clock_id": "clk_00000000000000000000000009"}, 404, "/test_clock_id"),
        ({"customer_id": "cus_00000000000000000000000009"}, 404, "/customer_id"),
        ({"status": "ended"}, 422, "/status"),
    ],
)
async def test_a_wrong_field_is_pointed_at(
    story: Story, changes: dict[str, Any], status: int, pointer: str
) -> None:
    async with story.client() as client:
        customer = await story.customer(client)
        body = {"customer_id": customer["id"], "plan": "power", "starts_on": "2025-01-31", **changes}
        answer = await client.post("/v1/subscriptions", json=body, headers=key())
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert pointer in [problem.get("pointer"), *pointers(answer)]


async def test_a_plan_that_is_published_a_moment_later_is_waited_for(story: Story) -> None:
    async with story.client() as client:
        customer = await story.customer(client)
        body = {"customer_id": customer["id"], "plan": "late"}
        asking = asyncio.create_task(client.post("/v1/subscriptions", json=body, headers=key()))
        await asyncio.sleep(0.3)
        assert not asking.done()
        late = story.plan.model_copy(
            update={"code": "late", "plan_version_id": "plv_late" + story.tenant[:8], "plan_id": "pln_late"}
        )
        await story.hear_of_plan(late)
        assert (await asking).status_code == 201


async def test_an_unknown_plan_is_not_found_in_the_end(story: Story) -> None:
    async with story.client() as client:
        customer = await story.customer(client)
        began = time.monotonic()
        answer = await client.post(
            "/v1/subscriptions", json={"customer_id": customer["id"], "plan": "none"}, headers=key()
        )
    assert (answer.status_code, answer.json()["code"]) == (404, "plan_not_found")
    assert 2 < time.monotonic() - began < 20


async def test_a_retired_plan_takes_no_new_subscriptions(story: Story) -> None:
    await story.hear_of_retirement()
    async with story.client() as client:
        customer = await story.customer(client)
        body = {"customer_id": customer["id"], "plan": "power"}
        answer = await client.post("/v1/subscriptions", json=body, headers=key())
    assert (answer.status_code, answer.json()["code"]) == (422, "plan_retired")


async def test_what_is_no_longer_sold_takes_no_new_subscriptions_and_keeps_those_it_has(story: Story) -> None:
    """Told out of order and twice: the newest word holds."""
    second, third = (
        story.plan.model_copy(
            update={
                "plan_version_id": new_id("plv"),
                "plan_version": number,
                "valid_from": valid_from,
            }
        )
        for number, valid_from in ((2, None), (3, datetime(2199, 1, 1, tzinfo=UTC)))
    )
    await story.hear_of_plan(second)
    await story.hear_of_plan(third)
    async with story.client() as client:
        kept = await story.subscription(client)
        assert kept["plan_version_id"] == second.plan_version_id
        for heard, status in ((4, "published"), (5, "withdrawn"), (4, "published"), (5, "withdrawn")):
            await story.hear_of_sale(second, status, version=heard)
        assert (await story.subscription(client))["plan_version_id"] == story.plan.plan_version_id
        for plan, status in ((second, "withdrawn"), (third, "scheduled")):
            body = {"customer_id": kept["customer_id"], "plan_version_id": plan.plan_version_id}
            answer = await client.post("/v1/subscriptions", json=body, headers=key())
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (422, "plan_version_not_on_sale"), problem
            assert status in problem["detail"]
        await story.hear_of_sale(story.plan, "archived", version=6)
        body = {"customer_id": kept["customer_id"], "plan": "power"}
        answer = await client.post("/v1/subscriptions", json=body, headers=key())
        assert (answer.status_code, answer.json()["code"]) == (422, "plan_version_not_on_sale")
        await story.hear_of_sale(second, "published", version=7)
        assert (await story.subscription(client))["plan_version_id"] == second.plan_version_id
        assert (await client.get(f"/v1/subscriptions/{kept['id']}")).json() == kept


async def test_lists_are_filtered(story: Story) -> None:
    async with story.client() as client:
        one = await story.subscription(client, external_id="one")
        two = await story.subscription(client, starts_on="2199-01-01")

        async def found(**wanted: str) -> list[str]:
            answer = await client.get("/v1/subscriptions", params=wanted)
            assert answer.status_code == 200, answer.text
            return [each["id"] for each in answer.json()["data"]]

        assert await found() == [one["id"], two["id"]]
        assert await found(customer_id=two["customer_id"]) == [two["id"]]
        assert await found(status="scheduled") == [two["id"]]
        assert await found(external_id="one") == [one["id"]]
        assert await found(plan="power") == [one["id"], two["id"]]
        assert await found(plan="other") == []
        assert await found(created_from=two["created_at"]) == [two["id"]]
        assert await found(created_to=two["created_at"]) == [one["id"]]
        first = (await client.get("/v1/subscriptions", params={"limit": 1})).json()
        rest = await client.get("/v1/subscriptions", params={"limit": 1, "cursor": first["next_cursor"]})
    assert [first["data"][0]["id"], rest.json()["data"][0]["id"]] == [one["id"], two["id"]]
    assert first["data"][0] == one


async def test_a_cancellation_is_set_and_withdrawn(story: Story) -> None:
    async with story.client() as client:
        made = await story.subscription(client, starts_on=None)
        path = f"/v1/subscriptions/{made['id']}/cancellation"
        passed = await client.post(path, json={"at_period_end": True}, headers=version(7))
        canceled = await client.post(path, json={"at_period_end": True}, headers=version(1))
        again = await client.post(path, json={"at_period_end": True})
        assert passed.status_code == 412
        assert canceled.status_code == 200
        end = made["current_period"]["end"]
        shown = canceled.json()
        assert (shown["ends_at"], shown["cancels_at"], shown["next_renewal_at"]) == (end, end, None)
        assert (shown["status"], again.json()) == ("ending", shown)
        assert (await client.delete(path)).status_code == 428
        withdrawn = await client.delete(path, headers=version(2))
        assert withdrawn.status_code == 200
        assert (withdrawn.json()["ends_at"], withdrawn.json()["version"]) == (None, 3)
        none = await client.delete(path, headers=version(3))
        assert (none.status_code, none.json()["code"]) == (409, "not_canceled")
        past = await client.post(path, json={"at": "2020-01-01T00:00:00Z"})
        assert (past.status_code, past.json()["code"]) == (422, "cancellation_in_the_past")
        assert (await client.post(path, json={})).status_code == 422
    assert await story.types(made["id"]) == [
        "subscription.started",
        "subscription.changed",
        "subscription.changed",
    ]


async def test_an_external_id_is_one_subscriptions_only(story: Story) -> None:
    async with story.client() as client:
        made = await story.subscription(client, external_id="DL")
        body = {"customer_id": made["customer_id"], "plan": "power", "external_id": "DL"}
        again = await client.post("/v1/subscriptions", json=body, headers=key())
    assert (again.status_code, again.json()["code"]) == (409, "subscription_external_id_taken")


async def test_another_tenants_subscription_is_not_there(story: Story) -> None:
    async with story.client() as client:
        made = await story.subscription(client)
    stranger = Story(story.service, new_tenant(), story.clock)
    await stranger.hear_of_plan()
    async with stranger.client() as client:
        path = f"/v1/subscriptions/{made['id']}"
        answers = [
            await client.get(path),
            await client.post(f"{path}/cancellation", json={"at_period_end": True}),
            await client.delete(f"{path}/cancellation", headers=version(1)),
            await client.post(
                "/v1/subscriptions",
                json={"customer_id": made["customer_id"], "plan": "power"},
                headers=key(),
            ),
        ]
        listed = await client.get("/v1/subscriptions", params={"customer_id": made["customer_id"]})
        bound = await stranger.bind(
            client,
            {
                "subject": "N1",
                "meter": "flying-minutes",
                "item_id": usage_item(made),
                "bound_from": "2025-01-01T00:00:00Z",
            },
        )
    assert [answer.status_code for answer in answers] == [404] * 4
    assert listed.json()["data"] == []
    assert bound[0]["error"]["code"] == "subscription_item_not_found"


async def test_a_portal_token_sees_its_own_customers_subscriptions_only(story: Story) -> None:
    async with story.client() as client:
        mine, other = await story.subscription(client), await story.subscription(client)
    async with story.client("subscriptions:read", customer=mine["customer_id"]) as portal:
        listed = await portal.get("/v1/subscriptions")
        foreign = await portal.get("/v1/subscriptions", params={"customer_id": other["customer_id"]})
        shown = await portal.get(f"/v1/subscriptions/{mine['id']}")
        hidden = await portal.get(f"/v1/subscriptions/{other['id']}")
    assert [each["id"] for each in listed.json()["data"]] == [mine["id"]]
    assert foreign.json()["data"] == []
    assert (shown.status_code, hidden.status_code) == (200, 404)
    async with story.client(
        "subscriptions:read", "subscriptions:write", customer=mine["customer_id"]
    ) as portal:
        path = f"/v1/subscriptions/{mine['id']}/cancellation"
        assert (await portal.post(path, json={"at_period_end": True})).status_code == 403


async def test_payments_make_it_past_due_and_bring_it_back(story: Story) -> None:
    async with story.client() as client:
        made = await story.subscription(client)
        path = f"/v1/subscriptions/{made['id']}"

        async def status() -> str:
            shown: str = (await client.get(path)).json()["status"]
            return shown

        again_at = datetime(2025, 3, 3, tzinfo=UTC)
        first, second = [
            story.failed(made["id"], invoice, next_attempt_at=again_at) for invoice in ("inv_a", "inv_b")
        ]
        await story.hear(first, second)
        assert await status() == "past_due"
        await story.hear(story.paid(made["id"], "inv_a"), first)
        assert await status() == "past_due"
        await story.hear(
            story.failed(made["id"], "inv_b"), second
        )  # the last try, and an older one told of late
        assert await status() == "suspended"
        await story.hear(story.paid(made["id"], "inv_b"))
        assert await status() == "active"
        await story.hear(story.paid(made["id"], "inv_c"))
        await story.hear(story.failed(made["id"], "inv_c"))
        assert await status() == "active"
    assert await story.types(made["id"]) == [
        "subscription.started",
        "subscription.past_due",
        "subscription.suspended",
        "subscription.recovered",
    ]
