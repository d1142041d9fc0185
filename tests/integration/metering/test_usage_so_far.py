"""What a usage window would say if it closed now: what it says when it closes, by then."""

from __future__ import annotations

from typing import Any

from libs.common.contracts.metering import UsageTotalV1, UsageWindowClosedV1
from tests.integration.metering.harness import Metering, Story, flight, utc

PATH = "/v1/usage-so-far"


def totals(window: dict[str, Any]) -> list[UsageTotalV1]:
    found = [UsageTotalV1.model_validate(total) for total in window["totals"]]
    return sorted(found, key=lambda total: (total.item_id, total.price_id or ""))


async def test_it_is_what_the_window_says_when_it_closes(metering: Metering, story: Story) -> None:
    """Of an item that changed its price, one total for each price; and of one that did not, one."""
    await metering.define()
    await metering.hear(story.started(), story.bound())
    [window] = (await metering.get(PATH, subscription_id=story.subscription_id))["data"]
    assert (window["period_index"], [total.quantity for total in totals(window)]) == (0, [0])
    await metering.send(flight("a", "2025-01-02T00:00:00Z", 5), flight("b", "2025-01-20T00:00:00Z", 7))
    change = utc("2025-01-10")
    terms = story.terms(
        story.period(0),
        story.segment(utc("2025-01-01"), change),
        story.segment(change, utc("2025-02-01"), price=story.price("prc_2")),
    )
    await metering.hear(story.changed(change, terms))
    told = await metering.get(PATH, subscription_id=story.subscription_id)
    [window] = told["data"]
    assert [(t.price_id, t.quantity) for t in totals(window)] == [("prc_1", 5), ("prc_2", 7)]
    assert told["position"]["snapshot"]
    assert told["as_of"] > "2025"
    assert (window["window_start"], window["window_end"]) == ("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z")
    await metering.hear(story.renewed(1))
    [following] = (await metering.get(PATH, subscription_id=story.subscription_id))["data"]
    assert following["period_index"] == 1
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    assert (closed["window_id"], totals(closed)) == (window["window_id"], totals(window))


async def test_nobody_has_a_window_of_what_was_never_told_of(metering: Metering, story: Story) -> None:
    assert (await metering.get(PATH, subscription_id=story.subscription_id))["data"] == []
    await metering.get(PATH, status=422)
