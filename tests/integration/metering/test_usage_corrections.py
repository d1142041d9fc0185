"""Voids and amendments over HTTP: what counts after them, what stays to be seen, and what windows say of it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from libs.common.contracts.metering import UsageCorrectedV1
from tests.integration.metering.harness import (
    READ,
    SOURCE,
    Metering,
    Story,
    audited,
    client_of,
    codes,
    flight,
    statuses,
)
from tests.integration.metering.topic_harness import TopicMetering

AT, LATER = "2025-01-10T10:00:00Z", "2025-01-10T10:20:00Z"


async def void(metering: Metering, *ids: str, status: int = 200, **headers: str) -> Any:
    entries = [{"source": SOURCE, "id": id, "reason": f"wrong {id}"} for id in ids]
    return await post(metering, "voids", entries, status=status, **headers)


async def amend(metering: Metering, *events: Mapping[str, Any], status: int = 200) -> Any:
    entries = [{"event": event, "reason": "as it was"} for event in events]
    return await post(metering, "amendments", entries, status=status)


async def post(metering: Metering, kind: str, entries: Any, *, status: int = 200, **headers: str) -> Any:
    answer = await metering.client.post(f"/v1/usage-events/{kind}", json={kind: entries}, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_voided_event_counts_no_more_and_its_id_stays_taken(metering: Metering) -> None:
    await metering.define()
    await metering.define("flights", aggregation="count")
    await metering.send(flight("a", AT, 60), flight("b", AT, 5))
    told = await void(metering, "a")
    assert (statuses(told), told["voided"]) == (["voided"], 1)
    assert await metering.usage(subject="N1") == [("5", 1)]
    assert await metering.usage(subject="N1", meter="flights") == [("1", 1)]
    assert statuses(await metering.send(flight("a", AT, 60))) == ["duplicate"]
    assert await metering.usage(subject="N1") == [("5", 1)]


async def test_the_last_event_of_a_bucket_leaves_nothing_behind(metering: Metering) -> None:
    await metering.define()
    await metering.send(flight("a", AT, 60))
    await void(metering, "a")
    assert await metering.count("usage_bucket") == 0
    assert await metering.usage(subject="N1") == [("0", 0)]


async def test_voiding_again_changes_nothing(metering: Metering) -> None:
    await metering.define()
    await metering.send(flight("a", AT, 60))
    [first] = (await void(metering, "a"))["results"]
    [again] = (await void(metering, "a"))["results"]
    assert (again["status"], again["correction_id"]) == ("unchanged", first["correction_id"])
    assert statuses(await void(metering, "a", "a")) == ["unchanged", "unchanged"]
    assert await metering.count("usage_correction") == 1


async def test_the_good_part_is_kept_and_every_fault_is_told(metering: Metering) -> None:
    await metering.define()
    await metering.send(flight("a", AT, 60))
    good = {"source": SOURCE, "id": "a", "reason": "twice"}
    entries = [
        {"source": SOURCE, "id": "unknown", "reason": "r"},
        {"id": "", "reason": 5, "why": "r"},
        good,
        "a",
        {"source": "perennial:readings", "id": "x", "reason": "r"},
    ]
    told = await post(metering, "voids", entries)
    assert statuses(told) == ["not_found", "rejected", "voided", "rejected", "rejected"]
    found = [codes(result) for result in told["results"]]
    assert found[0] == [("event_not_found", "/id")]
    assert found[1] == [
        ("field_unknown", ""),
        ("source_missing", "/source"),
        ("id_empty", "/id"),
        ("reason_malformed", "/reason"),
    ]
    assert found[3] == [("not_an_object", "")]
    assert found[4] == [("source_reserved", "/source")]
    assert (told["voided"], told["not_found"], told["rejected"]) == (1, 1, 3)


async def test_an_amended_event_counts_with_its_new_payload(metering: Metering) -> None:
    await metering.define(group_by=["carrier"])
    await metering.send(flight("a", AT, data={"minutes": 60, "carrier": "UA"}), flight("b", AT, 5))
    told = await amend(metering, flight("a", AT, data={"minutes": "0.1", "carrier": "AA"}))
    assert statuses(told) == ["amended"]
    usage = await metering.get(
        "/v1/usage", meter="minutes", subject="N1", group_by="carrier", **{"from": AT, "to": LATER}
    )
    found = {row["group"]["carrier"]: row["quantity"] for row in usage["data"]}
    assert found == {None: "5", "AA": "0.1"}


async def test_an_amendment_moves_an_event_in_time_and_to_another_subject(metering: Metering) -> None:
    await metering.define()
    await metering.send(flight("a", AT, 60))
    await amend(metering, flight("a", "2030-01-01T00:00:00Z"))
    moved = flight("a", "2024-05-01T00:00:00Z", 60, subject="N2")
    assert statuses(await amend(metering, moved)) == ["amended"]
    assert await metering.usage(subject="N1") == [("0", 0)]
    in_may = {"from": "2024-05-01T00:00:00Z", "to": "2024-05-01T00:00:01Z"}
    assert await metering.usage(subject="N2", **in_may) == [("60", 1)]
    event = flight("a", AT, 7)
    del event["time"]
    assert statuses(await amend(metering, event)) == ["amended"]
    assert await metering.usage(subject="N1", **in_may) == [("7", 1)]


async def test_an_amendment_that_is_there_already_changes_nothing(metering: Metering) -> None:
    await metering.define()
    await metering.send(flight("a", AT, 60))
    assert statuses(await amend(metering, flight("a", AT, 60))) == ["unchanged"]
    assert await metering.count("usage_correction") == 0
    assert statuses(await amend(metering, flight("a", AT, 61), flight("a", AT, 61))) == [
        "amended",
        "unchanged",
    ]
    assert statuses(await amend(metering, flight("a", AT, 61.0))) == ["unchanged"]
    assert await metering.usage(subject="N1") == [("61", 1)]


async def test_an_event_is_amended_voided_and_amended_back(metering: Metering) -> None:
    await metering.define()
    await metering.send(flight("a", AT, 60))
    assert statuses(await amend(metering, flight("a", AT, 61), flight("a", LATER, 62))) == ["amended"] * 2
    assert await metering.usage(subject="N1") == [("62", 1)]
    assert statuses(await void(metering, "a")) == ["voided"]
    assert await metering.usage(subject="N1") == [("0", 0)]
    assert statuses(await amend(metering, flight("a", AT, 60))) == ["amended"]
    assert await metering.usage(subject="N1") == [("60", 1)]
    listed = (await metering.get("/v1/usage-corrections", source=SOURCE, event_id="a"))["data"]
    life = sorted((c["revision"], c["kind"]) for c in listed)
    assert life == [(1, "amendment"), (2, "amendment"), (3, "void"), (4, "amendment")]
    assert statuses(await metering.send(flight("a", AT, 60))) == ["duplicate"]


async def test_an_amendment_is_looked_at_as_at_ingest(metering: Metering) -> None:
    await metering.define()
    await metering.send(flight("a", AT, 60))
    bad = flight("a", "2999-01-01T00:00:00Z", "ten")
    entries = [
        {"event": bad, "reason": "r"},
        {"event": {**flight("a", AT, None), "id": None}, "reason": ""},
        {"event": flight("unknown", AT), "reason": "r"},
        {"reason": "r"},
        {"event": flight("a", AT, 1, source="perennial:readings"), "reason": "r"},
    ]
    told = await post(metering, "amendments", entries)
    assert statuses(told) == ["rejected", "rejected", "not_found", "rejected", "rejected"]
    found = [codes(result) for result in told["results"]]
    assert found[0] == [("time_in_future", "/event/time"), ("value_not_a_number", "/event/data/minutes")]
    assert found[1] == [
        ("id_missing", "/event/id"),
        ("reason_malformed", "/reason"),
        ("value_missing", "/event/data/minutes"),
    ]
    assert found[2] == [("event_not_found", "/event/id")]
    assert found[3] == [("event_missing", "/event")]
    assert found[4] == [("source_reserved", "/event/source")]
    assert await metering.usage(subject="N1") == [("60", 1)]
    assert await metering.count("usage_reject") == 0


async def test_numbers_of_amendments_are_exact(metering: Metering) -> None:
    await metering.define()
    await metering.send(flight("a", AT, 1))
    number = "1234567890123456789012345.0000000000001"
    body = json.dumps({"amendments": [{"event": flight("a", AT, "?"), "reason": "r"}]}).replace('"?"', number)
    answer = await metering.client.post(
        "/v1/usage-events/amendments", content=body, headers={"content-type": "application/json"}
    )
    assert statuses(answer.json()) == ["amended"]
    assert await metering.usage(subject="N1") == [(number, 1)]


async def test_what_was_corrected_stays_listed_with_reason_and_author(metering: Metering) -> None:
    await metering.send(flight("a", AT, 60), flight("b", AT, 5))
    [amended] = (await amend(metering, flight("a", LATER, 61)))["results"]
    [voided] = (await void(metering, "b"))["results"]
    listed = (await metering.get("/v1/usage-events"))["data"]
    told = {(event["id"], event["time"]): (event["corrected"], event["amends"]) for event in listed}
    mark, amends = told["a", AT]
    assert (mark["id"], mark["kind"], mark["reason"]) == (amended["correction_id"], "amendment", "as it was")
    assert mark["author"].startswith("token:")
    assert amends is None
    assert told["a", LATER] == (None, amended["correction_id"])
    mark, amends = told["b", AT]
    assert (mark["id"], mark["kind"], mark["reason"]) == (voided["correction_id"], "void", "wrong b")
    found = (await metering.get("/v1/usage-events", source=SOURCE, id="a"))["data"]
    assert [event["data"]["minutes"] for event in found] == [60, 61]
    first = await metering.get("/v1/usage-corrections", limit=1)
    second = await metering.get("/v1/usage-corrections", limit=1, cursor=first["next_cursor"])
    assert [c["id"] for c in (*first["data"], *second["data"])] == [
        amended["correction_id"],
        voided["correction_id"],
    ]
    assert second["next_cursor"] is None
    only_voids = await metering.get("/v1/usage-corrections", kind="void")
    assert [(c["event_id"], c["time"], c["amended_time"]) for c in only_voids["data"]] == [("b", AT, None)]


async def test_a_key_makes_a_repeat_the_same_answer(metering: Metering) -> None:
    await metering.send(flight("a", AT, 60))
    key = {"idempotency-key": "9c0b1e62-5f0c-4b52-8b0a-0d4f3c1f7a11"}
    first, again = await void(metering, "a", **key), await void(metering, "a", **key)
    assert (first, first["voided"]) == (again, 1)
    await void(metering, "b", status=422, **key)


HOSTILE: list[tuple[str, bytes, str, int]] = [
    ("not_json", b"{", "application/json", 400),
    ("no_list", b'{"voids":{}}', "application/json", 400),
    ("none", b'{"voids":[]}', "application/json", 400),
    ("too_many", b'{"voids":[' + b",".join([b"{}"] * 1001) + b"]}", "application/json", 413),
    ("something_else_too", b'{"voids":[{}],"more":1}', "application/json", 400),
    ("other_list", b'{"amendments":[{}]}', "application/json", 400),
    ("deep", b'{"voids":[' + b"[" * 100_000, "application/json", 400),
    ("not_utf8", b'{"voids":["\xff"]}', "application/json", 400),
    ("form", b"voids=1", "application/x-www-form-urlencoded", 415),
]


@pytest.mark.parametrize(
    ("body", "media_type", "status"), [r[1:] for r in HOSTILE], ids=[r[0] for r in HOSTILE]
)
async def test_a_body_that_is_no_list_of_voids_is_refused(
    metering: Metering, body: bytes, media_type: str, status: int
) -> None:
    answer = await metering.client.post(
        "/v1/usage-events/voids", content=body, headers={"content-type": media_type}
    )
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] in {
        "body_malformed",
        "entries_malformed",
        "too_many_events",
        "unsupported_media_type",
    }


async def test_readers_may_not_correct(metering: Metering) -> None:
    async with client_of(metering, READ) as reader:
        for kind in ("voids", "amendments"):
            answer = await reader.post(f"/v1/usage-events/{kind}", json={kind: []})
            assert answer.status_code == 403


async def test_a_closed_window_says_what_was_voided_and_amended(metering: Metering, story: Story) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound(), story.bound("N2"))
    await metering.send(flight("a", AT, 60), flight("b", AT, 5), flight("c", AT, 1))
    await metering.hear(story.renewed(1))
    await metering.tick()
    await void(metering, "a")
    await amend(metering, flight("b", AT, 7, subject="N2"))
    await metering.tick()
    corrected = (await metering.said(UsageCorrectedV1))[-1]
    assert [(t["quantity"], t["event_count"]) for t in corrected["totals"]] == [("8", 2)]
    assert sorted((e["event_id"], e["cause"]) for e in corrected["events"]) == [
        ("a", "voided"),
        ("b", "amended"),
    ]
    assert corrected["changed_event_count"] == 2


async def test_an_open_window_closes_with_what_counts_then(metering: Metering, story: Story) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound())
    await metering.send(flight("a", AT, 60), flight("b", AT, 5))
    await void(metering, "a")
    await metering.hear(story.renewed(1))
    await metering.tick()
    [window] = (await metering.get("/v1/usage-windows", state="closed"))["data"]
    assert [(t["quantity"], t["event_count"]) for t in window["totals"]] == [("5", 1)]
    assert await metering.said(UsageCorrectedV1) == []


async def test_what_is_accepted_and_not_stored_yet_is_not_found(through_topic: TopicMetering) -> None:
    await through_topic.send(flight("a", AT, 60))
    [result] = (await void(through_topic, "a"))["results"]
    assert result["status"] == "not_found"
    assert "once its batch is complete" in result["reasons"][0]["detail"]


@pytest.mark.parametrize("seed", [1, 2])
async def test_any_order_of_corrections_leaves_what_the_last_ones_say(metering: Metering, seed: int) -> None:
    """Against a dictionary: what counts of each id. Sums of every kind are those of what counts."""
    draw = random.Random(seed)
    kinds = {"minutes": "sum", "least": "min", "most": "max", "flights": "count", "mean": "average"}
    for code, aggregation in kinds.items():
        await metering.define(code, aggregation=aggregation)
    counted: dict[str, int | None] = {}
    for _ in range(12):
        ids = [f"e{draw.randrange(8)}" for _ in range(draw.randrange(1, 5))]
        step = draw.choice(["send", "void", "amend"])
        if step == "send":
            new = [id for id in dict.fromkeys(ids) if id not in counted]
            counted |= {id: draw.randrange(100) for id in new}
            await metering.send(*[flight(id, AT, counted[id]) for id in new])
        elif step == "void":
            await void(metering, *ids)
            counted |= {id: None for id in ids if id in counted}
        else:
            values = [draw.randrange(100) for _ in ids]
            at = [draw.choice([AT, LATER]) for _ in ids]
            await amend(metering, *[flight(id, t, v) for id, t, v in zip(ids, at, values, strict=True)])
            counted |= {id: value for id, value in zip(ids, values, strict=True) if id in counted}
        values = [value for value in counted.values() if value is not None]
        [(mean, _)] = await metering.usage(subject="N1", meter="mean")
        expected = {
            "minutes": sum(values),
            "least": min(values, default=0),
            "most": max(values, default=0),
            "flights": len(values),
        }
        for code, quantity in expected.items():
            assert await metering.usage(subject="N1", meter=code) == [(str(quantity), len(values))], code
        assert abs(Decimal(mean) * len(values) - sum(values)) < Decimal("0.000000001")
    assert await audited(metering) == []


async def test_senders_and_those_who_correct_may_do_so_at_once(metering: Metering) -> None:
    """Whoever comes first: the fast answer is what the listed events that count add up to, and nobody fails."""
    await metering.define()
    await metering.define("most", aggregation="max")
    ids = [f"e{number}" for number in range(12)]
    await metering.send(*[flight(id, AT, 1) for id in ids[:6]])

    async def one(number: int) -> None:
        id = ids[number % len(ids)]
        match number % 3:
            case 0:
                await metering.send(flight(id, AT, 1))
            case 1:
                await void(metering, id, ids[number % 5])
            case _:
                await amend(metering, flight(id, LATER, number), flight(ids[number % 7], AT, number))

    await asyncio.gather(*[one(number) for number in range(36)])
    listed = (await metering.get("/v1/usage-events", limit=200))["data"]
    counted = [event["data"]["minutes"] for event in listed if event["corrected"] is None]
    assert await metering.usage(subject="N1") == [(str(sum(counted)), len(counted))]
    assert await metering.usage(subject="N1", meter="most") == [(str(max(counted)), len(counted))]
    assert len({event["id"] for event in listed if event["corrected"] is None}) == len(counted)
    assert await audited(metering) == []


async def test_an_event_that_is_kept_no_more_stays_what_it_was_counted_as(metering: Metering) -> None:
    await metering.define()
    await metering.send(flight("a", AT, 60))
    async with metering.admin() as admin:
        await admin.execute("DELETE FROM usage_event WHERE tenant = $1", metering.tenant)
    [voided] = (await void(metering, "a"))["results"]
    assert (voided["status"], codes(voided)) == ("rejected", [("event_dropped", "/id")])
    [amended] = (await amend(metering, flight("a", AT, 61)))["results"]
    assert (amended["status"], codes(amended)) == ("rejected", [("event_dropped", "/event/id")])
    assert await metering.usage(subject="N1") == [("60", 1)]
