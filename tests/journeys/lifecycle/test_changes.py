"""Changes of every kind, through to the documents that they cause: row by row, with every event and the money."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.journeys.lifecycle.journey import (
    ARRIVES_WITHIN_S,
    BEGAN,
    BILLED,
    LOOK_EVERY_S,
    RENEWED,
    Do,
    Life,
    Row,
    all_of,
    asks,
    invoiced,
    live,
    stands,
    subscribes,
)

pytestmark = pytest.mark.asyncio(loop_scope="package")


def _plan(code: str, amount: str, **more: Any) -> dict[str, Any]:
    price = {"code": "seats", "product": "thing", "kind": "recurring", "model": "per_unit"}
    prices = [{**price, "unit_amount": amount}, {**price, "unit_amount": amount, "currency": "USD"}]
    return {
        "code": code,
        "name": code.capitalize(),
        "currency": "EUR",
        "interval": {"unit": "month"},
        "prices": prices,
        "publish": True,
        **more,
    }


CATALOG = {
    "perennial_catalog": 1,
    "products": [{"code": "thing", "name": "Thing", "kind": "service"}],
    "plans": [
        _plan("small", "30.00"),
        _plan("large", "90.00"),
        _plan("extra", "6.00", kind="add_on", for_plans=["small"]),
    ],
}


def changed(when: Any, **wanted: Any) -> Do:
    return asks("changes", {"when": when, **wanted})


@pytest.mark.long
async def test_there_and_back_within_a_day_costs_nothing(life: Life) -> None:
    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row("2026-04-01T08:00:00Z", subscribes("small"), BEGAN),
            Row("2026-04-11T08:00:00Z", changed("now", plan="large"), ["SubscriptionChanged"]),
            Row("2026-04-11T10:00:00Z", changed("now", plan="small"), ["SubscriptionChanged"]),
            Row("2026-04-11T12:00:00Z", changed("now", plan="small"), []),
            Row("2026-05-01T00:00:00Z", None, RENEWED, invoiced("30.00", "30.00")),
        ],
    )


async def test_a_change_with_effect_in_the_period_before(life: Life) -> None:
    """Two more for 16 of the 31 days of March, 30.97, and for all of April, 60.00."""
    backdated = changed({"on": "2026-03-16"}, quantities={"seats": "3"}, settle="at_once")
    await live(
        life,
        "2026-02-28T23:00:00Z",
        [
            Row("2026-03-01T08:00:00Z", subscribes("small"), BEGAN),
            Row("2026-04-11T08:00:00Z", None, RENEWED),
            Row(
                "2026-04-12T08:00:00Z",
                backdated,
                ["SubscriptionChanged", *BILLED],
                invoiced("30.00", "30.00", "90.97"),
            ),
            Row("2026-05-01T00:00:00Z", None, RENEWED, invoiced("30.00", "30.00", "90.97", "90.00")),
        ],
    )


@pytest.mark.long
async def test_an_add_on_for_a_while_by_changes_that_wait(life: Life) -> None:
    """6.00 for 10 of 30 days is 2.00; it is altered to end with the period."""
    come = changed({"on": "2026-04-21"}, add=[{"plan": "extra"}])
    go = changed("period_end", remove=["extra"])
    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row("2026-04-01T08:00:00Z", subscribes("small"), BEGAN),
            Row("2026-04-02T08:00:00Z", come, []),
            Row("2026-04-03T08:00:00Z", go, []),
            Row("2026-04-21T08:00:00Z", None, ["SubscriptionChanged"]),
            Row("2026-05-01T00:00:00Z", None, RENEWED, invoiced("30.00", "32.00")),
            Row("2026-06-01T00:00:00Z", None, RENEWED, invoiced("30.00", "32.00", "30.00")),
        ],
    )


async def test_what_cannot_be_carried_out_any_more_stops_nothing(life: Life) -> None:
    async def retired(life: Life) -> None:
        [plan] = (await life.get("/v1/plans", code="large"))["data"]
        await life.post(f"/v1/plans/{plan['id']}/retirement", {})

    async def failed(life: Life) -> None:
        [change] = (await life.get(f"/v1/subscriptions/{life.named['it']['id']}/changes"))["data"]
        assert (change["status"], change["reason"]["code"]) == ("failed", "plan_retired")

    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row("2026-04-01T08:00:00Z", subscribes("small"), BEGAN),
            Row("2026-04-02T08:00:00Z", changed("period_end", plan="large"), []),
            Row("2026-04-03T08:00:00Z", retired, []),
            Row(
                "2026-05-01T00:00:00Z",
                None,
                RENEWED,
                all_of(stands("active", plan="small"), failed, invoiced("30.00", "30.00")),
            ),
        ],
    )


@pytest.mark.long
async def test_the_currency_changes_with_a_period(life: Life) -> None:
    async def in_dollars(life: Life) -> None:
        assert [one["total"]["currency"] for one in await life.invoices()] == ["EUR", "USD"]

    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row("2026-04-01T08:00:00Z", subscribes("small"), BEGAN),
            Row("2026-04-02T08:00:00Z", changed("period_end", currency="USD"), []),
            Row("2026-05-01T00:00:00Z", None, RENEWED, all_of(stands("active", currency="USD"), in_dollars)),
        ],
    )


async def test_the_zone_changes_in_mid_period(life: Life) -> None:
    """The dates stay; the period ends when the first of May begins in New York, six hours later."""
    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row("2026-04-01T08:00:00Z", subscribes("small"), BEGAN),
            Row("2026-04-11T08:00:00Z", changed("now", zone="America/New_York"), ["SubscriptionChanged"]),
            Row("2026-05-01T03:59:59Z", None, []),
            Row("2026-05-01T04:00:00Z", None, RENEWED, invoiced("30.00", "30.00")),
        ],
    )


@pytest.mark.long
async def test_another_anchor_cuts_the_period(life: Life) -> None:
    """20 of 30 days are given back, 20.00; a whole period from the 11th on is 30.00."""
    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row("2026-04-01T08:00:00Z", subscribes("small"), BEGAN),
            Row(
                "2026-04-11T08:00:00Z",
                changed("now", anchoring="restart"),
                RENEWED,
                invoiced("30.00", "10.00"),
            ),
            Row("2026-05-11T00:00:00Z", None, RENEWED, invoiced("30.00", "10.00", "30.00")),
        ],
    )


@pytest.mark.long
async def test_a_pause_with_a_fee(life: Life) -> None:
    """5.00 for the pause; on the next invoice, 10 of 30 days are given back."""
    fee = {"amount": {"amount": "5.00", "currency": "EUR"}, "description": "Storage"}
    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row("2026-04-01T08:00:00Z", subscribes("small"), BEGAN),
            Row("2026-04-11T08:00:00Z", asks("pause", {"fee": fee}), ["SubscriptionPaused"]),
            Row("2026-04-21T08:00:00Z", asks("resumption", {}), ["SubscriptionResumed"]),
            Row("2026-05-01T00:00:00Z", None, RENEWED, invoiced("30.00", "25.00")),
        ],
    )


@pytest.mark.long
async def test_it_begins_in_the_month_after_its_delivery(life: Life) -> None:
    ordered = subscribes("small", billing_starts="month_after_delivery")
    delivered = asks("activation", {"on": "2026-04-10", "reason": "delivery"})
    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row("2026-04-01T08:00:00Z", ordered, ["SubscriptionScheduled"], stands("awaiting_activation")),
            Row("2026-04-11T08:00:00Z", delivered, ["SubscriptionScheduled"], stands("scheduled")),
            Row("2026-05-01T00:00:00Z", None, BEGAN, invoiced("30.00")),
        ],
    )


async def test_what_ran_elsewhere_is_billed_from_where_that_ended(life: Life) -> None:
    """Since January, billed elsewhere until 16 April: 15 of 30 days."""
    taken_over = subscribes("small", starts_on="2026-01-01", billed_until="2026-04-16")
    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row(
                "2026-04-11T08:00:00Z",
                taken_over,
                ["SubscriptionStarted", *["SubscriptionRenewed"] * 3, *BILLED],
                invoiced("15.00"),
            ),
            Row("2026-05-01T00:00:00Z", None, RENEWED, invoiced("15.00", "30.00")),
        ],
    )


async def test_a_plan_is_moved_with_all_who_have_it(life: Life) -> None:
    async def moved(life: Life) -> None:
        versions = [
            (await life.get("/v1/plans", code=code))["data"][0]["plan_version_id"]
            for code in ("small", "large")
        ]
        body = {"from_plan_version_id": versions[0], "to_plan_version_id": versions[1], "when": "period_end"}
        move = await life.post("/v1/plan-moves", {**body, "dry_run": False})
        give_up_at = time.monotonic() + ARRIVES_WITHIN_S
        while move["status"] != "done":
            assert time.monotonic() < give_up_at, move
            await asyncio.sleep(LOOK_EVERY_S)
            move = await life.get(f"/v1/plan-moves/{move['id']}")
        assert move["counts"] == {"found": 2, "moved": 0, "scheduled": 2, "unchanged": 0, "refused": 0}

    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row("2026-04-01T08:00:00Z", subscribes("small", "one"), BEGAN),
            Row("2026-04-01T09:00:00Z", subscribes("small", "two"), BEGAN),
            Row("2026-04-11T08:00:00Z", moved, []),
            Row(
                "2026-05-01T00:00:00Z",
                None,
                [*RENEWED, *RENEWED],
                invoiced("30.00", "30.00", "90.00", "90.00"),
            ),
        ],
    )


async def test_a_customer_comes_back(life: Life) -> None:
    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row("2026-04-01T08:00:00Z", subscribes("small", quantities={"seats": "2"}), BEGAN),
            Row(
                "2026-04-11T08:00:00Z",
                asks("cancellation", {"at_period_end": True}),
                ["SubscriptionChanged"],
                stands("ending"),
            ),
            Row("2026-05-01T00:00:00Z", None, ["SubscriptionEnded"], stands("ended")),
            Row("2026-05-11T08:00:00Z", asks("win-back", {}, new="id"), BEGAN, invoiced("60.00", "60.00")),
            Row("2026-06-11T00:00:00Z", None, RENEWED, stands("active", "new")),
        ],
    )
