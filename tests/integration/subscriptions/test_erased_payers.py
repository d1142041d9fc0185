"""Whoever is to pay from a later day on may be erased before that: the change fails, and the subscription goes on."""

from __future__ import annotations

from tests.integration.subscriptions.changing import a_basic, changed, hear_of_plans, move, quantities
from tests.integration.subscriptions.story import Story, key


async def test_a_change_to_a_payer_who_was_erased_meanwhile_fails_and_nothing_else_does(story: Story) -> None:
    await hear_of_plans(story)
    async with story.client() as client:
        made = await a_basic(story, client)
        payer = await story.customer(client, name="Somebody else")
        later = await changed(client, made, when="period_end", payer_id=payer["id"])
        other = await changed(client, made, when="period_end", quantities={"seats": "4"})
        assert (later.status_code, other.status_code) == (201, 201), later.text
        erased = await client.post(f"/v1/customers/{payer['id']}/erasure", headers=key())
        assert erased.status_code == 200, erased.text
        await move(story, made, "2025-06-30T04:00:00+00:00")
        failed = (await client.get(later.headers["location"])).json()
        applied = (await client.get(other.headers["location"])).json()
        shown = (await client.get(f"/v1/subscriptions/{made['id']}")).json()
    assert (failed["status"], failed["reason"]["code"]) == ("failed", "customer_erased")
    assert applied["status"] == "applied"
    assert (shown["payer_id"], quantities(shown)["seats"]) == (None, "4")
    assert (shown["status"], shown["current_period"]["index"]) == ("active", 1)
