"""Counters: what they showed becomes usage, whatever was exchanged, wrapped, missed, or came late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.contracts.metering import MeterReadingHeldV1, UsageCorrectedV1, UsageWindowClosedV1
from services.metering.adapters.audit import audit_metering
from tests.integration.metering.harness import (
    Metering,
    Story,
    audited,
    client_of,
    codes,
    fresh,
    statuses,
    utc,
)

COUNTER = {"register_digits": 6}
WASHES = {"estimate": {"periods": 3, "in_a_row": 2}}


async def define(
    metering: Metering, counter: Mapping[str, Any] = COUNTER, code: str = "light"
) -> dict[str, Any]:
    answer = await metering.client.post(
        "/v1/meters", json={"code": code, "counter": counter, "unit": "klm·h"}
    )
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


def reading(at: str, value: int | str | None, **more: Any) -> dict[str, Any]:
    told = {"meter": "light", "subject": "T2", "read_at": f"{at}T00:00:00Z", **more}
    return told if value is None else {**told, "value": str(value)}


def exchange(at: str, *, old_end: int, new_start: int, device: str, **more: Any) -> dict[str, Any]:
    told = {"kind": "exchange", "old_end": str(old_end), "new_start": str(new_start), "device": device}
    return reading(at, None, **told, **more)


async def take(metering: Metering, *readings: Mapping[str, Any], status: int = 200) -> dict[str, Any]:
    answer = await metering.client.post("/v1/meter-readings", json=list(readings), timeout=60)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def post(metering: Metering, path: str, body: Mapping[str, Any], status: int) -> dict[str, Any]:
    answer = await metering.client.post(path, json=body)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def used(metering: Metering) -> list[str]:
    told = await metering.get("/v1/reading-consumptions", meter="light", subject="T2")
    return [one["quantity"] for one in told["data"]]


def told_of(total: Mapping[str, Any]) -> tuple[str, str, int]:
    """Quantity, how much of it is estimated, and how many true-ups; what is zero is left out of events."""
    return total["quantity"], total.get("estimated_quantity", "0"), len(total.get("true_ups", ()))


async def closed(metering: Metering, start: str) -> dict[str, Any]:
    """The only total of the window that began then."""
    found = await metering.said(UsageWindowClosedV1)
    [window] = [window for window in found if window["window_start"] == f"{start}T00:00:00Z"]
    [total] = window["totals"]
    return dict(total)


async def usage(metering: Metering) -> list[tuple[str, int]]:
    return await metering.usage(meter="light", subject="T2")


async def the_exception(metering: Metering, **wanted: str) -> dict[str, Any]:
    [found] = (await metering.get("/v1/reading-exceptions", **wanted))["data"]
    return dict(found)


async def test_light_delivered_in_march_through_a_wrap_and_an_exchange(metering: Metering) -> None:
    story = Story(metering.tenant, meter="light")
    await define(metering)
    await metering.hear(story.started(), story.bound("T2"), story.renewed(1), story.renewed(2))
    told = await take(
        metering,
        reading("2025-03-01", 981_250, device="A"),
        exchange("2025-03-14", old_end=27_750, new_start=12, device="B"),
        reading("2025-04-01", 38_512, device="B"),
    )
    assert statuses(told) == ["accepted"] * 3
    assert await used(metering) == ["46500", "38500"]
    await metering.hear(story.renewed(3))
    await metering.tick()
    total = await closed(metering, "2025-03-01")
    assert (told_of(total), total["event_count"]) == (("85000", "0", 0), 2)


async def test_washes_estimated_in_may_and_trued_up_in_june(metering: Metering) -> None:
    story = Story(metering.tenant, meter="light")
    await define(metering, WASHES)
    await metering.hear(story.started(), story.bound("T2"), *(story.renewed(n) for n in range(1, 5)))
    await take(
        metering,
        reading("2025-02-01", 1_156),
        reading("2025-03-01", 1_172),
        reading("2025-04-01", 1_186),
        reading("2025-05-01", 1_204),
    )
    await metering.hear(story.renewed(5))
    await metering.tick()
    total = await closed(metering, "2025-05-01")
    assert told_of(total) == ("16", "16", 0)
    [estimate] = (await metering.get("/v1/meter-readings", **{"from": "2025-06-01T00:00:00Z"}))["data"]
    assert (estimate["value"], estimate["quality"]) == ("1220", "estimated")
    assert estimate["reason"].endswith("18, 14, 16")

    await take(metering, reading("2025-07-01", 1_229))
    await metering.hear(story.renewed(6))
    await metering.tick()
    total = await closed(metering, "2025-06-01")
    assert told_of(total) == ("9", "0", 1)
    assert total["true_ups"] == [
        {
            "subject": "T2",
            "start": "2025-05-01T00:00:00Z",
            "end": "2025-07-01T00:00:00Z",
            "actual_quantity": "25",
            "estimated_quantity": "16",
        }
    ]
    assert await metering.said(UsageCorrectedV1) == []
    shown = (await metering.get("/v1/usage-windows", state="closed"))["data"]
    told = [true_up for window in shown for true_up in window["totals"][0]["true_ups"]]
    assert [(one["actual_quantity"], one["estimated_quantity"]) for one in told] == [("25", "16")]


async def test_a_reading_that_comes_late_for_an_estimated_month_corrects_it(metering: Metering) -> None:
    story = Story(metering.tenant, meter="light")
    await define(metering, {**WASHES, **COUNTER})
    await metering.hear(story.started(), story.bound("T2"), story.renewed(1))
    await take(metering, reading("2025-01-01", 100), reading("2025-02-01", 130))
    await metering.hear(story.renewed(2))
    await metering.tick()
    assert await used(metering) == ["30", "30"]
    await take(metering, reading("2025-02-20", 150), reading("2025-03-01", 162))
    await metering.tick()
    corrected = (await metering.said(UsageCorrectedV1))[-1]
    [before], [now] = corrected["before"], corrected["totals"]
    assert (told_of(before), told_of(now)) == (("30", "30", 0), ("32", "0", 0))
    assert {event["cause"] for event in corrected["events"]} == {"voided", "late"}
    assert await used(metering) == ["30", "20", "12"]
    [estimate] = (await metering.get("/v1/meter-readings", state="replaced"))["data"]
    assert estimate["quality"] == "estimated"


async def test_estimates_go_on_for_as_long_as_they_may_and_then_a_reading_is_asked_for(
    metering: Metering,
) -> None:
    story = Story(metering.tenant, meter="light")
    await define(metering, {"estimate": {"periods": 3, "in_a_row": 2}})
    await metering.hear(story.started(), story.bound("T2"))
    await take(metering, reading("2025-01-01", 0), reading("2025-02-01", 31))
    await metering.hear(*(story.renewed(n) for n in range(1, 6)))
    await metering.tick()
    said = await metering.said(UsageWindowClosedV1)
    assert sorted(window["totals"][0]["quantity"] for window in said) == ["0", "0", "31", "31", "31"]
    needed = (await metering.get("/v1/reading-exceptions", state="open"))["data"]
    assert sorted(one["needed_at"] for one in needed) == ["2025-05-01T00:00:00Z", "2025-06-01T00:00:00Z"]
    assert needed[0]["told"] == "it was estimated 2 times in a row, as often as it may be"
    assert len(await metering.said(MeterReadingHeldV1)) == 2
    await take(metering, reading("2025-05-10", 120))
    found = (await metering.get("/v1/reading-exceptions", state="resolved"))["data"]
    assert [(one["needed_at"], one["resolution"]) for one in found] == [("2025-05-01T00:00:00Z", "read")]
    assert await usage(metering) == [("120", 4)]


async def test_an_estimate_tells_what_the_readings_of_the_month_have_not(metering: Metering) -> None:
    story = Story(metering.tenant, meter="light")
    await define(metering, WASHES)
    await metering.hear(story.started(), story.bound("T2"), story.renewed(1))
    await take(metering, reading("2025-01-01", 0), reading("2025-02-01", 40), reading("2025-02-20", 70))
    await metering.hear(story.renewed(2))
    await metering.tick()
    assert await used(metering) == ["40", "30", "10"]


async def test_a_thing_that_leaves_within_a_period_is_estimated_for_its_part_of_it(
    metering: Metering,
) -> None:
    story = Story(metering.tenant, meter="light")
    await define(metering, WASHES)
    bound = story.bound("T2")
    await metering.hear(story.started(), bound, story.renewed(1))
    await take(metering, reading("2025-01-01", 0), reading("2025-02-01", 40))
    await metering.hear(story.released(bound, "2025-02-08T00:00:00"), story.renewed(2))
    await metering.tick()
    assert await used(metering) == ["40", "10"]
    assert told_of(await closed(metering, "2025-02-01")) == ("10", "10", 0)


async def ended(metering: Metering, counter: Mapping[str, Any], *readings: Mapping[str, Any]) -> None:
    """January was read from end to end; the agreement ended on 15 February, and its last window closes."""
    story = Story(metering.tenant, meter="light")
    await define(metering, counter)
    await metering.hear(story.started(), story.bound("T2"), story.renewed(1))
    await take(metering, *readings)
    await metering.hear(story.ended(1, utc("2025-02-15")))
    await metering.tick()


@pytest.mark.parametrize(
    ("counter", "february", "later", "told"),
    [
        (COUNTER, 100, reading("2025-03-01", 128), ["14", "14"]),
        (WASHES, 100, reading("2025-03-01", 128), ["14", "14"]),
        ({"decimals": 2}, 100, reading("2025-02-18", 101), ["0.82", "0.18"]),
        (COUNTER, 999_990, reading("2025-03-01", 30), ["20", "20"]),
        (COUNTER, 100, exchange("2025-03-01", old_end=128, new_start=5, device="B"), ["14", "14"]),
    ],
)
async def test_what_was_used_until_an_agreement_ended_is_told_apart(
    metering: Metering,
    counter: Mapping[str, Any],
    february: int,
    later: Mapping[str, Any],
    told: list[str],
) -> None:
    await ended(metering, counter, reading("2025-02-01", february), later)
    assert await used(metering) == told
    assert told_of(await closed(metering, "2025-02-01")) == (told[0], told[0], 0)
    assert (await metering.get("/v1/reading-exceptions"))["data"] == []


async def test_a_counter_that_is_read_after_its_last_window_closed_corrects_it(metering: Metering) -> None:
    await ended(metering, COUNTER, reading("2025-02-01", 100))
    needed = await the_exception(metering, kind="reading_needed", state="open")
    assert needed["needed_at"] == "2025-02-15T00:00:00Z"
    assert needed["told"] == "it ceased to count then, and its meter estimates nothing"
    await take(metering, reading("2025-03-01", 128))
    await metering.tick()
    [corrected] = await metering.said(UsageCorrectedV1)
    [total] = corrected["totals"]
    assert (told_of(total), await used(metering)) == (("14", "14", 0), ["14", "14"])
    assert (await the_exception(metering))["resolution"] == "read"
    await take(metering, reading("2025-02-15", 120))
    assert await used(metering) == ["20", "8"]
    assert await audited(metering) == []


async def test_estimates_that_told_too_much_are_taken_back_at_the_end(metering: Metering) -> None:
    story = Story(metering.tenant, meter="light")
    await define(metering, WASHES)
    await metering.hear(story.started(), story.bound("T2"), story.renewed(1))
    await take(metering, reading("2025-01-01", 0), reading("2025-02-01", 31))
    await metering.hear(story.renewed(2))
    await metering.tick()
    await take(metering, reading("2025-03-29", 39))
    await metering.hear(story.ended(2, utc("2025-03-15")))
    await metering.tick()
    assert await used(metering) == ["31", "31", "-25", "2"]
    assert told_of(await closed(metering, "2025-03-01")) == ("-25", "0", 1)


async def test_who_is_bound_next_has_what_comes_after_the_end(metering: Metering) -> None:
    first, second = Story(metering.tenant, meter="light"), Story(metering.tenant, meter="light")
    await define(metering)
    bound = first.bound("T2")
    told = (first.started(), bound, second.started(), first.renewed(1), second.renewed(1))
    await metering.hear(*told, first.released(bound, "2025-02-15T00:00:00"), second.bound("T2", "2025-02-15"))
    await take(metering, reading("2025-02-01", 100), reading("2025-03-01", 128))
    await metering.hear(first.renewed(2), second.renewed(2))
    await metering.tick()
    said = await metering.said(UsageWindowClosedV1)
    totals = [window["totals"][0] for window in said if window["window_start"].startswith("2025-02")]
    assert sorted(told_of(total) for total in totals) == [("14", "0", 1), ("14", "14", 0)]


async def test_a_counter_that_was_never_read_is_asked_for(metering: Metering) -> None:
    story = Story(metering.tenant, meter="light")
    await define(metering, WASHES)
    await metering.hear(story.started(), story.bound("T2"), story.renewed(1))
    await metering.tick()
    needed = await the_exception(metering, kind="reading_needed")
    assert (needed["told"], needed["needed_at"]) == ("the counter was never read", "2025-02-01T00:00:00Z")
    path = f"/v1/reading-exceptions/{needed['id']}/resolution"
    told = await post(metering, path, {"decision": "accept", "reason": "?"}, 409)
    assert told["code"] == "reading_still_needed"
    done = await post(metering, path, {"decision": "discard", "reason": "it is switched off"}, 200)
    assert (done["state"], done["resolution"], done["version"]) == ("resolved", "discard", 2)
    again = await post(metering, path, {"decision": "discard", "reason": "it is switched off"}, 409)
    assert again["code"] == "reading_exception_resolved"


async def test_each_reading_has_its_result_and_counts_once(metering: Metering) -> None:
    await define(metering)
    await metering.define("minutes")
    good = reading("2025-01-01", 10, id="a")
    bad = [
        {**good, "id": "b", "value": "-1", "colour": "red"},
        reading("2025-01-02", 1_000_000),
        reading("2025-01-02", "0.5"),
        reading("2025-01-02", 5, meter="unknown"),
        reading("2025-01-02", 5, meter="minutes"),
        reading("2125-01-02", 5),
        reading("2025-01-02", None),
        reading("2025-01-02", None, kind="exchange", device="B"),
        reading("2025-01-02", 5, old_end="4"),
    ]
    told = await take(metering, good, *bad, good, {**good, "value": "11"})
    assert statuses(told) == ["accepted", *["rejected"] * 9, "duplicate", "conflict"]
    assert [codes(result) for result in told["results"][1:10]] == [
        [("malformed", "/value"), ("malformed", "/colour")],
        [("beyond_register", "/value")],
        [("too_many_decimals", "/value")],
        [("meter_unknown", "/meter")],
        [("not_a_counter", "/meter")],
        [("time_in_future", "/read_at")],
        [("value_missing", "/value")],
        [("value_missing", "/value")],
        [("not_of_this_kind", "/old_end")],
    ]
    again = await take(metering, {**good, "value": "10.0"}, {**good, "value": "11"})
    assert statuses(again) == ["duplicate", "conflict"]
    assert (told["accepted"], told["rejected"], told["duplicate"]) == (1, 9, 1)
    assert await metering.count("meter_reading") == 1
    one = await metering.get(f"/v1/meter-readings/{told['results'][0]['id']}")
    assert (one["value"], one["state"], one["sent_id"]) == ("10", "accepted", "a")


async def test_what_is_implausible_is_kept_aside_and_bills_nothing(metering: Metering) -> None:
    await define(metering, {"register_digits": 6, "rate_max": "10"})
    told = await take(
        metering,
        reading("2025-01-01", 1_000, device="A"),
        reading("2025-01-02", 1_240, device="A"),
        reading("2025-01-03", 900, device="A"),
        reading("2025-01-04", 9_000, device="A"),
        reading("2025-01-05", 50, device="B"),
    )
    assert statuses(told) == ["accepted", "accepted", "held", "held", "held"]
    kinds = [result["reasons"][0]["code"] for result in told["results"][2:]]
    assert kinds == ["backwards", "beyond_rate", "before_exchange"]
    assert await usage(metering) == [("240", 1)]
    said = await metering.said(MeterReadingHeldV1)
    assert [(one["kind"], one["meter"], one["subject"]) for one in said] == [
        (kind, "light", "T2") for kind in kinds
    ]
    assert {one["exception_id"] for one in said} == {r["exception_id"] for r in told["results"][2:]}
    held = (await metering.get("/v1/meter-readings", state="held", meter="light", subject="T2"))["data"]
    assert sorted(one["value"] for one in held) == ["50", "900", "9000"]


async def test_an_exchange_that_is_told_late_lets_in_what_the_new_device_showed(metering: Metering) -> None:
    await define(metering)
    await take(
        metering,
        reading("2025-01-01", 500, device="A"),
        reading("2025-01-20", 90, device="B"),
        reading("2025-01-25", 120, device="B"),
    )
    assert await used(metering) == []
    await take(metering, exchange("2025-01-10", old_end=560, new_start=10, device="B"))
    assert await used(metering) == ["60", "80", "30"]
    found = (await metering.get("/v1/reading-exceptions"))["data"]
    assert [(one["state"], one["resolution"]) for one in found] == [("resolved", "plausible")] * 2


DECISIONS = [
    ("accept", {}, ["-100"]),
    ("wrap", {}, ["999900"]),
    ("exchange", {"old_end": "520", "new_start": "0", "device": "B"}, ["420"]),
    ("reset", {}, ["400"]),
    ("reset", {"old_end": "510"}, ["410"]),
    ("discard", {}, []),
]


@pytest.mark.parametrize(("decision", "explained", "quantities"), DECISIONS)
async def test_a_person_says_what_a_reading_means(
    metering: Metering, decision: str, explained: Mapping[str, str], quantities: list[str]
) -> None:
    await define(metering)
    told = await take(metering, reading("2025-01-01", 500), reading("2025-01-02", 400))
    id = told["results"][1]["exception_id"]
    assert (await metering.get(f"/v1/reading-exceptions/{id}"))["told"].startswith(
        "the counter fell from 500"
    )
    body = {"decision": decision, "reason": "seen on site", **explained}
    done = await post(metering, f"/v1/reading-exceptions/{id}/resolution", body, 200)
    assert (done["resolution"], done["reason"]) == (decision, "seen on site")
    assert done["resolved_by"]
    assert await used(metering) == quantities
    repeated = await take(metering, reading("2025-01-02", 400))
    assert statuses(repeated) == ["duplicate"]


async def test_a_decision_that_lacks_what_it_needs_is_refused(metering: Metering) -> None:
    await define(metering, {})
    told = await take(metering, reading("2025-01-01", 500), reading("2025-01-02", 400))
    path = f"/v1/reading-exceptions/{told['results'][1]['exception_id']}/resolution"
    refused = await post(metering, path, {"decision": "exchange", "reason": "x"}, 422)
    assert [error["pointer"] for error in refused["errors"]] == ["/device", "/old_end"]
    refused = await post(metering, path, {"decision": "wrap", "reason": "x"}, 422)
    assert refused["errors"][0]["pointer"] == "/register_digits"
    taken = {"decision": "wrap", "reason": "x", "register_digits": 3}
    await post(metering, path, taken, 200)
    assert await used(metering) == ["900"]


async def test_a_correction_replaces_a_reading_and_puts_usage_right(metering: Metering) -> None:
    await define(metering)
    told = await take(
        metering,
        reading("2025-01-01", 100),
        reading("2025-01-02", 910),
        reading("2025-01-03", 200),
    )
    assert statuses(told) == ["accepted", "accepted", "held"]
    wrong = told["results"][1]["id"]
    path = f"/v1/meter-readings/{wrong}/corrections"
    refused = await post(metering, path, {"value": "50", "reason": "typing error"}, 422)
    assert refused["code"] == "reading_implausible"
    right = await post(metering, path, {"value": "190", "reason": "typing error"}, 201)
    assert (right["quality"], right["replaces"], right["state"]) == ("corrected", wrong, "accepted")
    assert await used(metering) == ["90", "10"]
    assert await usage(metering) == [("100", 2)]
    gone = await metering.get(f"/v1/meter-readings/{wrong}")
    assert (gone["state"], gone["version"]) == ("replaced", 2)
    again = await post(metering, path, {"value": "190", "reason": "typing error"}, 409)
    assert again["code"] == "meter_reading_gone"
    stale = await metering.client.post(
        f"/v1/meter-readings/{right['id']}/corrections",
        json={"value": "191", "reason": "x"},
        headers={"if-match": '"7"'},
    )
    assert stale.status_code == 412
    back = await post(
        metering, f"/v1/meter-readings/{right['id']}/corrections", {"value": "180", "reason": "x"}, 201
    )
    await post(metering, f"/v1/meter-readings/{back['id']}/corrections", {"value": "190", "reason": "x"}, 201)
    assert await used(metering) == ["90", "10"]
    assert await usage(metering) == [("100", 2)]


async def wrong(metering: Metering) -> set[str]:
    """What the audit finds of this tenant's readings."""
    report = await audit_metering(metering.service.parts.audit_database)
    found = [check for check in report.checks if check.name in ("readings", "readings_held")]
    assert len(found) == 2
    return {check.name for check in found for problem in check.problems if metering.tenant in problem}


