"""Versions of a meter, and how what was there before one is summed up."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.common.clock import SystemClock
from libs.common.contracts.metering import MeterDefinedV1, UsageCorrectedV1
from libs.common.stopping import Stopping
from services.metering.application import back_fill_meter as filling
from services.metering.entrypoints.back_filling import BackFilling
from tests.integration.metering.harness import (
    FLIGHT,
    Metering,
    Story,
    audited,
    flight,
    fresh,
    ids_of,
    utc,
)
from tests.support.small_service import eventually

EFFECTIVE = "2025-01-10T10:07:00Z"  # within a quarter hour, so that both versions have a part of it
WHOLE = {"subject": "N1"}


@pytest.fixture
def in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of events, they are filled in the background, about three in a slice."""
    monkeypatch.setattr(filling, "AT_ONCE_MAX", 0)
    monkeypatch.setattr(filling, "SLICE_EVENTS", 3)


def a_filler(metering: Metering) -> BackFilling:
    return BackFilling(metering.units, SystemClock(), service="metering", stopping=Stopping())


async def fill_all(metering: Metering) -> int:
    slices = 0
    while await a_filler(metering).run_once():
        slices += 1
    return slices


async def next_version(metering: Metering, meter_id: str, status: int = 201, **fields: Any) -> dict[str, Any]:
    body = {"event_type": FLIGHT, "aggregation": "sum", "value": "/minutes", **fields}
    answer = await metering.client.post(f"/v1/meters/{meter_id}/versions", json=body)
    assert answer.status_code == status, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_a_version_reads_what_happens_from_its_instant_on(metering: Metering) -> None:
    first = await metering.define()
    await metering.send(
        flight("a", "2025-01-10T10:01:00Z", 1, data={"minutes": 1, "seconds": 60}),
        flight("b", "2025-01-10T10:06:59.999999Z", 2, data={"minutes": 2, "seconds": 120}),
        flight("c", EFFECTIVE, 4, data={"minutes": 4, "seconds": 240}),
        flight("d", "2025-01-11T00:00:00Z", 8, data={"minutes": 8, "seconds": 480}),
    )
    second = await next_version(metering, first["id"], value="/seconds", effective_from=EFFECTIVE)
    assert (second["version"], second["code"], second["valid_from"]) == (2, "minutes", EFFECTIVE)
    assert second["back_fill"]["state"] == "done"
    assert await metering.usage(**WHOLE) == [("723", 4)]
    await metering.send(
        flight("e", "2025-01-10T10:02:00Z", data={"minutes": 16, "seconds": 1}),
        flight("f", "2025-01-10T10:12:00Z", data={"minutes": 1, "seconds": 1000}),
    )
    assert await metering.usage(**WHOLE) == [("1739", 6)]
    versions = (await metering.get(f"/v1/meters/{second['id']}/versions"))["data"]
    assert [(v["version"], v["valid_from"], v["valid_until"]) for v in versions] == [
        (1, None, EFFECTIVE),
        (2, EFFECTIVE, None),
    ]
    assert ids_of(await metering.get("/v1/meters", code="minutes")) == [second["id"]]
    told = await metering.said(MeterDefinedV1)
    assert [(e.get("version", 1), e["meter_id"]) for e in told] == [(1, first["id"]), (2, second["id"])]
    assert await audited(metering) == []


async def test_a_version_that_begins_now_changes_nothing_before(metering: Metering) -> None:
    first = await metering.define()
    now = datetime.now(UTC)
    await metering.send(
        flight("a", (now - timedelta(seconds=2)).isoformat(), data={"minutes": 5, "other": 1})
    )
    await next_version(metering, first["id"], value="/other")
    await asyncio.sleep(0.01)
    await metering.send(flight("b", datetime.now(UTC).isoformat(), data={"minutes": 5, "other": 1}))
    assert await metering.usage(**WHOLE) == [("6", 2)]


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"aggregation": "max"}, 422, "meter_version_differs"),
    ({"effective_from": "2025-01-10T10:07:00Z"}, 409, "meter_version_too_early"),
    ({"effective_from": "2025-01-01T00:00:00Z"}, 409, "meter_version_too_early"),
    ({"code": "other"}, 422, "invalid_body"),
    ({"value": None}, 422, "invalid_meter"),
]


