"""Pauses, activation and winning back over HTTP, with real tokens and a real database."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from libs.common.contracts.catalog import PlanV1
from tests.integration.subscriptions.changing import a_basic, hear_of_plans, move, quantities
from tests.integration.subscriptions.story import Story, key, pointers, version


@pytest.fixture(autouse=True)
async def plans(story: Story) -> dict[str, PlanV1]:
    return await hear_of_plans(story)


async def asked(
    client: httpx.AsyncClient, subscription: dict[str, Any], what: str, **body: Any
) -> httpx.Response:
    return await client.post(f"/v1/subscriptions/{subscription['id']}/{what}", json=body, headers=key())


async def test_a_pause_with_its_fee_and_its_resumption(story: Story) -> None:
    async with story.client() as client:
        subscription = await a_basic(story, client)
        fee = {"amount": {"amount": "15.00", "currency": "USD"}, "description": "Storage"}
        paused = await asked(client, subscription, "pause", resumes_on="2025-06-20", fee=fee)
        again = await asked(client, subscription, "pause")
        assert paused.status_code == 200, paused.text
        assert paused.json()["status"] == "paused"
        assert paused.json()["pause"] == {
            "status": "running",
            "starts_at": "2025-06-01T12:00:00Z",
            "resumes_at": "2025-06-20T04:00:00Z",
            "extends_term": True,
        }
        await move(story, subscription, "2025-06-20T04:00:00Z")
        shown = (await client.get(f"/v1/subscriptions/{subscription['id']}")).json()
    assert (again.status_code, again.json()["code"]) == (409, "already_paused")
    assert (shown["status"], shown["pause"]) == ("active", None)
    assert await story.types(subscription["id"]) == [
        "subscription.started",
        "subscription.paused",
        "subscription.resumed",
    ]
    told = json.loads(bytes((await story.events(subscription["id"]))[1].data))
    assert [(fee["kind"], fee["amount"]) for fee in told["fees"]] == [("pause", "15.00")]


async def test_a_planned_pause_is_withdrawn(story: Story) -> None:
    async with story.client() as client:
        subscription = await a_basic(story, client)
        at = f"/v1/subscriptions/{subscription['id']}/pause"
        planned = await asked(client, subscription, "pause", on="2025-06-20")
        unversioned = await client.delete(at)
        stale = await client.delete(at, headers=version(1))
        withdrawn = await client.delete(at, headers=version(2))
    assert (planned.json()["status"], planned.json()["pause"]["status"]) == ("active", "planned")
    assert (unversioned.status_code, stale.status_code, withdrawn.status_code) == (428, 412, 200)
    assert withdrawn.json()["pause"] is None


async def test_a_resumption_moves_the_anchor(story: Story) -> None:
    async with story.client() as client:
        subscription = await a_basic(story, client)
        await asked(client, subscription, "pause")
        resumed = await asked(client, subscription, "resumption", anchor_on="2025-06-01", settle="at_once")
        assert resumed.status_code == 200, resumed.text
    period = resumed.json()["current_period"]
    assert (period["index"], period["start_on"], period["end_on"]) == (1, "2025-06-01", "2025-07-01")


async def test_an_activation(story: Story) -> None:
    async with story.client() as client:
        waiting = await a_basic(story, client, starts_on="2025-05-15", billing_starts="month_after_delivery")
        assert (waiting["status"], waiting["awaits_activation"]) == ("awaiting_activation", "delivery")
        wrong = await asked(client, waiting, "activation", on="2025-05-20", reason="acceptance")
        begun = await asked(client, waiting, "activation", on="2025-05-20", reason="delivery")
        again = await asked(client, waiting, "activation", on="2025-05-20", reason="delivery")
    assert (wrong.status_code, wrong.json()["code"]) == (409, "awaits_something_else")
    assert begun.status_code == 200, begun.text
    assert (begun.json()["status"], begun.json()["starts_on"]) == ("active", "2025-06-01")
    assert again.json()["code"] == "transition_not_allowed"
    assert await story.types(waiting["id"]) == ["subscription.scheduled", "subscription.started"]


async def test_a_customer_is_won_back(story: Story) -> None:
    async with story.client() as client:
        former = await a_basic(story, client, add_ons=[{"plan": "swaps", "quantities": {"swaps": "3"}}])
        early = await asked(client, former, "win-back")
        await client.post(f"/v1/subscriptions/{former['id']}/cancellation", json={"at_period_end": False})
        await move(story, former, "2025-06-01T13:00:00Z")
        won = await asked(client, former, "win-back", quantities={"seats": "4"})
        assert won.status_code == 201, won.text
        shown = await client.get(won.headers["location"])
    assert (early.status_code, early.json()["code"]) == (409, "transition_not_allowed")
    assert shown.json() == won.json()
    assert won.json()["won_back_from"] == former["id"]
    assert quantities(won.json()) == {"seats": "4", "swaps/swaps": "3"}


async def test_two_share_an_anchor(story: Story) -> None:
    async with story.client() as client:
        first = await a_basic(story, client)
        second = await a_basic(
            story, client, customer_id=first["customer_id"], co_term_with=first["id"], starts_on="2025-06-01"
        )
    assert second["anchor_on"] == "2025-05-31"
    assert second["current_period"]["end"] == first["current_period"]["end"]


@pytest.mark.parametrize(
    ("what", "body", "status", "pointer"),
    [
        ("pause", {"on": "2025-01-01"}, 422, "/on"),
        ("pause", {"resumes_on": "2025-05-01"}, 422, "/resumes_on"),
        ("pause", {"fee": {"amount": {"amount": "0.00", "currency": "USD"}}}, 422, "/fee"),
        ("pause", {"fee": {"amount": {"amount": "1.00", "currency": "EUR"}}}, 422, "/fee/amount/currency"),
        ("pause", {"for": "ever"}, 422, "/for"),
        ("resumption", {}, 409, ""),
        ("activation", {"on": "2025-06-01", "reason": "delivery"}, 409, ""),
        ("activation", {"on": "2025-06-01", "reason": "mood"}, 422, "/reason"),
    ],
)
async def test_what_is_refused_says_where(
    story: Story, what: str, body: dict[str, Any], status: int, pointer: str
) -> None:
    async with story.client() as client:
        subscription = await a_basic(story, client)
        answer = await asked(client, subscription, what, **body)
    assert answer.status_code == status, answer.text
    assert not pointer or pointer in pointers(answer)
    assert await story.types(subscription["id"]) == ["subscription.started"]
