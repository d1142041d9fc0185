"""Failures that others had with usage: each is a story on the real database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.common.contracts.metering import UsageCorrectedV1, UsageWindowClosedV1
from libs.common.contracts.subscriptions import BillingPeriodV1
from tests.integration.metering.harness import SOURCE, Metering, Story, codes, flight, statuses
from tests.integration.metering.test_balances import send_and_note, tell
from tests.integration.metering.test_windows import totals

AT = "2025-01-10T10:00:00Z"

_FAILING = """
    CREATE FUNCTION fails_for_a_test() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.tenant = '{tenant}' THEN RAISE EXCEPTION 'the disk is full' USING ERRCODE = 'disk_full'; END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER fails_for_a_test AFTER INSERT ON {table}
        DEFERRABLE {when} FOR EACH ROW EXECUTE FUNCTION fails_for_a_test()
"""


@asynccontextmanager
async def failing(metering: Metering, table: str, when: str) -> AsyncIterator[None]:
    """What this tenant writes there fails, at once or at COMMIT."""
    async with metering.admin() as admin:
        await admin.execute(_FAILING.format(tenant=metering.tenant, table=table, when=when))
        try:
            yield
        finally:
            await admin.execute("DROP FUNCTION fails_for_a_test CASCADE")


@pytest.mark.parametrize("table", ["usage_key", "usage_event", "usage_bucket"])
@pytest.mark.parametrize("when", ["INITIALLY IMMEDIATE", "INITIALLY DEFERRED"])
async def test_t1_a_write_that_fails_after_the_duplicate_check_is_tried_again_and_counted_once(
    metering: Metering, table: str, when: str
) -> None:
    await metering.define()
    async with failing(metering, table, when):
        answer = await metering.client.post("/v1/usage-events", json=[flight("a", AT, 5)])
        assert answer.status_code == 503, answer.text
        assert "retry-after" in answer.headers
    assert [await metering.count(each) for each in ("usage_key", "usage_event", "usage_bucket")] == [0, 0, 0]
    again = [statuses(await metering.send(flight("a", AT, 5))) for _ in range(2)]
    assert again == [["stored"], ["duplicate"]]
    assert await metering.usage(subject="N1") == [("5", 1)]


async def test_t2_an_event_of_sixty_days_back_is_kept_and_corrects_its_period(
    metering: Metering, story: Story
) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound(), *(story.renewed(n) for n in (1, 2, 3)))
    await metering.tick()
    told = await metering.send(flight("old", "2025-01-31T23:59:59.999999Z", 7))
    assert statuses(told) == ["stored"]
    await metering.tick()
    [corrected] = await metering.said(UsageCorrectedV1)
    assert (corrected["period_index"], totals(corrected)) == (0, [(story.item_id, "7", 1)])
    assert [(event["source"], event["event_id"]) for event in corrected["events"]] == [(SOURCE, "old")]


async def test_t4_the_same_id_at_another_time_is_one_event_and_a_conflict(
    metering: Metering, story: Story
) -> None:
    """Neither the period that the copy would fall into nor the one that is closed hears of it."""
    await metering.define()
    await metering.hear(story.started(), story.bound(), story.renewed(1))
    await metering.send(flight("a", AT, 5))
    await metering.tick()
    told = await metering.send(flight("a", "2025-02-10T10:00:00Z", 5), flight("a", AT, 5))
    assert statuses(told) == ["conflict", "duplicate"]
    await metering.tick()
    assert [totals(closed) for closed in await metering.said(UsageWindowClosedV1)] == [
        [(story.item_id, "5", 1)]
    ]
    assert await metering.said(UsageCorrectedV1) == []
    assert await metering.usage(subject="N1") == [("5", 1)]
    assert await metering.usage(subject="N1", **{"from": "2025-02-01T00:00:00Z"}) == [("0", 0)]
    [conflict] = (await metering.get("/v1/usage-conflicts"))["data"]
    assert (conflict["source"], conflict["event_id"]) == (SOURCE, "a")


async def test_t5_of_a_batch_with_known_ids_the_new_ones_are_stored_each_with_its_result(
    metering: Metering,
) -> None:
    await metering.define()
    await metering.send(flight("known", AT, 1), flight("other", AT, 2))
    told = await metering.send(
        flight("new", AT, 4),
        flight("known", AT, 1),
        flight("other", AT, 99),
        flight("unreadable", AT, "many"),
        flight("new", AT, 4),
        flight("last", AT, 8),
    )
    assert statuses(told) == ["stored", "duplicate", "conflict", "rejected", "duplicate", "stored"]
    assert codes(told["results"][3]) == [("value_not_a_number", "/data/minutes")]
    assert await metering.usage(subject="N1") == [("15", 4)]


class Abroad(Story):
    """A subscription whose periods begin where its zone says, which was changed within the first one."""

    def __init__(self, tenant: str, *bounds: str) -> None:
        super().__init__(tenant)
        self.bounds = [datetime.fromisoformat(bound).replace(tzinfo=UTC) for bound in bounds]

    def period(self, index: int, end: datetime | None = None) -> BillingPeriodV1:
        told = super().period(index)
        return told.model_copy(update={"start": self.bounds[index], "end": end or self.bounds[index + 1]})


# Midnights of the first of a month at UTC+13 and at UTC-11.
EAST, WEST = "2024-12-31T11:00", "2025-01-01T11:00"
FEBRUARY_EAST, FEBRUARY_WEST = "2025-01-31T11:00", "2025-02-01T11:00"
MARCH_EAST, MARCH_WEST = "2025-02-28T11:00", "2025-03-01T11:00"


@pytest.mark.parametrize(
    ("bounds", "zones"),
    [
        ((EAST, FEBRUARY_WEST, MARCH_WEST), ("Pacific/Tongatapu", "Pacific/Pago_Pago")),
        ((WEST, FEBRUARY_EAST, MARCH_EAST), ("Pacific/Pago_Pago", "Pacific/Tongatapu")),
    ],
    ids=["from_east_to_west", "from_west_to_east"],
)
async def test_t7_a_zone_changed_in_mid_period_counts_every_instant_once(
    metering: Metering, bounds: Sequence[str], zones: Sequence[str]
) -> None:
    story = Abroad(metering.tenant, *bounds, "2025-06-01")
    await metering.define(aggregation="count")
    await metering.hear(story.started(), story.bound("N1", "2024-01-01"), story.renewed(1), story.renewed(2))
    first, last = story.bounds[0], story.bounds[2]
    hours = [first + n * timedelta(hours=6) for n in range((last - first) // timedelta(hours=6))]
    edges = [bound + n * timedelta(microseconds=1) for bound in story.bounds[:3] for n in (-1, 0)]
    every = sorted({*hours, *edges})
    await metering.send(*(flight(at.isoformat(), at.isoformat()) for at in every))
    await metering.tick()
    counted = [totals(closed)[0][2] for closed in await metering.said(UsageWindowClosedV1)]
    expected = [
        sum(start <= at < end for at in every)
        for start, end in zip(story.bounds, story.bounds[1:3], strict=False)
    ]
    assert sorted(counted) == sorted(expected)
    for zone in zones:
        wanted = {"from": first.isoformat(), "to": last.isoformat(), "window": "day", "zone": zone}
        days = await metering.usage(item_id=story.item_id, **wanted)
        assert sum(count for _, count in days) == sum(expected)


KINDS: Sequence[dict[str, Any]] = (
    {"code": "greatest", "aggregation": "max"},
    {"code": "least", "aggregation": "min"},
    {"code": "last", "aggregation": "latest"},
    {"code": "different", "aggregation": "unique", "value": "/who"},
    {"code": "there", "aggregation": "unique", "value": "/who", "operation": "/did"},
    {"code": "mean", "aggregation": "average"},
)


async def test_t11_what_cannot_be_taken_back_from_a_sum_equals_the_raw_answer(metering: Metering) -> None:
    """The greatest, the last and the only one of a name are voided and amended; each answer is given twice: from whole
    buckets, and from raw events, since a range cuts every bucket that has any."""

    def used(id: str, minute: int, minutes: int, who: str, did: str = "add") -> dict[str, Any]:
        data = {"minutes": minutes, "who": who, "did": did}
        return flight(id, f"2025-01-10T10:{minute:02}:00Z", data=data)

    for kind in KINDS:
        await metering.define(**kind)
    await metering.send(
        used("1", 1, 5, "ann"),
        used("2", 2, 9, "bob"),
        used("3", 3, -4, "ann"),
        used("4", 4, 7, "cid"),
        used("5", 5, 3, "bob", "remove"),
    )
    assert await both_ways(metering) == ["9", "-4", "3", "3", "2", "4"]
    await correct(metering, "voids", *({"source": SOURCE, "id": id} for id in ("2", "5")))
    assert await both_ways(metering) == ["7", "-4", "7", "2", "2", "2.666666666667"]
    await correct(metering, "amendments", {"event": used("4", 0, 1, "ann", "remove")})
    assert await both_ways(metering) == ["5", "-4", "-4", "1", "1", "0.666666666667"]
    await correct(metering, "voids", *({"source": SOURCE, "id": id} for id in ("1", "3", "4")))
    assert await both_ways(metering) == ["0"] * 6


async def both_ways(metering: Metering) -> list[str]:
    """Of each meter, when the fast answer and the slow one are the same."""
    found = []
    for kind in KINDS:
        wide = {"from": "2025-01-10T00:00:00Z", "to": "2025-01-11T00:00:00Z"}
        cut = {"from": "2025-01-10T10:00:00Z", "to": "2025-01-10T10:14:59Z"}
        fast = await metering.usage(meter=kind["code"], subject="N1", **wide)
        slow = await metering.usage(meter=kind["code"], subject="N1", **cut)
        assert fast == slow, kind["code"]
        found.append(str(fast[0][0]))
    return found


async def test_t12_what_was_said_of_a_balance_is_said_again_after_a_change_of_the_past(
    metering: Metering, story: Story
) -> None:
    await metering.define()
    await metering.hear(story.started(), story.bound())
    await tell(metering)
    await send_and_note(metering, flight("a", AT, 5), flight("b", AT, 7), flight("c", AT, 1, "N2"))
    assert (await tell(metering))[-1] == (2, 0, "12")
    await correct(metering, "voids", {"source": SOURCE, "id": "a"})
    assert (await tell(metering))[-1] == (3, 0, "7")
    await correct(metering, "amendments", {"event": flight("b", "2025-01-02T00:00:00Z", 2)})
    assert (await tell(metering))[-1] == (4, 0, "2")
    await metering.hear(story.bound("N2", "2025-01-01"))
    assert (await tell(metering))[-1] == (5, 0, "3")


async def correct(metering: Metering, name: str, *entries: dict[str, Any]) -> None:
    body = {name: [{**entry, "reason": "it was otherwise"} for entry in entries]}
    answer = await metering.client.post(f"/v1/usage-events/{name}", json=body)
    assert answer.status_code == 200, answer.text
    assert {result["status"] for result in answer.json()["results"]} == {
        "voided" if name == "voids" else "amended"
    }
