"""Previews of usage windows: what would be said, by the very handlers, and nothing of it stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio

from libs.common.contracts.envelope import Event
from libs.common.contracts.metering import UsageWindowClosedV1
from services.metering.bootstrap import build
from tests.integration.metering.harness import BusAsKnown, Metering, Story, client_of, flight, utc
from tests.integration.metering.test_readings import WASHES, closed, define, reading, take, told_of, used
from tests.support.postgres import PostgresForTests
from tests.support.service_under_test import ServiceUnderTest, new_tenant, service_under_test

PATH = "/v1/usage-window-previews"
TABLES = (
    "usage_window", "metered_item", "metered_subscription", "late_usage", "outbox", "usage_balance", "meter_reading",
    "reading_consumption", "reading_exception", "usage_event",
)  # fmt: skip


@pytest_asyncio.fixture(scope="module")
async def preview_service(
    postgres: PostgresForTests, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[ServiceUnderTest]:
    folder = tmp_path_factory.mktemp("previews")
    async with service_under_test(postgres, "metering", build, folder=folder, bus=BusAsKnown()) as service:
        yield service


@pytest_asyncio.fixture
async def metering(preview_service: ServiceUnderTest) -> AsyncIterator[Metering]:
    metering = Metering(preview_service, new_tenant())
    async with metering.client:
        yield metering


@pytest.fixture
def story(metering: Metering) -> Story:
    return Story(metering.tenant)


def supposed(*events: Event) -> dict[str, Any]:
    return {"events": [{"type": e.TYPE, "data": e.model_dump(mode="json")} for e in events]}


async def preview(metering: Metering, *events: Event) -> dict[str, Any]:
    answer = await metering.client.post(PATH, json=supposed(*events))
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def everything(metering: Metering) -> dict[str, int]:
    return {table: await metering.count(table) for table in TABLES}


async def test_a_preview_is_what_is_said_later_and_changes_nothing(metering: Metering, story: Story) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound())
    await metering.send(flight("a", "2025-01-05T00:00:00Z", 5), flight("b", "2025-01-20T00:00:00Z", 7))
    before = await everything(metering)
    change = utc("2025-01-10")
    terms = story.terms(
        story.period(0),
        story.segment(story.period(0).start, change),
        story.segment(change, story.period(0).end, price=story.price("prc_2")),
    )
    events = [story.changed(change, terms), story.renewed(1)]
    told = await preview(metering, *events)
    assert (told["usage_records_waiting"], told["events_waiting"]) == (0, 0)
    assert datetime.fromisoformat(told["as_of"]).tzinfo is not None
    assert await everything(metering) == before
    await metering.hear(*events)
    await metering.tick()
    [closed] = await metering.said(UsageWindowClosedV1)
    [previewed] = told["events"]
    assert previewed["type"] == UsageWindowClosedV1.TYPE
    as_told = UsageWindowClosedV1.model_validate(previewed["data"])
    as_said = UsageWindowClosedV1.model_validate(closed)
    assert as_told.model_copy(update={"occurred_at": as_said.occurred_at}) == as_said
    assert [(t.price_id, t.quantity) for t in as_told.totals] == [("prc_1", 5), ("prc_2", 7)]


async def test_a_subscription_that_is_not_there_yet_can_be_previewed(
    metering: Metering, story: Story
) -> None:
    told = await preview(metering, story.started(), story.renewed(1))
    [previewed] = told["events"]
    assert [total["quantity"] for total in previewed["data"]["totals"]] == ["0"]
    assert await metering.count("usage_window") == 0


async def test_a_period_that_is_cut_is_estimated_for_its_part_as_its_preview_says(metering: Metering) -> None:
    """Also where only a part of a period was read before: a week of January with 7 is a month with 31."""
    story = Story(metering.tenant, meter="light")
    await define(metering, WASHES)
    begun, renewed, ended = story.started(), story.renewed(1), story.ended(1, utc("2025-02-15"))
    whole = {"full_start": utc("2025-01-01"), "full_start_on": utc("2025-01-01").date()}
    whole |= {"full_end": utc("2025-02-01"), "full_end_on": utc("2025-02-01").date()}
    stub = story.period(0).model_copy(
        update={"start": utc("2025-01-25"), "start_on": utc("2025-01-25").date(), **whole}
    )
    february = story.period(1)
    rest = {"full_start": february.start, "full_start_on": february.start_on}
    rest |= {"full_end": february.end, "full_end_on": february.end_on}
    assert ended.ended is not None
    begun = begun.model_copy(update={"period": stub})
    renewed = renewed.model_copy(update={"ended": stub})
    ended = ended.model_copy(update={"ended": ended.ended.model_copy(update=rest)})
    await metering.hear(begun, story.bound("T2"), renewed)
    await take(metering, reading("2025-01-25", 0), reading("2025-02-01", 7))
    before = await everything(metering)
    [previewed] = (await preview(metering, ended))["events"]
    assert await everything(metering) == before
    assert await used(metering) == ["7"]
    await metering.hear(ended)
    await metering.tick()
    # 31 for 28 days, hence 15.5 for 14
    assert told_of(await closed(metering, "2025-02-01")) == ("16", "16", 0)
    assert [told_of(total) for total in previewed["data"]["totals"]] == [("16", "16", 0)]


async def test_events_that_end_no_period_say_nothing(metering: Metering, story: Story) -> None:
    await metering.hear(story.started())
    assert (await preview(metering, story.changed(utc("2025-01-10"))))["events"] == []


async def test_a_change_in_the_past_says_what_would_correct_a_closed_window(
    metering: Metering, story: Story
) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound(), story.renewed(1))
    await metering.send(flight("a", "2025-01-05T00:00:00Z", 5))
    await metering.tick()
    terms = story.terms(story.period(0), is_over=True)
    told = await preview(metering, story.changed(utc("2025-02-05"), terms))
    [corrected] = told["events"]
    assert corrected["type"] == "perennial.metering.usage.corrected.v1"
    assert (corrected["data"]["totals"], corrected["data"]["before"][0]["quantity"]) == ([], "5")


async def test_whatever_is_waited_for_is_told(metering: Metering, story: Story) -> None:
    bus = metering.service.parts.platform.bus
    bus.ends, bus.handled = {0: 7, 1: 3}, {0: 5}
    try:
        assert (await preview(metering, story.started()))["events_waiting"] == 5
    finally:
        bus.ends, bus.handled = {0: 0}, {0: 0}


def _faults(answer: Any) -> list[tuple[str, str]]:
    assert answer.status_code == 422, answer.text
    return [(error["pointer"], error["detail"]) for error in answer.json()["errors"]]


async def test_all_that_is_wrong_with_the_events_is_told(metering: Metering, story: Story) -> None:
    body = supposed(story.started(), story.renewed(1), story.changed(utc("2025-01-10")))
    body["events"][0]["data"]["subscription"]["zone"] = 5
    body["events"][1]["data"]["ended"]["start"] = "9999-12-31T23:59:59Z"
    body["events"][2]["type"] = "perennial.subscriptions.subject.bound.v1"
    answer = await metering.client.post(PATH, json=body)
    assert answer.json()["code"] == "usage_window_preview_invalid"
    assert _faults(answer) == [
        ("/events/0/data/subscription/zone", "must be a string"),
        ("/events/1/data/ended/start", "must lie between the years 1900 and 2200"),
        ("/events/2/type", "is no event of an agreement"),
    ]


@pytest.mark.parametrize("count", [0, 201])
async def test_a_preview_has_one_to_two_hundred_events(metering: Metering, count: int) -> None:
    answer = await metering.client.post(PATH, json={"events": [{"type": "x", "data": {}}] * count})
    assert _faults(answer)[0][0] == "/events"


async def test_another_tenants_agreement_cannot_be_previewed(metering: Metering) -> None:
    other = Metering(metering.service, new_tenant())
    theirs = Story(other.tenant)
    async with other.client:
        await other.define()
        await other.hear(theirs.started(), theirs.bound())
        await other.send(flight("a", "2025-01-05T00:00:00Z", 5))
    [previewed] = (await preview(metering, theirs.renewed(1)))["events"]
    assert previewed["data"]["tenant"] == metering.tenant
    assert [total["quantity"] for total in previewed["data"]["totals"]] == ["0"]


async def test_who_may_preview(metering: Metering, story: Story) -> None:
    body = supposed(story.started())
    async with (
        client_of(metering, "usage:write") as writer,
        client_of(metering, "usage:read", customer="cus_1") as portal,
    ):
        assert (await writer.post(PATH, json=body)).json()["code"] == "scope_missing"
        assert (await portal.post(PATH, json=body)).json()["code"] == "portal_forbidden"
