"""The timeline over HTTP: in order, in words, in pages, each entry once, and shown to whom it concerns."""

from __future__ import annotations

from typing import Any

from libs.common.contracts.metering import UsageWindowClosedV1
from tests.integration.subscriptions.changing import a_basic, changed, hear_of_plans, move
from tests.integration.subscriptions.story import Story
from tests.support.subscriptions import utc


async def timeline(client: Any, subscription: dict[str, Any], **query: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/subscriptions/{subscription['id']}/timeline", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def test_what_happened_is_told_in_its_order_and_in_words(story: Story) -> None:
    await hear_of_plans(story)
    async with story.client() as client:
        made = await a_basic(story, client)
        await changed(client, made, when={"on": "2025-06-10"}, quantities={"seats": "12"})
        await move(story, made, "2025-06-10T04:00:00+00:00")
        await move(story, made, "2025-06-11T12:00:00+00:00")
        path = f"/v1/subscriptions/{made['id']}/cancellation"
        assert (await client.post(path, json={"at_period_end": True})).status_code == 200
        await move(story, made, "2025-06-30T04:00:00+00:00")
        told = await timeline(client, made)
    assert [(entry["at"], entry["words"]) for entry in told] == [
        ("2025-06-01T12:00:00Z", "Began: Basic (10 × seats); period 0, 2025-05-31 until 2025-06-30"),
        ("2025-06-10T04:00:00Z", "Changed: Basic (12 × seats)"),
        ("2025-06-11T12:00:00Z", "Canceled, to end 2025-06-30"),
        ("2025-06-30T04:00:00Z", "Ended 2025-06-30: canceled"),
    ]


async def test_news_of_others_stands_among_its_own_with_what_it_is_about(story: Story) -> None:
    async with story.client() as client:
        made = await story.subscription(client)
        window = UsageWindowClosedV1(
            tenant=story.tenant,
            occurred_at=utc("2025-06-01T13:00"),
            window_id="win_1",
            subscription_id=made["id"],
            period_index=0,
            window_start=utc("2025-05-01T04:00"),
            window_end=utc("2025-06-01T04:00"),
            totals=(),
        )
        await story.hear(window, story.failed(made["id"], "inv_a"))
        await story.hear(story.paid(made["id"], "inv_a"))
        told = await timeline(client, made)
    at_noon = [
        entry for entry in told if entry["event"] != "SubscriptionStarted" and entry["about"] != "win_1"
    ]
    assert [(entry["event"], entry["about"]) for entry in at_noon] == [
        ("PaymentFailed", "pay_1"),
        ("SubscriptionSuspended", "inv_a"),
        ("InvoicePaid", "inv_a"),
        ("SubscriptionRecovered", None),
    ], "what happened at one instant stands in the order in which it was told"
    [used] = [entry for entry in told if entry["about"] == "win_1"]
    assert used["words"] == "Usage until 2025-06-01: none"


async def test_it_comes_in_pages(story: Story) -> None:
    async with story.client() as client:
        made = await story.subscription(client)
        for number in range(3):
            await story.hear(
                story.failed(made["id"], f"inv_{number}"), story.paid(made["id"], f"inv_{number}")
            )
        whole = await timeline(client, made)
        found: list[dict[str, Any]] = []
        answer = await client.get(f"/v1/subscriptions/{made['id']}/timeline", params={"limit": "2"})
        found += answer.json()["data"]
        while following := answer.links.get("next"):
            answer = await client.get(following["url"])
            found += answer.json()["data"]
    assert len(whole) > 4
    assert found == whole


async def test_a_portal_token_sees_its_own_customers_only(story: Story) -> None:
    async with story.client() as client:
        mine, other = await story.subscription(client), await story.subscription(client)
    async with story.client("subscriptions:read", customer=mine["customer_id"]) as portal:
        assert [entry["event"] for entry in await timeline(portal, mine)] == ["SubscriptionStarted"]
        hidden = await portal.get(f"/v1/subscriptions/{other['id']}/timeline")
        preview = await portal.post(f"/v1/subscriptions/{mine['id']}/previews", json={})
    assert (hidden.status_code, hidden.json()["code"]) == (404, "subscription_not_found")
    assert (preview.status_code, preview.json()["code"]) == (403, "portal_forbidden")
