"""Usage alerts: each mark once in each period, soon, and never twice whoever races or begins anew."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

import pytest

from libs.common.clock import SystemClock
from libs.common.contracts.metering import UsageThresholdReachedV1
from services.metering.adapters.usage_alerts import look_at_all
from services.metering.application.fire_usage_alerts import FireUsageAlerts, fire_usage_alerts
from services.metering.entrypoints.scheduler import AlertWatching
from tests.integration.metering.harness import READ, Metering, Story, client_of, flight, fresh, ids_of
from tests.integration.metering.topic_harness import TopicMetering
from tests.support.small_service import eventually

AT = "2025-01-05T00:00:00Z"
BOUND_S = 3.0  # what is promised is a second; a machine that is busy with other tests gets three


async def alert(metering: Metering, story: Story, *quantities: int, **fields: Any) -> dict[str, Any]:
    body = {
        "subscription_id": story.subscription_id,
        "meter": story.meter,
        "marks": [{"quantity": str(quantity)} for quantity in quantities],
        **fields,
    }
    answer = await metering.client.post("/v1/usage-alerts", json=body)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def fired(metering: Metering) -> list[tuple[int, str, str]]:
    """(period, threshold, quantity) of all that was told, in order."""
    said = await metering.said(UsageThresholdReachedV1)
    return [(e["period_index"], e["threshold"], e["quantity"]) for e in said]


async def fired_count(metering: Metering) -> int:
    return len(await fired(metering))


async def begin(metering: Metering, story: Story, **fields: Any) -> None:
    await metering.define(**fields)
    await metering.hear(story.started(), story.bound())


async def test_an_alert_fires_within_a_second_of_the_usage_being_stored(
    metering: Metering, story: Story
) -> None:
    await begin(metering, story)
    made = await alert(metering, story, 5, 10, name="Nearly there")
    taken = []
    for place, minutes in enumerate(
        (5, 5)
    ):  # the first finds nobody who knows of alerts, the second somebody
        await metering.send(flight(str(place), AT, minutes))
        acknowledged = perf_counter()
        while await fired_count(metering) <= place:
            assert perf_counter() - acknowledged < BOUND_S
            await asyncio.sleep(0.01)
        taken.append(round(perf_counter() - acknowledged, 3))
    print(f"an alert fired {taken[0]} s after its usage was acknowledged, the next one {taken[1]} s")
    [first, second] = await metering.said(UsageThresholdReachedV1)
    assert first["alert_id"] == second["alert_id"] == made["id"]
    assert (first["subscription_id"], first["customer_id"]) == (story.subscription_id, story.customer_id)
    assert (first["item_id"], first["meter"]) == (story.item_id, "minutes")
    assert (first["period_start"], first["period_end"]) == ("2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z")
    assert await fired(metering) == [(0, "5", "5"), (0, "10", "10")]
    firings = (await metering.get(f"/v1/usage-alerts/{made['id']}/firings"))["data"]
    assert [(f["mark"]["quantity"], f["quantity"], f["item_id"]) for f in firings] == [
        ("5", "5", story.item_id),
        ("10", "10", story.item_id),
    ]


async def test_usage_that_jumps_over_marks_fires_each_in_order(metering: Metering, story: Story) -> None:
    await begin(metering, story)
    made = await alert(
        metering, story, limit="10", marks=[{"percent": "100"}, {"percent": "75"}, {"quantity": "1"}]
    )
    assert [(mark["quantity"], mark["percent"]) for mark in made["marks"]] == [
        ("1", None),
        ("7.5", "75"),
        ("10", "100"),
    ]
    await metering.send(flight("a", AT, 12))
    await eventually(lambda: fired_count(metering), 3)
    assert await fired(metering) == [(0, "1", "12"), (0, "7.5", "12"), (0, "10", "12")]
    told = await metering.said(UsageThresholdReachedV1)
    assert [(e.get("percent"), e["limit"]) for e in told] == [(None, "10"), ("75", "10"), ("100", "10")]


async def test_an_alert_made_when_its_mark_is_passed_fires_at_once(metering: Metering, story: Story) -> None:
    await begin(metering, story)
    await metering.send(flight("a", AT, 7))
    await alert(metering, story, 7, 8)
    assert await fired(metering) == [(0, "7", "7")]


async def test_a_mark_fires_once_in_a_period_and_again_in_the_next(metering: Metering, story: Story) -> None:
    await begin(metering, story, aggregation="latest")
    await alert(metering, story, 10)
    await metering.send(flight("up", "2025-01-05T00:00:00Z", 10))
    await eventually(lambda: fired_count(metering), 1)
    await metering.send(flight("down", "2025-01-06T00:00:00Z", 1))
    await metering.send(flight("up again", "2025-01-07T00:00:00Z", 50))
    await metering.hear(story.renewed(1))
    await metering.send(flight("late", "2025-01-08T00:00:00Z", 60))
    await metering.send(flight("new", "2025-02-08T00:00:00Z", 70))
    await eventually(lambda: fired_count(metering), 2)
    await asyncio.sleep(0.6)
    assert await fired(metering) == [(0, "10", "10"), (1, "10", "70")]


async def test_whoever_races_or_begins_anew_fires_nothing_twice(metering: Metering, story: Story) -> None:
    await begin(metering, story)
    made = await alert(metering, story, *range(1, 11))
    await metering.send(flight("a", AT, 10))

    async def look() -> None:
        async with metering.units.open(metering.tenant, "test") as uow:
            alerts = await uow.alerts.load([made["id"]])
            await fire_usage_alerts(FireUsageAlerts(alerts), uow=uow, clock=SystemClock())

    await look_at_all(metering.service.parts.api_database)
    watches = [AlertWatching(metering.units, SystemClock()) for _ in range(3)]
    await asyncio.gather(*(look() for _ in range(4)), *(watch.run_once() for watch in watches))
    await asyncio.sleep(0.7)
    assert await fired(metering) == [(0, str(mark), "10") for mark in range(1, 11)]


async def test_a_process_that_begins_finds_what_the_last_one_left(metering: Metering, story: Story) -> None:
    await begin(metering, story)
    made = await alert(metering, story, 5)
    await metering.send(flight("a", AT, 5))
    await eventually(lambda: fired_count(metering), 1)
    async with metering.admin() as admin:  # as if nobody had looked
        await admin.execute("DELETE FROM usage_alert_firing WHERE alert_id = $1", made["id"])
        await admin.execute("DELETE FROM outbox WHERE tenant = $1", metering.tenant)
    await AlertWatching(metering.units, SystemClock()).run_once()
    assert await fired(metering) == []
    await look_at_all(metering.service.parts.api_database)
    async with metering.admin() as admin:  # the wait of those many that begin together is over
        await admin.execute("UPDATE usage_alert SET due_at = now() WHERE due_at IS NOT NULL")
    await AlertWatching(metering.units, SystemClock()).run_once()
    assert await fired(metering) == [(0, "5", "5")]


async def test_a_binding_and_a_meter_that_come_later_fire_what_they_bring(
    metering: Metering, story: Story
) -> None:
    await metering.send(flight("a", AT, 5), flight("b", AT, 7, "N2"))
    await metering.hear(story.started(), story.bound())
    await alert(metering, story, 5, 12)
    assert await fired(metering) == []
    await metering.define()
    await AlertWatching(metering.units, SystemClock()).run_once()
    assert await fired(metering) == [(0, "5", "5")]
    await metering.hear(story.bound("N2"))
    await AlertWatching(metering.units, SystemClock()).run_once()
    assert await fired(metering) == [(0, "5", "5"), (0, "12", "12")]


async def test_a_test_clock_is_told_of_by_its_own_time(metering: Metering) -> None:
    story = Story(metering.tenant, clock="clk_a" + metering.tenant)
    await metering.define()
    await metering.hear(story.clock_moved("2025-01-02T00:00:00", 1), story.started(), story.bound())
    await alert(metering, story, 5)
    await metering.send(flight("a", "2025-01-01T12:00:00Z", 5))
    await eventually(lambda: fired_count(metering), 1)
    async with metering.admin() as admin:
        told = await admin.fetchrow(
            "SELECT test_clock, occurred_at FROM outbox WHERE tenant = $1 AND type = $2",
            metering.tenant,
            UsageThresholdReachedV1.TYPE,
        )
    assert told is not None
    assert (told["test_clock"], told["occurred_at"].isoformat()) == (story.clock, "2025-01-02T00:00:00+00:00")


async def test_usage_through_the_topic_fires_too(through_topic: TopicMetering) -> None:
    story = Story(through_topic.tenant)
    await begin(through_topic, story)
    await alert(through_topic, story, 5)
    await through_topic.send(flight("a", AT, 5))
    await through_topic.store_all()
    await eventually(lambda: fired_count(through_topic), 1)


async def test_an_alert_is_about_all_items_of_the_subscription_on_its_meter(
    metering: Metering, story: Story
) -> None:
    """Sums are added up over the items, and neither says it alone; of what cannot be added up the greatest counts."""
    second = "si_second"
    period = story.period(0)
    segments = [story.segment(period.start, period.end, item_id=item) for item in (story.item_id, second)]
    other = story.bound("N2")
    other = other.model_copy(update={"binding": other.binding.model_copy(update={"item_id": second})})
    await metering.define()
    terms = story.terms(period, *segments)
    await metering.hear(story.started(), story.bound(), other, story.changed(period.start, terms))
    made = await alert(metering, story, 10)
    await metering.send(flight("a", AT, 6), flight("b", AT, 3, subject="N2"))
    await asyncio.sleep(0.6)
    assert await fired(metering) == []
    await metering.send(flight("c", AT, 1, subject="N2"))
    await eventually(lambda: fired_count(metering), 1)
    assert await fired(metering) == [(0, "10", "10")]
    [firing] = (await metering.get(f"/v1/usage-alerts/{made['id']}/firings"))["data"]
    assert (firing["quantity"], firing["item_id"]) == ("10", story.item_id)  # that used most


async def test_an_alert_about_an_item_does_not_hear_of_others(metering: Metering, story: Story) -> None:
    other = Story(metering.tenant)
    await begin(metering, story)
    await metering.hear(other.started(), other.bound("N2"))
    await alert(metering, story, 5, subscription_id=None, item_id=story.item_id)
    await metering.send(flight("a", AT, 50, "N2"))
    await metering.send(flight("b", AT, 4))
    await asyncio.sleep(0.7)
    assert await fired(metering) == []
    await metering.send(flight("c", AT, 1))
    await eventually(lambda: fired_count(metering), 1)


async def test_alerts_are_shown_listed_and_taken_away(metering: Metering, story: Story) -> None:
    await begin(metering, story)
    made = await alert(metering, story, 5)
    path = f"/v1/usage-alerts/{made['id']}"
    assert await metering.get(path) == made
    listed = await metering.get("/v1/usage-alerts", subscription_id=story.subscription_id, meter="minutes")
    assert ids_of(listed) == [made["id"]]
    assert ids_of(await metering.get("/v1/usage-alerts", item_id=story.item_id)) == []
    assert (await metering.client.delete(path)).status_code == 428
    assert (await metering.client.delete(path, headers={"if-match": '"7"'})).status_code == 412
    await metering.send(flight("a", AT, 5))
    await eventually(lambda: fired_count(metering), 1)
    assert (await metering.client.delete(path, headers={"if-match": '"1"'})).status_code == 204
    await metering.get(path, status=404)
    await metering.get(f"{path}/firings", status=404)
    assert await metering.count("usage_alert_firing") == 0


async def test_a_customer_reads_his_own(metering: Metering, story: Story) -> None:
    await begin(metering, story)
    made = await alert(metering, story, 5)
    async with client_of(metering, READ, customer=story.customer_id) as mine:
        assert ids_of((await mine.get("/v1/usage-alerts")).json()) == [made["id"]]
        assert (await mine.get(f"/v1/usage-alerts/{made['id']}/firings")).status_code == 200
    async with client_of(metering, READ, customer="cus_other") as others:
        assert ids_of((await others.get("/v1/usage-alerts")).json()) == []
        assert (await others.get(f"/v1/usage-alerts/{made['id']}")).status_code == 404
        assert (await others.get(f"/v1/usage-alerts/{made['id']}/firings")).status_code == 404


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"marks": []}, 422, "invalid_body"),
        ({"marks": [{}]}, 422, "invalid_body"),
        ({"marks": [{"quantity": "1", "percent": "1"}]}, 422, "invalid_body"),
        ({"marks": [{"quantity": "-1"}]}, 422, "invalid_body"),
        ({"marks": [{"percent": "80"}]}, 422, "invalid_usage_alert"),
        ({"marks": [{"quantity": "1"}, {"quantity": "1.0"}]}, 422, "invalid_usage_alert"),
        ({"marks": [{"quantity": "0"}]}, 422, "invalid_usage_alert"),
        ({"item_id": "si_1"}, 422, "invalid_body"),
        ({"subscription_id": None}, 422, "invalid_body"),
    ],
)
async def test_what_is_no_alert_is_refused(
    metering: Metering, story: Story, changes: dict[str, Any], status: int, code: str
) -> None:
    await begin(metering, story)
    body = {
        "subscription_id": story.subscription_id,
        "meter": "minutes",
        "marks": [{"quantity": "1"}],
        **changes,
    }
    answer = await metering.client.post("/v1/usage-alerts", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_an_idempotency_key_makes_one_alert(metering: Metering, story: Story) -> None:
    await begin(metering, story)
    headers = {"idempotency-key": fresh()}
    body = {"subscription_id": story.subscription_id, "meter": "minutes", "marks": [{"quantity": "1"}]}
    answers = [await metering.client.post("/v1/usage-alerts", json=body, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert await metering.count("usage_alert") == 1