async def test_what_cannot_follow_is_refused(metering: Metering) -> None:
    first = await metering.define()
    await next_version(metering, first["id"], effective_from=EFFECTIVE)
    for changes, status, code in REFUSED:
        assert (await next_version(metering, first["id"], status, **changes))["code"] == code, changes
    assert (await next_version(metering, "mtr_" + "0" * 26, 404))["code"] == "meter_not_found"
    body = {"event_type": FLIGHT, "aggregation": "sum", "value": "/minutes"}
    path = f"/v1/meters/{first['id']}/versions"
    stale = await metering.client.post(path, json=body, headers={"if-match": '"1"'})
    assert stale.status_code == 412
    headers = {"if-match": '"2"', "idempotency-key": fresh()}
    made = [await metering.client.post(path, json=body, headers=headers) for _ in range(2)]
    assert [answer.json()["version"] for answer in made] == [3, 3]
    levels = await metering.define("level", aggregation="time_weighted", per="day")
    refused = await next_version(metering, levels["id"], 422, aggregation="time_weighted", per="hour")
    assert refused["code"] == "meter_version_differs"


async def test_a_closed_window_is_counted_again_by_the_new_version(metering: Metering, story: Story) -> None:
    first = await metering.define()
    await metering.hear(story.started(), story.bound())
    await metering.send(flight("a", "2025-01-10T10:30:00Z", data={"minutes": 5, "other": 7}))
    await metering.hear(story.ended(0))
    await metering.tick()
    await next_version(metering, first["id"], value="/other", effective_from=EFFECTIVE)
    await metering.tick()
    [corrected] = await metering.said(UsageCorrectedV1)
    assert [t["quantity"] for t in (*corrected["before"], *corrected["totals"])] == ["5", "7"]


async def test_many_events_are_filled_in_slices_with_progress(
    metering: Metering, in_slices: None, story: Story
) -> None:
    events = [flight(str(n), f"2025-01-{n + 1:02}T10:00:00Z", n) for n in range(20)]
    await metering.send(*events)
    await metering.hear(story.started(), story.bound())
    made = await metering.define()
    assert (made["back_fill"]["state"], made["back_fill"]["percent"]) == ("waiting", "0")
    await metering.hear(story.ended(0))
    await metering.tick()
    assert await metering.said(UsageCorrectedV1) == []
    filler = a_filler(metering)
    assert await filler.run_once() == 1
    running = (await metering.get(f"/v1/meters/{made['id']}"))["back_fill"]
    assert (running["state"], running["event_count"]) == ("running", 3)
    assert running["filled_until"] == "2025-01-04T10:00:00Z"
    assert await metering.usage(to="2025-01-04T10:00:00Z", **WHOLE) == [("3", 3)]
    # What is stored meanwhile is counted once: before the slice, behind it, and within it.
    await metering.send(
        flight("before", "2025-01-02T10:01:00Z", 100), flight("behind", "2025-01-19T10:01:00Z", 1000)
    )
    assert await fill_all(metering) >= 6
    done = (await metering.get(f"/v1/meters/{made['id']}"))["back_fill"]
    assert (done["state"], done["percent"], done["event_count"]) == ("done", "100", 21)
    assert await metering.usage(**WHOLE) == [("1290", 22)]
    await metering.tick()
    windows = (await metering.get("/v1/usage-windows", subscription_id=story.subscription_id))["data"]
    assert [(w["state"], w["totals"][0]["quantity"]) for w in windows] == [("closed", "1290")]
    assert await audited(metering) == []


async def test_events_of_other_types_do_not_make_slices_shorter(metering: Metering, in_slices: None) -> None:
    others = [
        {**flight(f"o{n}", f"2025-01-{n + 1:02}T09:00:00Z", n), "type": "flight.delayed"} for n in range(12)
    ]
    await metering.send(*others, *(flight(str(n), f"2025-01-{n + 9:02}T10:00:00Z", 1) for n in range(4)))
    await metering.define()
    filler = a_filler(metering)
    assert await filler.run_once() == 1
    assert await metering.usage(to="2025-01-12T10:00:00Z", **WHOLE) == [("3", 3)]
    assert await filler.run_once() == 1
    assert await filler.run_once() == 0
    assert await metering.usage(**WHOLE) == [("4", 4)]


