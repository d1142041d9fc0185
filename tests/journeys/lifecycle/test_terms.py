"""Lives that are bound for a time: renewed, stepped down, followed by another term, withdrawn from; row by row."""

from __future__ import annotations

from typing import Any

import pytest

from tests.journeys.lifecycle.journey import (
    BEGAN,
    RENEWED,
    SETTLED,
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

QUARTER = {"unit": "month", "count": 3}


def _price(code: str, amount: str, kind: str = "recurring", **more: Any) -> dict[str, Any]:
    return {"code": code, "product": "thing", "kind": kind, "model": "flat", "unit_amount": amount, **more}


def _plan(code: str, *prices: dict[str, Any], unit: str = "month") -> dict[str, Any]:
    return {
        "code": code,
        "name": code.capitalize(),
        "currency": "EUR",
        "interval": {"unit": unit},
        "prices": list(prices),
    }


CATALOG = {
    "perennial_catalog": 1,
    "products": [{"code": "thing", "name": "Thing", "kind": "service"}],
    "plans": [
        _plan("full", _price("fee", "90.00")),
        _plan("lower", _price("fee", "60.00")),
        _plan("weekly", _price("fee", "7.00"), _price("delivery", "20.00", "one_time"), unit="week"),
        _plan("delivered", _price("fee", "31.00", proration="none"), _price("delivery", "20.00", "one_time")),
    ],
}


def declares(path: str) -> Do:
    async def do(life: Life) -> None:
        body = {
            "subscription_id": life.named["it"]["id"],
            "declared_by": "Ada Lovelace",
            "statement": "I want out.",
        }
        life.named["receipt"] = await life.post(f"/v1/{path}", body)

    return do


async def test_a_term_renews_itself_after_its_reminder_and_is_left_with_notice(life: Life) -> None:
    term = {
        "length": QUARTER,
        "notice": {"unit": "month"},
        "on_end": "renew",
        "reminder_days": [14],
    }

    async def renewed(life: Life) -> None:
        shown = (await life.subscription())["term"]
        assert (shown["ends_on"], shown["renewals"]) == ("2026-07-01", 1)

    async def ends_with_its_term(life: Life) -> None:
        assert life.named["receipt"]["ends_at"] == "2026-06-30T22:00:00Z"

    await live(
        life,
        "2025-12-31T23:00:00Z",
        [
            Row("2026-01-01T08:00:00Z", subscribes("full", term=term), BEGAN),
            Row("2026-02-01T08:00:00Z", None, RENEWED),
            Row("2026-03-01T08:00:00Z", None, RENEWED),
            Row("2026-03-18T08:00:00Z", None, ["SubscriptionRenewalUpcoming"]),
            Row("2026-04-01T08:00:00Z", None, RENEWED, renewed),
            Row(
                "2026-05-20T08:00:00Z",
                declares("cancellations"),
                [*RENEWED, "SubscriptionChanged", "SubscriptionReceiptIssued"],
                all_of(stands("ending"), ends_with_its_term),
            ),
            Row("2026-06-01T08:00:00Z", None, RENEWED),
            Row("2026-07-01T08:00:00Z", None, ["SubscriptionEnded"], stands("ended")),
        ],
    )


@pytest.mark.long
async def test_it_steps_down_on_the_day_inside_of_a_period(life: Life) -> None:
    """Until 15 April at 90.00, then at 60.00: 16 of 30 days are 48.00 back and 32.00 more, with the next invoice."""
    term = {"length": QUARTER, "on_end": "step_down", "step_down_plan": {"plan": "lower"}}
    await live(
        life,
        "2026-01-14T23:00:00Z",
        [
            Row(
                "2026-01-15T08:00:00Z",
                subscribes("full", term=term, anchor_on="2026-01-01"),
                BEGAN,
                invoiced("49.35"),
            ),
            Row("2026-02-01T08:00:00Z", None, RENEWED),
            Row("2026-03-01T08:00:00Z", None, RENEWED),
            Row("2026-04-01T08:00:00Z", None, RENEWED),
            Row("2026-04-15T08:00:00Z", None, ["SubscriptionChanged"], stands("active", plan="lower")),
            Row(
                "2026-05-01T08:00:00Z",
                None,
                RENEWED,
                invoiced("49.35", "90.00", "90.00", "90.00", "44.00"),
            ),
        ],
    )


@pytest.mark.long
async def test_a_term_agreed_on_to_follow_begins_with_its_plan(life: Life) -> None:
    await live(
        life,
        "2025-12-31T23:00:00Z",
        [
            Row(
                "2026-01-01T08:00:00Z",
                subscribes("full", term={"length": {"unit": "month", "count": 2}, "on_end": "end"}),
                BEGAN,
            ),
            Row(
                "2026-01-10T08:00:00Z",
                asks("renewal", {"term": {"length": QUARTER, "on_end": "end"}, "plan": "lower"}),
                ["SubscriptionChanged"],
            ),
            Row("2026-02-01T08:00:00Z", None, RENEWED),
            Row("2026-03-01T08:00:00Z", None, RENEWED, invoiced("90.00", "90.00", "60.00")),
            Row("2026-04-01T08:00:00Z", None, RENEWED),
            Row("2026-05-01T08:00:00Z", None, RENEWED),
            Row("2026-06-01T08:00:00Z", None, ["SubscriptionEnded"], stands("ended", end_reason="term_end")),
        ],
    )


async def test_a_withdrawal_gives_back_all_but_the_days_used(life: Life) -> None:
    """Ten of 31 days of a fee that its price does not prorate stay charged: 21.00 and the delivery are given back."""

    async def given_back(life: Life) -> None:
        last = (await life.invoices())[-1]
        assert last["total"]["amount"] == "-41.00"
        assert sorted(line["net"]["amount"] for line in last["lines"]) == ["-20.00", "-21.00"]

    await live(
        life,
        "2025-12-31T23:00:00Z",
        [
            Row("2026-01-01T08:00:00Z", subscribes("delivered"), BEGAN, invoiced("51.00")),
            Row(
                "2026-01-11T08:00:00Z",
                declares("withdrawals"),
                ["SubscriptionEnded", "SubscriptionReceiptIssued", "CustomerBalanceChanged", *SETTLED],
                all_of(stands("ended", end_reason="withdrawn"), given_back),
            ),
        ],
    )


async def test_a_withdrawal_in_a_later_period_gives_back_what_was_charged_once_in_the_first(
    life: Life,
) -> None:
    """The first week stays charged and three days of the second: 4.00 and the delivery are given back."""

    async def given_back(life: Life) -> None:
        assert [one["total"]["amount"] for one in await life.invoices()] == ["27.00", "7.00", "-24.00"]

    await live(
        life,
        "2025-12-31T23:00:00Z",
        [
            Row("2026-01-01T08:00:00Z", subscribes("weekly"), BEGAN),
            Row("2026-01-08T08:00:00Z", None, RENEWED),
            Row(
                "2026-01-11T08:00:00Z",
                declares("withdrawals"),
                ["SubscriptionEnded", "SubscriptionReceiptIssued", "CustomerBalanceChanged", *SETTLED],
                given_back,
            ),
        ],
    )
