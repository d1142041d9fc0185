"""Usage that comes, is voided or is amended after its period was billed: what each plan wants done, and until when.

March 2025 in Amsterdam has a day of 23 hours, the 30th. On the way, capacities are billed of meters that take the mean
over time, and the peak.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from libs.common.ids import new_id
from tests.journeys.lifecycle.journey import ARRIVES_WITHIN_S, LOOK_EVERY_S, Life, Thing

pytestmark = pytest.mark.asyncio(loop_scope="package")

SOURCE = "https://laundry.example/machines"
MARCH = "2025-02-28T23:00:00Z"
POLICIES: dict[str, tuple[str, int]] = {
    "promptly": ("next_invoice", 0),
    "at-once": ("note_at_once", 1),
    "by-hand": ("draft_only", 35),
}
METERS: list[dict[str, Any]] = [
    {"code": "litres", "event_type": "wash.ended", "aggregation": "sum", "value": "/litres", "unit": "l"},
    {
        "code": "busiest",
        "event_type": "wash.ended",
        "aggregation": "peak",
        "value": "/litres",
        "peak_of": "15m",
    },
    {
        "code": "machines",
        "event_type": "machines.changed",
        "aggregation": "time_weighted",
        "value": "/more",
        "level": "change",
        "per": "window",
    },
]
PRICES: list[dict[str, Any]] = [
    {"code": "litres", "meter": "litres", "model": "per_unit", "unit_amount": "0.10"},
    {
        "code": "busiest",
        "meter": "busiest",
        "model": "capacity",
        "capacity_basis": "peak",
        "unit_amount": "3",
    },
    {
        "code": "machines",
        "meter": "machines",
        "model": "capacity",
        "capacity_basis": "time_weighted",
        "unit_amount": "100",
    },
]
NOT_HEARD_YET = {"catalog_meter_unknown", "plan_not_found", "plan_not_billable_yet"}
CATALOG: dict[str, Any] = {
    "perennial_catalog": 1,
    "products": [{"code": "laundry", "name": "Laundry", "kind": "service"}],
}


def a_plan(code: str) -> Thing:
    policy, days = POLICIES[code]
    return {
        "code": code,
        "name": code,
        "currency": "EUR",
        "interval": {"unit": "month"},
        "prices": [{"product": "laundry", "kind": "usage", **price} for price in PRICES],
        "late_usage": {"policy": policy, "window_days": days},
    }


def wash(id: str, at: str, litres: int, subject: str) -> Thing:
    return an_event(id, at, subject, "wash.ended", {"litres": litres})


def an_event(id: str, at: str, subject: str, type: str, data: Thing) -> Thing:
    about = {"specversion": "1.0", "id": f"{subject}-{id}", "source": SOURCE}
    return {**about, "type": type, "subject": subject, "time": at, "data": data}


async def sell(life: Life) -> None:
    """The catalog, and then subscriptions, hear of meters some time after they were defined."""
    for meter in METERS:
        await life.post("/v1/meters", meter)
    await until_accepted(
        life, "/v1/catalog-imports?dry_run=false", {**CATALOG, "plans": [a_plan(code) for code in POLICIES]}
    )


async def until_accepted(life: Life, path: str, body: Thing) -> Thing:
    give_up_at = time.monotonic() + ARRIVES_WITHIN_S
    while True:
        answer = await life.client.post(path, json=body, headers={"idempotency-key": new_id("key")})
        if answer.status_code < 300:
            told: Thing = answer.json()
            return told
        assert answer.json()["code"] in NOT_HEARD_YET, answer.text
        assert time.monotonic() < give_up_at, answer.text
        await asyncio.sleep(LOOK_EVERY_S)


async def subscribe(life: Life, plan: str) -> None:
    about = {"customer_id": life.customer_id, "test_clock_id": life.clock_id, "zone": life.zone}
    made = await until_accepted(life, "/v1/subscriptions", {**about, "plan": plan})
    life.named[plan] = made
    bindings = [
        {"subject": plan, "meter": meter["code"], "subscription_id": made["id"], "bound_from": MARCH}
        for meter in METERS
    ]
    bound = await life.post("/v1/subject-bindings", {"bindings": bindings})
    assert [result["status"] for result in bound["results"]] == ["created"] * len(METERS)


async def corrections(life: Life, plan: str) -> list[Thing]:
    """All that were said of the subscription's March."""
    found = await life.get("/v1/usage-window-corrections", subscription_id=life.named[plan]["id"])
    return [correction for correction in found["data"] if correction["period_index"] == 0]


def named(correction: Thing) -> list[tuple[str, str]]:
    return [(event["id"].rpartition("-")[2], event["cause"]) for event in correction["events"]]


def differences(correction: Thing) -> dict[str, str]:
    return {found["meter"]: found["quantity"] for found in correction["differences"]}


