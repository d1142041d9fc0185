"""What a preview is refused with: the errors of what it asks for, with their places in its own body."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.subscriptions.changing import a_basic, hear_of_plans, move
from tests.integration.subscriptions.story import Story, key, pointers

NOWHERE = "cus_00000000000000000000000009"


@pytest.mark.parametrize(
    ("asked", "status", "code", "pointer"),
    [
        (
            {"change": {"when": "now", "quantities": {"none": "1"}}},
            404,
            "subscription_item_not_found",
            "/change/quantities/none",
        ),
        (
            {"change": {"when": "now", "quantities": {"seats": 1}}},
            422,
            "invalid_body",
            "/change/quantities/seats",
        ),
        ({"change": {"when": "now", "payer_id": NOWHERE}}, 404, "customer_not_found", "/change/payer_id"),
        (
            {"change": {"when": {"on": "2025-05-01"}, "zone": "UTC"}},
            422,
            "change_too_early",
            "/change/when/on",
        ),
        ({"pause": {"on": "2025-05-01"}}, 422, "change_too_early", "/pause/on"),
        (
            {"cancellation": {"at": "2025-05-01T00:00:00Z"}},
            422,
            "cancellation_in_the_past",
            "/cancellation/at",
        ),
        ({"resumption": {}}, 409, "not_paused", None),
        ({"activation": {"on": "2025-06-01", "reason": "delivery"}}, 409, "transition_not_allowed", None),
        ({"pause": {}, "resumption": {}}, 422, "invalid_body", ""),
        ({"pause": {}, "show": "everything"}, 422, "invalid_body", "/show"),
    ],
)
async def test_it_is_refused_as_the_thing_itself_is(
    story: Story, asked: dict[str, Any], status: int, code: str, pointer: str | None
) -> None:
    await hear_of_plans(story)
    async with story.client() as client:
        made = await a_basic(story, client)
        answer = await client.post(f"/v1/subscriptions/{made['id']}/previews", json=asked)
        after = (await client.get(f"/v1/subscriptions/{made['id']}")).json()
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    if pointer is None:
        assert "errors" not in answer.json()
    else:
        assert pointers(answer) == [pointer]
    assert after == made


@pytest.mark.parametrize(
    ("changes", "status", "pointer"),
    [
        ({"customer_id": NOWHERE}, 404, "/subscription/customer_id"),
        ({"zone": "Mars/Olympus"}, 422, "/subscription/zone"),
        ({"ends_on": "2025-01-01", "starts_on": "2025-01-02"}, 422, "/subscription/ends_on"),
        ({"quantities": {"none": "1"}}, 422, "/subscription/quantities/none"),
    ],
)
async def test_a_beginning_is_refused_as_it_would_be(
    story: Story, changes: dict[str, Any], status: int, pointer: str
) -> None:
    await hear_of_plans(story)
    async with story.client() as client:
        customer = await story.customer(client)
        body = {"customer_id": customer["id"], "plan": "basic", **changes}
        answer = await client.post("/v1/subscription-previews", json={"subscription": body})
    assert (answer.status_code, pointers(answer)) == (status, [pointer]), answer.text


async def test_where_no_invoice_will_come_by_itself_it_says_what_can_be_asked_for(story: Story) -> None:
    await hear_of_plans(story)
    async with story.client() as client:
        waiting = await a_basic(story, client, billing_starts="delivery", starts_on=None)
        over = await a_basic(story, client)
        path = f"/v1/subscriptions/{over['id']}"
        await client.post(f"{path}/cancellation", json={"at_period_end": False}, headers=key())
        await move(story, over, "2025-06-02T12:00:00+00:00")
        assert (await client.get(path)).json()["status"] == "ended"
        answers = [
            await client.post(f"/v1/subscriptions/{waiting['id']}/previews", json={}),
            await client.post(f"{path}/previews", json={}),
        ]
        changed = await client.post(f"{path}/previews", json={"change": {"when": "now", "zone": "UTC"}})
    told = [(answer.json()["code"], answer.json()["facts"]["moves"]) for answer in answers]
    assert told == [
        ("nothing_to_preview", ["activate", "change", "cancel"]),
        ("nothing_to_preview", ["win back"]),
    ]
    assert [answer.status_code for answer in answers] == [409, 409]
    assert (changed.status_code, changed.json()["code"]) == (409, "subscription_over")