async def test_several_fillers_and_writers_at_once_count_everything_once(
    metering: Metering, in_slices: None
) -> None:
    await metering.send(*(flight(str(n), f"2025-01-{n % 28 + 1:02}T10:00:00Z", 1) for n in range(60)))
    await metering.define(aggregation="time_weighted")
    await metering.define("flights", aggregation="count")
    await metering.define("different", aggregation="unique")
    await metering.define("worked-out", value=None, value_expression='event("/minutes") * 2')

    async def fill() -> None:
        for _ in range(40):
            await a_filler(metering).run_once()

    async def write() -> None:
        for n in range(20):
            await metering.send(flight(f"w{n}", f"2025-01-{n + 1:02}T10:05:00Z", 1))

    await asyncio.gather(fill(), fill(), write(), write())
    await fill_all(metering)
    assert await metering.usage(meter="flights", **WHOLE) == [("80", 80)]
    assert await metering.usage(meter="worked-out", **WHOLE) == [("160", 80)]
    assert await audited(metering) == []


async def test_a_version_of_the_past_is_filled_in_slices_too(metering: Metering, in_slices: None) -> None:
    first = await metering.define()
    await metering.send(
        *(
            flight(str(n), f"2025-01-{n + 1:02}T10:0{n % 10}:00Z", data={"minutes": 1, "other": 10})
            for n in range(20)
        )
    )
    await next_version(metering, first["id"], value="/other", effective_from=EFFECTIVE)
    await fill_all(metering)
    # The tenth is at 10:09 and after it all are read by the new version.
    assert await metering.usage(**WHOLE) == [("119", 20)]
    assert await audited(metering) == []


async def test_two_versions_that_are_filled_one_after_the_other(metering: Metering, in_slices: None) -> None:
    first = await metering.define()
    await metering.send(
        *(
            flight(str(n), f"2025-01-{n + 1:02}T10:00:00Z", data={"minutes": 1, "a": 10, "b": 100})
            for n in range(12)
        )
    )
    await next_version(metering, first["id"], value="/a", effective_from="2025-01-04T00:00:00Z")
    await a_filler(metering).run_once()
    await next_version(metering, first["id"], value="/b", effective_from="2025-01-08T00:00:00Z")
    await fill_all(metering)
    assert await metering.usage(**WHOLE) == [("543", 12)]
    assert await audited(metering) == []


async def test_without_events_a_meter_is_complete_at_once(metering: Metering) -> None:
    made = await metering.define()
    assert (made["back_fill"]["state"], made["back_fill"]["events_total_estimate"]) == ("done", 0)
    assert utc("2025-01-01") < datetime.fromisoformat(made["back_fill"]["done_at"])


FILLER = """
import asyncio, sys
from libs.common.clock import SystemClock
from libs.common.persistence.session import Database
from libs.common.persistence.unit_of_work import UnitsOfWork
from libs.common.stopping import Stopping
from services.metering.adapters.unit_of_work import MeteringUnitOfWork
from services.metering.application import back_fill_meter
from services.metering.entrypoints.back_filling import BackFilling

async def fill():
    back_fill_meter.SLICE_EVENTS = 2
    units = UnitsOfWork(Database(sys.argv[1], pool_size=1), MeteringUnitOfWork)
    filler = BackFilling(units, SystemClock(), service="metering", stopping=Stopping())
    while await filler.run_once():
        print("slice", flush=True)

asyncio.run(fill())
"""


async def filled(metering: Metering) -> bool:
    await fill_all(metering)
    [meter] = (await metering.get("/v1/meters"))["data"]
    return bool(meter["back_fill"]["state"] == "done")


async def test_a_filler_that_is_killed_is_followed_by_one_that_goes_on(
    metering: Metering, in_slices: None
) -> None:
    await metering.send(
        *(flight(str(n), f"2025-{n // 28 + 1:02}-{n % 28 + 1:02}T10:00:00Z", 1) for n in range(280))
    )
    made = await metering.define()
    filler = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        FILLER,
        metering.service.parts.worker_database.dsn,
        stdout=asyncio.subprocess.PIPE,
    )
    assert filler.stdout is not None
    for _ in range(5):
        assert await asyncio.wait_for(filler.stdout.readline(), 60) == b"slice\n"
    filler.kill()  # within the sixth, or a later one
    await filler.wait()
    half = (await metering.get(f"/v1/meters/{made['id']}"))["back_fill"]
    assert half["state"] == "running"
    assert 10 <= half["event_count"] < 280
    await eventually(lambda: filled(metering), True)  # it takes a moment until the dead one's row is free
    done = (await metering.get(f"/v1/meters/{made['id']}"))["back_fill"]
    assert (done["state"], done["event_count"]) == ("done", 280)
    assert await metering.usage(**WHOLE) == [("280", 280)]
    assert await audited(metering) == []