@pytest.mark.long
async def test_late_voided_and_amended_usage_is_put_right_as_the_plan_says_for_as_long_as_it_says(
    life: Life,
) -> None:
    clock = await life.post("/v1/test-clocks", {"name": "Spring", "starts_at": MARCH})
    life.clock_id = clock["id"]
    life.customer_id = (await life.post("/v1/customers", {"name": "Hotel", "country": "NL"}))["id"]
    await sell(life)
    for plan in POLICIES:
        await subscribe(life, plan)
        await life.post(
            "/v1/usage-events",
            [
                an_event("two", MARCH, plan, "machines.changed", {"more": 2}),
                an_event("third", "2025-03-16T11:00:00Z", plan, "machines.changed", {"more": 1}),
                wash("a", "2025-03-10T10:00:00Z", 5, plan),
                wash("b", "2025-03-10T10:10:00Z", 7, plan),
                wash("c", "2025-03-30T21:00:00Z", 8, plan),
                wash("april", "2025-03-31T22:00:00Z", 1000, plan),
            ],
        )
    await life.move_to("2025-04-01T12:00:00Z")

    # 743 hours: two machines for 372 of them and three for 371 are 2.49932705… of them, at 100 each; 20 litres at
    # 0.10; and 12 litres in the busiest quarter of an hour at 3.
    billed = await life.invoices()
    lines = [sorted(line["net"]["amount"] for line in invoice["lines"]) for invoice in billed]
    assert lines == [["2.00", "249.93", "36.00"]] * 3

    # On the day on which the period ended, all of it is billed, in the way that the plan says.
    for plan in POLICIES:
        await life.post("/v1/usage-events", [wash("late", "2025-03-31T21:59:59Z", 3, plan)])
        await life.move_to("2025-04-01T12:00:00Z")
        [late] = await corrections(life, plan)
        assert (late["policy"], late["is_billable"]) == (POLICIES[plan][0], True)
        assert (named(late), differences(late)) == ([("late", "late")], {"litres": "3", "busiest": "0"})
        assert (late["window_start"], late["window_end"]) == (MARCH, "2025-03-31T22:00:00Z")

    # On the next day, what is voided is billed by two of the plans.
    await life.move_to("2025-04-02T12:00:00Z")
    for plan in POLICIES:
        voids = [{"source": SOURCE, "id": f"{plan}-b", "reason": "the door was open"}]
        await life.post("/v1/usage-events/voids", {"voids": voids})
        await life.move_to("2025-04-02T12:00:00Z")
        voided = (await corrections(life, plan))[-1]
        assert (voided["revision"], voided["is_billable"]) == (2, POLICIES[plan][1] >= 1)
        assert named(voided) == [("b", "voided")]
        assert differences(voided) == {
            "litres": "-7",
            "busiest": "-4",
        }  # the busiest is now the 8 of the 30th

    # On the 35th day and after it, by the dates of Amsterdam: what is amended.
    for instant, minutes, revision, is_billable in (
        ("2025-05-06T21:59:59Z", 9, 3, True),
        ("2025-05-06T22:00:00Z", 6, 4, False),
    ):
        await life.move_to(instant)
        amended = {"event": wash("c", "2025-03-30T21:00:00Z", minutes, "by-hand"), "reason": "read again"}
        await life.post("/v1/usage-events/amendments", {"amendments": [amended]})
        await life.move_to(instant)
        told = (await corrections(life, "by-hand"))[-1]
        assert (told["revision"], told["is_billable"], named(told)) == (
            revision,
            is_billable,
            [("c", "amended")],
        )
    held_back = (await life.get("/v1/usage-window-corrections", is_billable="false"))["data"]
    assert [(c["policy"], c["revision"]) for c in held_back] == [("next_invoice", 2), ("draft_only", 4)]

    await check_documents(life, billed)


async def check_documents(life: Life, billed: list[Thing]) -> None:
    """What was issued stays as it is; what was put right stands where each plan wants it, with March's service period."""
    known = {invoice["id"] for invoice in billed}
    found = await life.invoices()
    assert [invoice for invoice in found if invoice["id"] in known] == billed
    later = [invoice for invoice in found if invoice["id"] not in known]

    def of(plan: str, kind: str) -> list[list[str]]:
        mine = [one for one in later if one["subscription_id"] == life.named[plan]["id"]]
        return [deltas(invoice) for invoice in mine if invoice["document_kind"] == kind]

    originals = {line["id"] for invoice in billed for line in invoice["lines"]}
    for invoice in later:
        for line in march(invoice):
            assert line["corrects_line_id"] in originals
    # 3 litres; then 7 litres, and 4 in the busiest quarter of an hour, are given back: by one plan no more.
    assert of("promptly", "invoice") == [["0.30"]]
    assert of("at-once", "correction") == [["-0.70", "-12.00"], ["0.30"]]
    [draft] = (await life.get("/v1/invoices", customer_id=life.customer_id, status="draft"))["data"]
    assert (draft["subscription_id"], draft["waits_for"]) == (life.named["by-hand"]["id"], ["person"])
    assert draft["net"]["amount"] == "-9.30"  # with the 9 litres of the last wash: 0.10 and 3.00
    done = await life.post(f"/v1/invoices/{draft['id']}/finalizations", {})
    assert (done["document_kind"], done["status"], done["total"]) == ("correction", "paid", draft["total"])


def march(invoice: Thing) -> list[Thing]:
    return [line for line in invoice["lines"] if line["service_period"]["start"] == "2025-03-01"]


def deltas(invoice: Thing) -> list[str]:
    return sorted(line["net"]["amount"] for line in march(invoice))
