"""What is done about rejects: sent again, put right or as they were, or dismissed."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from libs.common.contracts.metering import UsageCorrectedV1
from tests.integration.metering.harness import Metering, Story, codes, flight, statuses

AT = "2025-01-10T10:00:00Z"


async def rejected(metering: Metering, event: dict[str, Any]) -> dict[str, Any]:
    assert statuses(await metering.send(event)) == ["rejected"]
    return dict((await metering.get("/v1/usage-rejects", state="open"))["data"][-1])


async def resubmit(metering: Metering, reject: dict[str, Any], event: Any = None, status: int = 200) -> Any:
    body: dict[str, Any] = {} if event is None else {"json": {"event": event}}
    answer = await metering.client.post(f"/v1/usage-rejects/{reject['id']}/resubmission", **body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def states(metering: Metering) -> list[tuple[str, str]]:
    return [(r["event_id"], r["state"]) for r in (await metering.get("/v1/usage-rejects"))["data"]]


async def test_a_reject_is_put_right_and_counted(metering: Metering) -> None:
    await metering.define()
    reject = await rejected(metering, flight("a", AT, "ten"))
    told = await resubmit(metering, reject, flight("a", AT, 10))
    assert told["result"]["status"] == "stored"
    assert told["reject"]["state"] == "resolved"
    resolution = told["reject"]["resolution"]
    assert (resolution["outcome"], resolution["reason"]) == ("stored", None)
    assert resolution["resolved_by"].startswith("token:")
    assert await metering.usage(subject="N1") == [("10", 1)]
    assert await states(metering) == [("a", "resolved")]
    assert (await metering.get("/v1/usage-rejects", state="open"))["data"] == []
    assert len((await metering.get("/v1/usage-rejects", state="resolved"))["data"]) == 1


async def test_what_is_still_wrong_stays_open_and_makes_no_further_reject(metering: Metering) -> None:
    await metering.define()
    reject = await rejected(metering, flight("a", AT, "ten"))
    told = await resubmit(metering, reject, flight("a", "2999-01-01T00:00:00Z", None))
    assert told["result"]["status"] == "rejected"
    assert codes(told["result"]) == [("time_in_future", "/time"), ("value_missing", "/data/minutes")]
    assert (told["reject"]["state"], told["reject"]["seen_count"]) == ("open", 1)
    malformed = await resubmit(metering, reject, {"id": "a"})
    assert ("source_missing", "/event/source") in codes(malformed["result"])
    assert await states(metering) == [("a", "open")]


async def test_a_reject_is_sent_again_as_it_was_and_happened_when_it_first_came(metering: Metering) -> None:
    """The source was reserved for a moment, so to say: what was refused is right by now."""
    await metering.define()
    event = flight("a", AT, "ten")
    del event["time"]
    reject = await rejected(metering, event)
    assert (await resubmit(metering, reject))["result"]["status"] == "rejected"
    async with metering.admin() as admin:
        await admin.execute(
            "UPDATE usage_reject SET payload = replace(payload, '\"ten\"', '10') WHERE tenant = $1",
            metering.tenant,
        )
    assert (await resubmit(metering, reject))["result"]["status"] == "stored"
    [stored] = (await metering.get("/v1/usage-events"))["data"]
    assert datetime.fromisoformat(stored["time"]) == datetime.fromisoformat(reject["first_seen_at"])


async def test_what_is_stored_by_now_resolves_the_reject_and_another_payload_does_not(
    metering: Metering,
) -> None:
    await metering.define()
    reject = await rejected(metering, flight("a", AT, "ten"))
    await metering.send(flight("a", AT, 10))
    assert (await resubmit(metering, reject, flight("a", AT, 11)))["result"]["status"] == "conflict"
    assert await states(metering) == [("a", "open")]
    told = await resubmit(metering, reject, flight("a", AT, 10))
    assert (told["result"]["status"], told["reject"]["resolution"]["outcome"]) == ("duplicate", "duplicate")
    assert await metering.usage(subject="N1") == [("10", 1)]


async def test_what_is_sent_again_by_its_key_is_answered_as_it_was(metering: Metering) -> None:
    """Whoever was not told the first answer cannot know that the reject is resolved."""
    await metering.define()
    reject = await rejected(metering, flight("a", AT, "ten"))
    path, body = f"/v1/usage-rejects/{reject['id']}/resubmission", {"event": flight("a", AT, 10)}
    answers = [
        await metering.client.post(path, json=body, headers={"idempotency-key": "put-right-a"})
        for _ in range(2)
    ]
    assert [answer.json()["result"]["status"] for answer in answers] == ["stored", "stored"]
    await resubmit(metering, reject, flight("a", AT, 10), status=409)
    assert await metering.usage(subject="N1") == [("10", 1)]


async def test_a_reject_is_dismissed_once_and_stays_listed(metering: Metering) -> None:
    await metering.define()
    reject = await rejected(metering, flight("a", AT, "ten"))
    path = f"/v1/usage-rejects/{reject['id']}/dismissal"
    answer = await metering.client.post(path, json={"reason": "a test of the engine"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["resolution"]["reason"] == "a test of the engine"
    again = await metering.client.post(path, json={"reason": "twice"})
    assert (again.status_code, again.json()["code"]) == (409, "usage_reject_resolved")
    await resubmit(metering, reject, flight("a", AT, 10), status=409)
    assert statuses(await metering.send(flight("a", AT, "ten"))) == ["rejected"]
    [listed] = (await metering.get("/v1/usage-rejects", state="dismissed"))["data"]
    assert listed["seen_count"] == 2


BODIES: list[tuple[str, bytes]] = [
    ("no_event", b"{}"),
    ("more", b'{"event":{},"more":1}'),
    ("a_list", b"[]"),
]


@pytest.mark.parametrize("body", [row[1] for row in BODIES], ids=[row[0] for row in BODIES])
async def test_a_body_without_an_event_is_refused(metering: Metering, body: bytes) -> None:
    await metering.define()
    reject = await rejected(metering, flight("a", AT, "ten"))
    path = f"/v1/usage-rejects/{reject['id']}/resubmission"
    answer = await metering.client.post(path, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "entries_malformed")


async def test_an_unknown_reject_and_one_that_is_not_kept_whole(metering: Metering) -> None:
    await metering.define()
    unknown = {"id": "urej_01jz3v6m1qk0c8n4r2d5s7t9wx"}
    await resubmit(metering, unknown, status=404)
    long = await rejected(metering, flight("a", AT, data={"minutes": "ten", "note": "x" * 20_000}))
    told = await resubmit(metering, long, status=422)
    assert told["code"] == "usage_reject_payload_cut"


async def test_numbers_of_what_is_sent_again_are_exact(metering: Metering) -> None:
    await metering.define()
    reject = await rejected(metering, flight("a", AT, None))
    number = "12345678901234567890.0000000000001"
    body = json.dumps({"event": flight("a", AT, "?")}).replace('"?"', number)
    answer = await metering.client.post(
        f"/v1/usage-rejects/{reject['id']}/resubmission",
        content=body,
        headers={"content-type": "application/json"},
    )
    assert answer.json()["result"]["status"] == "stored"
    assert await metering.usage(subject="N1") == [(number, 1)]


async def test_what_is_put_right_after_its_window_closed_corrects_it(
    metering: Metering, story: Story
) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound())
    reject = await rejected(metering, flight("a", AT, "ten"))
    await metering.hear(story.renewed(1))
    await metering.tick()
    await resubmit(metering, reject, flight("a", AT, 10))
    await metering.tick()
    [corrected] = await metering.said(UsageCorrectedV1)
    assert [t["quantity"] for t in corrected["totals"]] == ["10"]