async def test_the_audit_compares_readings_with_usage_and_exceptions(metering: Metering) -> None:
    await define(metering)
    await take(metering, reading("2025-01-01", 5), reading("2025-01-02", 9), reading("2025-01-03", 1))
    assert await wrong(metering) == set()
    assert await audited(metering) == []
    tampering = [
        ("reading_consumption SET quantity = quantity", "+ 1", "- 1", {"readings"}),
        ("usage_event SET event_id =", "'z' || event_id", "substr(event_id, 2)", {"readings"}),
        ("meter_reading SET state =", "'held'", "'accepted'", {"readings_held"}),
    ]
    async with metering.admin() as admin:
        for what, done, undone, found in tampering:
            of_us = "WHERE tenant = $1" + (" AND value > 1" if "meter_reading" in what else "")
            await admin.execute(f"UPDATE {what} {done} {of_us}", metering.tenant)
            assert await wrong(metering) == found
            await admin.execute(f"UPDATE {what} {undone} {of_us}", metering.tenant)
    assert await wrong(metering) == set()


async def test_nobody_else_may_send_what_readings_say(metering: Metering) -> None:
    """Neither in the name of readings, nor as usage of a counter under a name of his own."""
    await define(metering)
    event = {"type": "perennial.reading.light", "subject": "T2", "data": {"quantity": "5"}}
    other = {**event, "id": "z", "source": "s", "type": "other"}
    told = await metering.send(
        {**event, "id": "x", "source": "perennial:readings"}, {**event, "id": "y", "source": "s"}, other
    )
    assert statuses(told) == ["rejected", "rejected", "stored"]
    assert codes(told["results"][0]) == [("source_reserved", "/source"), ("type_reserved", "/type")]
    assert codes(told["results"][1]) == [("type_reserved", "/type")]
    amendment = {"event": {**event, "id": "z", "source": "s"}, "reason": "?"}
    told = await post(metering, "/v1/usage-events/amendments", {"amendments": [amendment]}, 200)
    assert codes(told["results"][0]) == [("type_reserved", "/event/type")]
    assert await usage(metering) == [("0", 0)]


