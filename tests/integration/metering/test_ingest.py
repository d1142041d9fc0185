"""The ingest path over HTTP: what is stored, what is counted once, what is refused, and how it is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.metering.harness import (
    READ,
    SOURCE,
    WRITE,
    Metering,
    client_of,
    codes,
    flight,
    fresh,
    statuses,
)

BATCH = "application/cloudevents-batch+json"
AT = "2025-01-10T10:00:00Z"


async def post(metering: Metering, body: bytes, **headers: str) -> Any:
    return await metering.client.post("/v1/usage-events", content=body, headers=headers)


async def test_an_event_is_stored_and_counted(metering: Metering) -> None:
    await metering.define()
    told = await metering.send(flight("a", AT, 61))
    assert told["results"] == [{"id": "a", "source": SOURCE, "status": "stored"}]
    assert (told["stored"], told["duplicate"], told["conflict"], told["rejected"]) == (1, 0, 0, 0)
    assert await metering.usage(subject="N1") == [("61", 1)]


async def test_the_same_event_again_is_a_duplicate_however_it_is_spelled(metering: Metering) -> None:
    await metering.define()
    await metering.send(flight("a", AT, 12.5))
    again = b'{"data":{"minutes":1.250e1},"time":"2025-01-10T12:00:00.000+02:00","subject":"N1","type":"flight.landed",'
    again += b'"source":"https:\\/\\/test.example\\/engines","id":"\\u0061","specversion":"1.0"}'
    answer = await post(metering, again, **{"content-type": "application/cloudevents+json"})
    assert statuses(answer.json()) == ["duplicate"]
    assert await metering.usage(subject="N1") == [("12.5", 1)]


@pytest.mark.parametrize(
    "changes",
    [{"time": "2025-01-10T10:00:01Z"}, {"data": {"minutes": 61}}, {"subject": "N2"}, {"type": "other"}],
)
async def test_another_payload_under_a_known_id_is_a_conflict_and_the_first_one_stays(
    metering: Metering, changes: dict[str, Any]
) -> None:
    await metering.define()
    await metering.send(flight("a", AT, 60))
    other = {**flight("a", AT, 60), **changes}
    for _ in range(2):
        assert statuses(await metering.send(other)) == ["conflict"]
    assert await metering.usage(subject="N1") == [("60", 1)]
    [conflict] = (await metering.get("/v1/usage-conflicts"))["data"]
    assert (conflict["event_id"], conflict["source"], conflict["seen_count"]) == ("a", SOURCE, 2)
    assert conflict["stored_time"] == AT
    assert json.loads(conflict["payload"])["time"] == other["time"]
    assert await metering.count("usage_event") == 1


async def test_a_batch_with_some_known_ids_stores_the_new_ones(metering: Metering) -> None:
    await metering.define()
    await metering.send(flight("a", AT, 1), flight("b", AT, 2))
    told = await metering.send(flight("c", AT, 4), flight("a", AT, 1), flight("d", AT, 8), flight("b", AT, 3))
    assert statuses(told) == ["stored", "duplicate", "stored", "conflict"]
    assert await metering.usage(subject="N1") == [("15", 4)]


async def test_the_same_id_several_times_within_one_batch_counts_once(metering: Metering) -> None:
    await metering.define()
    told = await metering.send(flight("a", AT, 1), flight("a", AT, 1), flight("a", AT, 2), flight("a", AT, 1))
    assert statuses(told) == ["stored", "duplicate", "conflict", "duplicate"]
    assert await metering.usage(subject="N1") == [("1", 1)]


async def test_the_same_id_from_another_source_or_of_another_tenant_is_another_event(
    metering: Metering,
) -> None:
    await metering.send(flight("a", AT))
    assert statuses(await metering.send(flight("a", AT, source="elsewhere"))) == ["stored"]
    other = Metering(metering.service, fresh())
    async with other.client:
        assert statuses(await other.send(flight("a", AT))) == ["stored"]


async def test_an_event_without_a_time_happens_when_it_arrives_and_counts_once(metering: Metering) -> None:
    await metering.define()
    event = flight("a", AT, 5)
    del event["time"]
    before = datetime.now(UTC)
    assert statuses(await metering.send(event)) == ["stored"]
    assert statuses(await metering.send({**event, "time": None})) == ["duplicate"]
    [stored] = (await metering.get("/v1/usage-events"))["data"]
    assert before <= datetime.fromisoformat(stored["time"]) <= datetime.now(UTC)


async def test_sixty_days_back_and_sixty_years_back_are_kept(metering: Metering) -> None:
    await metering.define()
    long_ago = (datetime.now(UTC) - timedelta(days=60)).isoformat()
    told = await metering.send(flight("a", long_ago, 1), flight("b", "1965-01-01T00:00:00Z", 2))
    assert statuses(told) == ["stored", "stored"]
    assert await metering.usage(subject="N1", **{"from": "1960-01-01T00:00:00Z"}) == [("3", 2)]


async def test_what_lies_centuries_ahead_is_refused_like_anything_in_the_future(metering: Metering) -> None:
    told = await metering.send(flight("a", "2999-01-01T00:00:00Z"), flight("b", AT))
    assert statuses(told) == ["rejected", "stored"]
    assert codes(told["results"][0]) == [("time_in_future", "/time")]


@pytest.mark.parametrize(("ahead_s", "status"), [(290, "stored"), (320, "rejected")])
async def test_the_future_is_accepted_for_five_minutes(metering: Metering, ahead_s: int, status: str) -> None:
    at = (datetime.now(UTC) + timedelta(seconds=ahead_s)).isoformat()
    told = await metering.send(flight("a", at))
    assert statuses(told) == [status]
    if status == "rejected":
        assert codes(told["results"][0]) == [("time_in_future", "/time")]


async def test_all_reasons_are_listed_at_once(metering: Metering) -> None:
    await metering.define()
    event = flight("a", AT)
    del event["subject"]
    event["data"] = {"carrier": "MQ"}
    told = await metering.send(event)
    assert codes(told["results"][0]) == [("subject_missing", "/subject"), ("value_missing", "/data/minutes")]
    assert told["results"][0]["id"] == "a"


async def test_a_reject_is_kept_once_and_leaves_its_id_free(metering: Metering) -> None:
    await metering.define()
    for _ in range(3):
        assert statuses(await metering.send(flight("a", AT, None))) == ["rejected"]
    [reject] = (await metering.get("/v1/usage-rejects"))["data"]
    assert (reject["event_id"], reject["seen_count"]) == ("a", 3)
    assert [r["code"] for r in reject["reasons"]] == ["value_missing"]
    assert json.loads(reject["payload"])["data"] == {"minutes": None}
    assert statuses(await metering.send(flight("a", AT, 7))) == ["stored"]
    assert await metering.usage(subject="N1") == [("7", 1)]


async def test_an_event_that_no_meter_knows_is_stored_and_counted_by_a_later_meter(
    metering: Metering,
) -> None:
    told = await metering.send(flight("a", AT, 5), flight("b", AT, "no number"), flight("c", AT, "2.50"))
    assert statuses(told) == ["stored"] * 3
    await metering.define()
    await metering.define("flights", aggregation="count")
    assert await metering.usage(subject="N1") == [("7.5", 2)]
    assert await metering.usage(subject="N1", meter="flights") == [("3", 3)]


BAD_EVENTS: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("no_id", {"id": None}, [("id_missing", "/id")]),
    ("empty_id", {"id": ""}, [("id_empty", "/id")]),
    ("number_as_id", {"id": 5}, [("id_not_text", "/id")]),
    ("long_id", {"id": "x" * 257}, [("id_too_long", "/id")]),
    ("long_id_in_bytes", {"id": "€" * 86}, [("id_too_long", "/id")]),
    ("no_source", {"source": None}, [("source_missing", "/source")]),
    ("no_type", {"type": None}, [("type_missing", "/type")]),
    ("newline_in_subject", {"subject": "N1\n"}, [("subject_not_printable", "/subject")]),
    ("nul_in_subject", {"subject": "N\0"}, [("subject_not_printable", "/subject")]),
    ("old_specversion", {"specversion": "0.3"}, [("specversion_unknown", "/specversion")]),
    ("local_time", {"time": "2025-01-01T00:00:00"}, [("time_malformed", "/time")]),
    ("no_such_day", {"time": "2025-02-30T00:00:00Z"}, [("time_malformed", "/time")]),
    ("time_as_number", {"time": 1735689600}, [("time_malformed", "/time")]),
    ("before_all_time", {"time": "0001-01-01T00:00:00+10:00"}, [("time_malformed", "/time")]),
    ("nul_in_data", {"data": {"minutes": 1, "a": ["\0"]}}, [("text_not_storable", "/data/a/0")]),
    ("nul_in_name", {"data": {"minutes": 1, "a\0": 1}}, [("text_not_storable", "/data")]),
    ("binary_data", {"data": None, "data_base64": "AA=="}, [("data_not_json", "/data_base64")]),
    ("xml", {"datacontenttype": "text/xml"}, [("data_not_json", "/datacontenttype")]),
    ("text_value", {"data": {"minutes": "ten"}}, [("value_not_a_number", "/data/minutes")]),
    ("exponent_as_text", {"data": {"minutes": "1e3"}}, [("value_not_a_number", "/data/minutes")]),
    ("true_value", {"data": {"minutes": True}}, [("value_not_a_number", "/data/minutes")]),
    ("no_data", {"data": None}, [("value_missing", "/data/minutes")]),
]


@pytest.mark.parametrize(
    ("changes", "reasons"), [row[1:] for row in BAD_EVENTS], ids=[row[0] for row in BAD_EVENTS]
)
async def test_a_bad_event_is_refused_with_its_reason_and_spoils_no_other(
    metering: Metering, changes: dict[str, Any], reasons: list[tuple[str, str]]
) -> None:
    await metering.define()
    bad = {name: value for name, value in {**flight("bad", AT), **changes}.items() if value is not None}
    told = await metering.send(flight("a", AT, 1), bad, flight("b", AT, 2))
    assert statuses(told) == ["stored", "rejected", "stored"]
    missing = [("value_missing", "/data/minutes")] if changes.get("data_base64") else []
    found = codes(told["results"][1])
    assert found == reasons or found == [*reasons, *missing]
    assert await metering.usage(subject="N1") == [("3", 2)]
    assert await metering.count("usage_reject") == 1


GOOD_EVENTS: list[tuple[str, dict[str, Any], str]] = [
    ("longest_id", {"id": "x" * 256}, "1"),
    ("string_value", {"data": {"minutes": "12.50"}}, "12.5"),
    ("38_digits", {"data": {"minutes": 10**37 + 1}}, "10000000000000000000000000000000000001"),
    ("negative", {"data": {"minutes": -3}}, "-3"),
    ("extension", {"carrier": "AA", "data": {"minutes": 1}}, "1"),
    ("vendor_json", {"datacontenttype": "application/vnd.x+json", "data": {"minutes": 1}}, "1"),
    ("subject_in_utf8", {"subject": "Ægir 🛩", "data": {"minutes": 1}}, "1"),
]


@pytest.mark.parametrize(
    ("changes", "quantity"), [row[1:] for row in GOOD_EVENTS], ids=[row[0] for row in GOOD_EVENTS]
)
async def test_an_unusual_event_is_stored(metering: Metering, changes: dict[str, Any], quantity: str) -> None:
    await metering.define()
    event = {**flight("a", AT, 1), **changes}
    assert statuses(await metering.send(event)) == ["stored"]
    assert statuses(await metering.send(event)) == ["duplicate"]
    assert await metering.usage(subject=event["subject"]) == [(quantity, 1)]


async def test_numbers_are_exact(metering: Metering) -> None:
    await metering.define()
    body = json.dumps([flight(str(n), AT, "?") for n in range(3)])
    for number in ("0.1", "0.2", "1234567890123456789012345.0000000000001"):
        body = body.replace('"?"', number, 1)
    await post(metering, body.encode(), **{"content-type": "application/json"})
    assert await metering.usage(subject="N1") == [("1234567890123456789012345.3000000000001", 3)]
    listed = await metering.client.get("/v1/usage-events", params={"id": "2", "source": SOURCE})
    assert b'"data":{"minutes": 1234567890123456789012345.0000000000001}' in listed.content


HOSTILE: list[tuple[str, bytes, int]] = [
    ("nan", b'[{"data":{"minutes":NaN}}]', 400),
    ("infinity", b'[{"data":{"minutes":-Infinity}}]', 400),
    ("not_json", b'[{"id":}]', 400),
    ("cut", b'[{"id":"a"', 400),
    ("a_number", b"5", 400),
    ("empty", b"", 400),
    ("half_a_surrogate_pair", b'[{"data":"\\ud800"}]', 400),
    ("not_utf8", b'[{"id":"\xff"}]', 400),
    ("deeper_than_the_parser", b'[{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}]", 400),
]


@pytest.mark.parametrize(("body", "status"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
async def test_what_cannot_be_parsed_is_400(metering: Metering, body: bytes, status: int) -> None:
    answer = await post(metering, body, **{"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] in ("unreadable_events", "body_malformed")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("1" * 10_000, ("number_too_long", "/data")),
        ('{"a":1.' + "1" * 10_000 + "}", ("number_too_long", "/data/a")),
        ('{"a":[1e999999999]}', ("number_too_long", "/data/a/0")),
        ('{"a":1e-999999999}', ("number_too_long", "/data/a")),
        ("[" * 33 + "]" * 33, ("too_deep", "/data" + "/0" * 31)),
        ('"' + "x" * 262_144 + '"', ("event_too_long", "")),
    ],
)
async def test_hostile_data_is_one_rejected_event(
    metering: Metering, data: str, reason: tuple[str, str]
) -> None:
    body = json.dumps([flight("a", AT), flight("b", AT, data="?"), flight("c", AT)])
    answer = await post(metering, body.replace('"?"', data).encode(), **{"content-type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert statuses(answer.json()) == ["stored", "rejected", "stored"]
    assert codes(answer.json()["results"][1]) == [reason]
    [reject] = (await metering.get("/v1/usage-rejects"))["data"]
    assert len(reject["payload"]) <= 16_384


async def test_thirty_two_levels_of_data_are_stored(metering: Metering) -> None:
    data = json.loads("[" * 32 + "]" * 32)
    assert statuses(await metering.send(flight("a", AT, data=data))) == ["stored"]


async def test_too_many_events_or_bytes_are_413(metering: Metering) -> None:
    many = json.dumps([flight(str(n), AT) for n in range(10_001)]).encode()
    answer = await post(metering, many, **{"content-type": BATCH})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_many_events")
    answer = await post(metering, b" " * 10_000_001, **{"content-type": BATCH})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert await metering.count("usage_event") == 0


async def test_ten_thousand_events_at_once_are_stored(metering: Metering) -> None:
    await metering.define()
    events = [flight(str(n), f"2025-01-{n % 28 + 1:02}T{n % 24:02}:00:00Z", 1) for n in range(10_000)]
    assert (await metering.send(*events))["stored"] == 10_000
    assert (await metering.send(*events))["duplicate"] == 10_000
    assert await metering.usage(subject="N1") == [("10000", 10_000)]


async def test_lines_are_events_and_a_bad_line_is_one_bad_event(metering: Metering) -> None:
    half = json.dumps(flight("h", AT, data="\ud800"))
    lines = [json.dumps(flight("a", AT)), "", "{not json", half, json.dumps(flight("b", AT)), ""]
    answer = await post(metering, "\r\n".join(lines).encode(), **{"content-type": "application/x-ndjson"})
    assert statuses(answer.json()) == ["stored", "rejected", "rejected", "stored"]
    assert codes(answer.json()["results"][1]) == [("not_json", "")]
    assert codes(answer.json()["results"][2]) == [("text_not_storable", "/data")]


async def test_cloudevents_media_types_need_the_specversion(metering: Metering) -> None:
    event = flight("a", AT)
    del event["specversion"]
    answer = await post(metering, json.dumps([event]).encode(), **{"content-type": BATCH})
    assert codes(answer.json()["results"][0]) == [("specversion_missing", "/specversion")]
    assert statuses(await metering.send(event)) == ["stored"]


async def test_an_empty_batch_is_an_answer(metering: Metering) -> None:
    assert (await metering.send())["results"] == []


async def test_a_token_needs_the_scope(metering: Metering) -> None:
    async with client_of(metering, READ) as client:
        answer = await client.post("/v1/usage-events", json=[flight("a", AT)])
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")
    async with client_of(metering, WRITE, customer="cus_x") as client:
        answer = await client.post("/v1/usage-events", json=[flight("a", AT)])
        assert answer.status_code == 403


async def test_who_sent_what_is_recorded_once_for_each_request(metering: Metering) -> None:
    await metering.send(flight("a", AT), flight("b", AT))
    await metering.send(flight("a", AT))  # changes nothing
    async with metering.admin() as admin:
        changes = await admin.fetch(
            "SELECT actor, aggregate_id FROM change_log WHERE tenant = $1 AND action = 'usage.ingested'",
            metering.tenant,
        )
        batches = await admin.fetch(
            "SELECT DISTINCT batch_id FROM usage_event WHERE tenant = $1", metering.tenant
        )
    assert [row["aggregate_id"] for row in changes] == [str(row["batch_id"]) for row in batches]
    assert changes[0]["actor"].startswith("token:")
