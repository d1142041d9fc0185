"""Seals of windows: made once for each revision, of the very events behind the totals, and shown to be so."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from libs.common.contracts.metering import UsageWindowSealedV1
from libs.common.merkle import EMPTY_ROOT, is_included, leaf_hash, root_of
from services.metering.adapters.audit import audit_metering
from tests.integration.metering.harness import SOURCE, Metering, Story, flight
from tests.integration.metering.test_window_corrections import amend, closed_with, void


def leaf_of(event: dict[str, Any]) -> bytes:
    """As docs/proofs.md says it."""
    names = (
        "contribution",
        "group",
        "id",
        "key",
        "level",
        "member",
        "operation",
        "seconds",
        "source",
        "subject",
    )
    leaf = {name: event[name] for name in (*names, "time", "type", "value") if event[name] not in (None, {})}
    if event["days"] is not None:
        leaf["days"] = str(event["days"])
    return json.dumps(leaf, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


async def window_of(metering: Metering, story: Story) -> dict[str, Any]:
    found = await metering.get("/v1/usage-windows", subscription_id=story.subscription_id)
    window: dict[str, Any] = found["data"][0]
    return window


async def all_events(metering: Metering, window: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await metering.get(f"/v1/usage-windows/{window['id']}/events", limit=200, **query, **cursor)
        found += page["data"]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def sealed(metering: Metering, window: dict[str, Any], **query: Any) -> dict[str, Any]:
    return await metering.get(f"/v1/usage-windows/{window['id']}/digests", **query)


async def test_a_closed_window_is_sealed_over_its_events(metering: Metering, story: Story) -> None:
    flights = [flight(f"f{n:04}", f"2025-01-{1 + n % 28:02}T10:00:00Z", n) for n in range(1, 41)]
    await closed_with(metering, story, *flights)
    window = await window_of(metering, story)
    (digest,) = (found := await sealed(metering, window))["digests"]
    assert (found["seal"], found["revision"], found["is_current"]) == (1, 0, True)
    assert (digest["quantity"], digest["event_count"], digest["leaf_count"]) == ("820", 40, 40)
    events = await all_events(metering, window)
    hashes = [leaf_hash(leaf_of(event)) for event in events]
    assert [event["leaf_hash"] for event in events] == [hashed.hex() for hashed in hashes]
    assert digest["root"] == root_of(hashes).hex()
    (said,) = await metering.said(UsageWindowSealedV1)
    assert (said["window_id"], said["digests"][0]["root"]) == (window["id"], digest["root"])


async def test_one_event_is_shown_without_the_others(metering: Metering, story: Story) -> None:
    """Also where the tree has more leaves than one chunk of it."""
    flights = [flight(f"f{n:04}", f"2025-01-{1 + n % 28:02}T10:00:00Z", 1) for n in range(2_100)]
    for start in range(0, len(flights), 700):
        if start == 0:
            await metering.define()
            await metering.hear(story.started(), story.bound(), story.renewed(1))
        await metering.send(*flights[start : start + 700])
    await metering.tick()
    window = await window_of(metering, story)
    path = f"/v1/usage-windows/{window['id']}/inclusion-proofs"
    indexes = set()
    for id in ("f0000", "f0027", "f1111", "f2099"):
        proof = await metering.get(path, source=SOURCE, event_id=id)
        told = json.dumps(proof["leaf"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        assert proof["leaf"]["id"] == id
        assert sha256(b"\x00" + told).hexdigest() == proof["leaf_hash"]
        nodes = [bytes.fromhex(node) for node in proof["path"]]
        root = bytes.fromhex(proof["root"])
        assert is_included(leaf_hash(told), proof["index"], proof["leaf_count"], nodes, root)
        indexes.add(proof["index"])
    assert len(indexes) == 4
    refused = await metering.get(path, status=404, source=SOURCE, event_id="never-flown")
    assert refused["code"] == "event_not_behind_total"


async def test_a_correction_is_sealed_anew_and_the_first_seal_stays(metering: Metering, story: Story) -> None:
    await closed_with(
        metering, story, flight("a", "2025-01-03T10:00:00Z", 5), flight("b", "2025-01-04T10:00:00Z", 6)
    )
    window = await window_of(metering, story)
    first = await sealed(metering, window)
    await void(metering, "a")
    await metering.tick()
    second = await sealed(metering, window)
    assert (second["revision"], second["seal"], second["digests"][0]["quantity"]) == (1, 2, "6")
    assert (
        second["digests"][0]["root"]
        == root_of([leaf_hash(leaf_of(event)) for event in await all_events(metering, window)]).hex()
    )
    assert (await sealed(metering, window, revision=0))["digests"] == first["digests"]
    told = await metering.get(
        f"/v1/usage-windows/{window['id']}/inclusion-proofs", status=404, source=SOURCE, event_id="a"
    )
    assert told["code"] == "event_not_behind_total"


async def test_other_events_with_the_same_totals_are_sealed_too(metering: Metering, story: Story) -> None:
    """An amendment that moves an event within its window corrects nothing, and is behind the total nevertheless."""
    await closed_with(metering, story, flight("a", "2025-01-03T10:00:00Z", 5))
    window = await window_of(metering, story)
    first = await sealed(metering, window)
    await amend(metering, flight("a", "2025-01-05T10:00:00Z", 5))
    await metering.tick()
    second = await sealed(metering, window)
    assert (second["revision"], second["seal"]) == (0, 2)
    assert second["digests"][0]["root"] != first["digests"][0]["root"]
    proof = await metering.get(
        f"/v1/usage-windows/{window['id']}/inclusion-proofs", source=SOURCE, event_id="a"
    )
    assert (proof["leaf"]["time"], proof["path"]) == ("2025-01-05T10:00:00Z", [])


async def test_a_window_without_usage_has_the_root_of_no_leaves(metering: Metering, story: Story) -> None:
    await closed_with(metering, story, flight("elsewhere", "2025-01-03T10:00:00Z", 5, subject="N9"))
    (digest,) = (await sealed(metering, await window_of(metering, story)))["digests"]
    assert (digest["root"], digest["leaf_count"]) == (EMPTY_ROOT.hex(), 0)


async def test_sealing_again_says_nothing_new(metering: Metering, story: Story) -> None:
    await closed_with(metering, story, flight("a", "2025-01-03T10:00:00Z", 5))
    window = await window_of(metering, story)
    async with metering.admin() as admin:
        await admin.execute(
            "INSERT INTO usage_seal_note (id, tenant, window_id, due_at) "
            "SELECT 'useal_again' || id, tenant, id, window_end FROM usage_window WHERE id = $1",
            window["id"],
        )
    await metering.tick()
    assert (await sealed(metering, window))["seal"] == 1
    assert len(await metering.said(UsageWindowSealedV1)) == 1


async def test_late_usage_that_is_noted_is_counted_before_it_is_sealed(
    metering: Metering, story: Story
) -> None:
    await closed_with(metering, story, flight("a", "2025-01-03T10:00:00Z", 5))
    window = await window_of(metering, story)
    await metering.send(flight("late", "2025-01-06T10:00:00Z", 7))
    sealing = metering.jobs[-1]
    async with metering.admin() as admin:
        await admin.execute(
            "INSERT INTO usage_seal_note (id, tenant, window_id, due_at) "
            "SELECT 'useal_early' || id, tenant, id, window_end FROM usage_window WHERE id = $1",
            window["id"],
        )
    await sealing.run_once()
    assert (await sealed(metering, window))["seal"] == 1
    await metering.tick()
    found = await sealed(metering, window)
    assert (found["seal"], found["revision"], found["digests"][0]["quantity"]) == (2, 1, "12")


async def test_a_level_is_sealed_by_its_steps(metering: Metering) -> None:
    levels = Story(metering.tenant, meter="gigabytes")
    await metering.define("gigabytes", aggregation="time_weighted", level="absolute", per="day")
    await metering.hear(levels.started(), levels.bound(), levels.renewed(1))
    await metering.send(flight("a", "2025-01-02T00:00:00Z", 10), flight("b", "2025-01-12T00:00:00Z", 4))
    await metering.tick()
    window = await window_of(metering, levels)
    found = await sealed(metering, window)
    (digest,) = found["digests"]
    events = await all_events(metering, window)
    assert digest["root"] == root_of([leaf_hash(leaf_of(event)) for event in events]).hex()
    assert (digest["divisor"], digest["leaf_count"]) == ("86400000000", len(events))


async def test_the_audit_holds_seals_against_totals(metering: Metering, story: Story) -> None:
    await closed_with(metering, story, flight("a", "2025-01-03T10:00:00Z", 5))
    window = await window_of(metering, story)

    async def problems() -> list[str]:
        report = await audit_metering(metering.service.parts.audit_database)
        (check,) = [check for check in report.checks if check.name == "seals_match_totals"]
        return [problem for problem in check.problems if window["id"] in problem]

    assert await problems() == []
    async with metering.admin() as admin:
        await admin.execute("UPDATE usage_digest SET quantity = 6 WHERE window_id = $1", window["id"])
        assert len(await problems()) == 1
        await admin.execute("UPDATE usage_digest SET quantity = 5 WHERE window_id = $1", window["id"])


async def test_many_small_windows_take_a_few_statements(metering: Metering) -> None:
    """The events of all of them come through one cursor; one with more than fit together waits for the next turn."""
    await metering.define()
    stories = [Story(metering.tenant) for _ in range(40)]
    for number, story in enumerate(stories):
        await metering.hear(story.started(), story.bound(f"N{number}"), story.renewed(1))
    await metering.send(*(flight(f"e{n}", "2025-01-03T10:00:00Z", n, subject=f"N{n}") for n in range(40)))
    for job in metering.jobs[:-1]:
        for _ in range(4):
            await job.run_once()
    assert await metering.count("usage_seal_note") == 40
    assert await metering.jobs[-1].run_once() == 40
    assert (await metering.count("usage_digest"), await metering.count("usage_seal_note")) == (40, 0)