async def test_a_meter_with_a_counter_needs_nothing_else_said(metering: Metering) -> None:
    counter = {"register_digits": 6, "rate_max": "400", "estimate": {"periods": 3, "in_a_row": 2}}
    made = await define(metering, counter)
    assert (made["event_type"], made["aggregation"], made["value"]) == (
        "perennial.reading.light",
        "sum",
        "/quantity",
    )
    assert made["counter"]["estimate"] == {"policy": "mean_of_last", "periods": 3, "in_a_row": 2}
    for wrong in ({"event_type": "x"}, {"aggregation": "max"}, {"group_by": ["a"]}):
        answer = await metering.client.post("/v1/meters", json={"code": "other", "counter": {}, **wrong})
        assert answer.status_code == 422, answer.text


async def test_readers_may_not_send(metering: Metering) -> None:
    async with client_of(metering, "usage:read") as reader:
        answer = await reader.post("/v1/meter-readings", json=[])
        assert answer.status_code == 403


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_whatever_the_order_usage_is_how_far_the_counter_went(
    metering: Metering, data: st.DataObject
) -> None:
    subject = fresh()  # one that no example has had before
    if not (await metering.get("/v1/meters", code="light"))["data"]:
        await define(metering)
    shown = first = data.draw(st.integers(0, 999_999))
    readings = [reading("2025-01-01", first, subject=subject)]
    total = 0
    for day in range(2, 8):
        advance = data.draw(st.integers(0, 499_999))
        total += advance
        shown = (shown + advance) % 1_000_000
        readings.append(reading(f"2025-01-0{day}", shown, subject=subject))
    order = data.draw(st.permutations(readings))
    cut = data.draw(st.integers(1, len(order) - 1))
    await take(metering, *order[:cut])
    await take(metering, *order[cut:])
    held = (await metering.get("/v1/meter-readings", state="held", subject=subject))["data"]
    assert held == []
    assert await metering.usage(meter="light", subject=subject) == [(str(total), 6)]


def test_the_months_of_the_story_are_those_of_the_tests() -> None:
    assert Story("t").period(2).start == utc("2025-03-01")
