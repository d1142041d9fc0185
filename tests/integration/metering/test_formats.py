"""The forms in which events may be sent: each says the same event, packed or not, and what is none is refused clearly."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
import zstandard

from tests.integration.metering.harness import FLIGHT, SOURCE, Metering, flight, statuses

AT = "2025-01-10T10:00:00Z"
PATH, OPENMETER = "/v1/usage-events", "/api/v1/events"
EVENT = flight("a b", AT, 5)
JSON = json.dumps(EVENT).encode()
BATCH = "application/cloudevents-batch+json"


class Form(NamedTuple):
    name: str
    body: bytes
    headers: Mapping[str, str]


FORMS = [
    Form("structured", JSON, {"content-type": "application/cloudevents+json"}),
    Form("structured_in_utf8", JSON, {"content-type": "application/cloudevents+json; charset=UTF-8"}),
    Form("batch", b"[" + JSON + b"]", {"content-type": BATCH}),
    Form("json", JSON, {"content-type": "application/json"}),
    Form("json_array", b" [" + JSON + b"]\n", {"content-type": "application/json"}),
    Form("lines", JSON + b"\r\n\n", {"content-type": "application/x-ndjson"}),
    Form(
        "binary_mode",
        b'{"minutes": 5.0}',
        {
            "ce-specversion": "1.0",
            "ce-id": "a%20b",
            "ce-source": SOURCE,
            "ce-type": FLIGHT,
            "ce-subject": "N1",
            "ce-time": AT,
            "content-type": "application/vnd.flights+json; charset=utf-8",
        },
    ),
]
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
async def test_each_form_says_the_same_event_packed_or_not(metering: Metering, form: Form) -> None:
    await metering.define()
    found = []
    for encoding, pack in PACKERS.items():
        headers = {**form.headers, "content-encoding": encoding}
        answer = await metering.client.post(PATH, content=pack(form.body), headers=headers)
        assert answer.status_code == 200, answer.text
        found += statuses(answer.json())
    answer = await metering.client.post(OPENMETER, content=form.body, headers=dict(form.headers))
    assert (answer.status_code, answer.content) == (204, b"")
    assert found == ["stored", "duplicate", "duplicate"]
    assert statuses(await metering.send(EVENT)) == ["duplicate"]
    assert await metering.usage(subject="N1") == [("5", 1)]


class Refused(NamedTuple):
    name: str
    headers: Mapping[str, Any]
    body: bytes
    status: int
    code: str


REFUSED = [
    Refused("text", {"content-type": "text/plain"}, b"[]", 415, "unsupported_media_type"),
    Refused("brotli", {"content-encoding": "br"}, b"[]", 415, "unsupported_media_type"),
    Refused("packed_twice", {"content-encoding": "gzip, zstd"}, b"[]", 415, "unsupported_media_type"),
    Refused(
        "gzip_bomb", {"content-encoding": "gzip"}, gzip.compress(b" " * 10_000_001), 413, "body_too_large"
    ),
    Refused("no_zstd", {"content-encoding": "zstd"}, b"[]", 400, "body_malformed"),
    Refused(
        "data_in_binary_mode_that_is_no_json",
        {"ce-specversion": "1.0", "content-type": "application/json"},
        b"{",
        400,
        "unreadable_events",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
async def test_what_has_another_form_is_refused(metering: Metering, case: Refused) -> None:
    for path in (PATH, OPENMETER):
        headers = {"content-type": BATCH, **case.headers}
        answer = await metering.client.post(path, content=case.body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (case.status, case.code)
        assert answer.headers["content-type"] == "application/problem+json"


async def test_two_headers_that_say_how_a_body_is_packed_are_one_too_many(metering: Metering) -> None:
    headers = [("content-type", BATCH), ("content-encoding", "gzip"), ("content-encoding", "gzip")]
    answer = await metering.client.post(PATH, content=gzip.compress(gzip.compress(b"[]")), headers=headers)
    assert answer.status_code == 415
    assert "several" in answer.json()["detail"]


async def test_openmeters_address_names_what_was_refused_and_keeps_the_rest(metering: Metering) -> None:
    await metering.define()
    await metering.send(flight("known", AT, 1))
    events = [
        flight("good", AT, 2),
        flight("known", AT, 9),
        flight("bad", AT, "many", subject=""),
        flight("known", AT, 1),
    ]
    answer = await metering.client.post(OPENMETER, json=events)
    assert answer.status_code == 400
    told = answer.json()
    assert (told["code"], told["facts"]) == ("events_refused", {"refused": 2})
    assert [error["pointer"] for error in told["errors"]] == ["/1", "/2"]
    assert "event known: another payload" in told["errors"][0]["detail"]
    assert "/data/minutes" in told["errors"][1]["detail"]
    assert "/subject" in told["errors"][1]["detail"]
    assert await metering.usage(subject="N1") == [("3", 2)]
    again = await metering.client.post(OPENMETER, json=[events[0], events[3]])
    assert again.status_code == 204


async def test_openmeters_address_needs_a_token_with_the_scope(metering: Metering) -> None:
    answer = await metering.client.post(OPENMETER, json=EVENT, headers={"authorization": ""})
    assert answer.status_code == 401
    assert await metering.count("usage_event") == 0
