"""Lives of subscriptions, row by row: the day, what is done, every event that follows and no other, and the money."""

from __future__ import annotations

from typing import Any

import pytest

from libs.common.ids import new_id
from tests.journeys.lifecycle.journey import (
    BEGAN,
    BILLED,
    RENEWED,
    Life,
    Row,
    all_of,
    asks,
    invoiced,
    live,
    pays,
    stands,
    subscribes,
)

pytestmark = pytest.mark.asyncio(loop_scope="package")


def _plan(code: str, amount: str, *, unit: str = "month", model: str = "flat", **more: Any) -> dict[str, Any]:
    return {
        "code": code,
        "name": code.capitalize(),
        "currency": "EUR",
        "interval": {"unit": unit},
        "prices": [
            {"code": "seats", "product": "thing", "kind": "recurring", "model": model, "unit_amount": amount}
        ],
        **more,
    }


CATALOG = {
    "perennial_catalog": 1,
    "products": [{"code": "thing", "name": "Thing", "kind": "service"}],
    "plans": [
        _plan("small", "30.00"),
        _plan("large", "90.00"),
        _plan("per-seat", "10.00", model="per_unit"),
        _plan("yearly", "365.00", unit="year"),
        _plan("tried", "30.00", trial={"interval": {"unit": "day", "count": 14}}),
    ],
}


@pytest.mark.long
async def test_trial_to_paid(life: Life) -> None:
    await live(
        life,
        "2026-03-01T08:00:00Z",
        [
            Row(
                "2026-03-01T09:00:00Z",
                subscribes("tried", trial={"reminder_days": [3]}),
                ["SubscriptionStarted"],
                stands("trialing"),
            ),
            Row("2026-03-11T22:30:00Z", None, []),
            Row("2026-03-12T00:00:00Z", None, ["SubscriptionTrialEnding"]),
            Row(
                "2026-03-15T00:00:00Z",
                None,
                RENEWED,
                all_of(stands("active", anchor_on="2026-03-15"), invoiced("30.00")),
            ),
            Row("2026-04-15T00:00:00Z", None, RENEWED, invoiced("30.00", "30.00")),
        ],
    )


async def test_a_trial_without_a_payment_method_ends_there(life: Life) -> None:
    trial = {"without_payment_method": "cancel", "reminder_days": []}
    await live(
        life,
        "2026-03-01T08:00:00Z",
        [
            Row("2026-03-01T09:00:00Z", subscribes("tried", trial=trial), ["SubscriptionStarted"]),
            Row(
                "2026-03-15T00:00:00Z",
                None,
                ["SubscriptionEnded"],
                stands("ended", end_reason="trial_without_payment_method"),
            ),
            Row("2026-06-01T00:00:00Z", None, []),
        ],
        behaviour=None,
    )


async def test_upgrade_in_mid_period(life: Life) -> None:
    """10 of 30 days are left: 10.00 of the old are given back, 30.00 of the new are owed, on the next invoice."""
    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row("2026-04-01T08:00:00Z", subscribes("small"), BEGAN, invoiced("30.00")),
            Row(
                "2026-04-21T08:00:00Z",
                asks("changes", {"when": "now", "plan": "large"}),
                ["SubscriptionChanged"],
            ),
            Row("2026-05-01T00:00:00Z", None, RENEWED, invoiced("30.00", "110.00")),
            Row("2026-06-01T00:00:00Z", None, RENEWED, invoiced("30.00", "110.00", "90.00")),
        ],
    )


@pytest.mark.long
async def test_upgrade_settled_at_once(life: Life) -> None:
    change = {"when": "now", "plan": "large", "settle": "at_once"}
    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row("2026-04-01T08:00:00Z", subscribes("small"), BEGAN),
            Row(
                "2026-04-21T08:00:00Z",
                asks("changes", change),
                ["SubscriptionChanged", *BILLED],
                invoiced("30.00", "20.00"),
            ),
            Row("2026-05-01T00:00:00Z", None, RENEWED, invoiced("30.00", "20.00", "90.00")),
        ],
    )


async def test_downgrade_at_the_end(life: Life) -> None:
    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row("2026-04-01T08:00:00Z", subscribes("large"), BEGAN),
            Row("2026-04-21T08:00:00Z", asks("changes", {"when": "period_end", "plan": "small"}), []),
            Row(
                "2026-05-01T00:00:00Z",
                None,
                RENEWED,
                all_of(stands("active", plan="small"), invoiced("90.00", "30.00")),
            ),
        ],
    )


@pytest.mark.long
async def test_pause_twice_in_an_annual_term(life: Life) -> None:
    """365.00 a year: ten days and then twenty are given back with the next year's invoice."""
    await live(
        life,
        "2025-12-31T23:00:00Z",
        [
            Row("2026-01-01T08:00:00Z", subscribes("yearly"), BEGAN, invoiced("365.00")),
            Row("2026-03-01T08:00:00Z", asks("pause", {}), ["SubscriptionPaused"], stands("paused")),
            Row("2026-03-11T08:00:00Z", asks("resumption", {}), ["SubscriptionResumed"], stands("active")),
            Row(
                "2026-05-01T08:00:00Z",
                asks("pause", {"on": "2026-06-01", "resumes_on": "2026-06-21"}),
                ["SubscriptionChanged"],
                stands("active"),
            ),
            Row("2026-06-02T00:00:00Z", None, ["SubscriptionPaused"], stands("paused")),
            Row("2026-06-21T00:00:00Z", None, ["SubscriptionResumed"], stands("active")),
            Row("2027-01-01T00:00:00Z", None, RENEWED, invoiced("365.00", "335.00")),
        ],
    )


async def test_pause_twice_refund_void_adjust_then_invoice(life: Life) -> None:
    """A year of 365.00 is refunded, the second one voided, 50.00 are given: the third bills both years, and is paid.

    Nothing of the pauses is given back as well: all of that year was.
    """

    async def refund(life: Life) -> None:
        (first,) = await life.invoices()
        wanted = {"invoice_id": first["id"], "reason": "Unhappy", "rest_to": "refund"}
        life.named["note"] = await life.post("/v1/credit-notes", wanted)

    async def refunded(life: Life) -> None:
        found = await life.get("/v1/refunds", credit_note_id=life.named["note"]["id"])
        assert [(one["state"], one["amount"]["amount"]) for one in found["data"]] == [("succeeded", "365.00")]

    async def void_and_adjust(life: Life) -> None:
        second = (await life.invoices())[-1]
        await life.post(f"/v1/invoices/{second['id']}/voids", {"reason": "In the wrong name"})
        fifty = {"amount": "50.00", "currency": "EUR"}
        given = {"customer_id": life.customer_id, "amount": fifty, "reason": "Sorry"}
        await life.post("/v1/customer-balances/adjustments", given)

    async def paid(life: Life) -> None:
        last = (await life.invoices())[-1]
        assert (last["status"], last["paid"]["amount"], last["balance_applied"]["amount"]) == (
            "paid",
            "680.00",
            "50.00",
        )

    failed = ["SubscriptionRenewed", "InvoiceFinalized", "PaymentFailed", "SubscriptionPastDue"]
    await live(
        life,
        "2025-12-31T23:00:00Z",
        [
            Row("2026-01-01T08:00:00Z", subscribes("yearly"), BEGAN, invoiced("365.00")),
            Row("2026-03-01T08:00:00Z", asks("pause", {}), ["SubscriptionPaused"]),
            Row("2026-03-11T08:00:00Z", asks("resumption", {}), ["SubscriptionResumed"]),
            Row("2026-06-01T08:00:00Z", asks("pause", {}), ["SubscriptionPaused"], stands("paused")),
            Row("2026-06-21T08:00:00Z", asks("resumption", {}), ["SubscriptionResumed"], stands("active")),
            Row(
                "2026-07-01T08:00:00Z",
                refund,
                ["CreditNoteIssued", "RefundRequested", "RefundSucceeded"],
                refunded,
            ),
            Row("2026-12-01T08:00:00Z", pays("always_fails"), []),
            Row("2027-01-01T00:00:00Z", None, failed, stands("past_due")),
            Row(
                "2027-01-01T12:00:00Z",
                void_and_adjust,
                ["InvoiceVoided", "SubscriptionRecovered"],
                stands("active"),
            ),
            Row("2027-06-01T08:00:00Z", pays("succeeds"), []),
            Row("2028-01-01T00:00:00Z", None, [*RENEWED, "CustomerBalanceChanged"], paid),
        ],
    )


@pytest.mark.long
async def test_month_end_anchors(life: Life) -> None:
    periods = []

    async def note(life: Life) -> None:
        periods.append((await life.subscription())["current_period"]["start_on"])

    await live(
        life,
        "2026-01-30T23:00:00Z",
        [
            Row("2026-01-31T08:00:00Z", subscribes("small"), BEGAN, note),
            Row("2026-02-28T12:00:00Z", None, RENEWED, note),
            Row("2026-03-31T12:00:00Z", None, RENEWED, note),
            Row("2026-04-30T12:00:00Z", None, RENEWED, note),
            Row("2026-05-31T12:00:00Z", None, RENEWED, note),
        ],
    )
    assert periods == ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]


async def test_failed_payment_to_suspension_and_back(life: Life) -> None:
    """Tried at once and after 1, 3, 5 and 7 days; the last failure suspends, a payment brings it back."""

    async def pay(life: Life) -> None:
        await pays("succeeds")(life)
        (open_one,) = [one for one in await life.invoices() if one["status"] == "finalized"]
        await life.post(f"/v1/invoices/{open_one['id']}/payment-attempts", {})

    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row(
                "2026-04-01T08:00:00Z",
                subscribes("small"),
                ["SubscriptionStarted", "InvoiceFinalized", "PaymentFailed", "SubscriptionPastDue"],
                stands("past_due"),
            ),
            Row("2026-04-02T08:00:00Z", None, ["PaymentFailed"]),
            Row("2026-04-05T08:00:00Z", None, ["PaymentFailed"]),
            Row("2026-04-10T08:00:00Z", None, ["PaymentFailed"], stands("past_due")),
            Row(
                "2026-04-17T08:00:00Z",
                None,
                ["PaymentFailed", "DunningStepTaken", "SubscriptionSuspended"],
                stands("suspended"),
            ),
            Row(
                "2026-04-20T08:00:00Z",
                pay,
                ["PaymentReceived", "InvoicePaid", "SubscriptionRecovered"],
                stands("active"),
            ),
        ],
        behaviour="always_fails",
    )


@pytest.mark.long
async def test_minimum_term_with_early_end(life: Life) -> None:
    """Twelve months, half of what remains: eight months and ten days of a thirty-day one are 250.00, so 125.00."""
    term = {
        "length": {"unit": "month", "count": 12},
        "early_termination": {"kind": "percentage", "percent": "50"},
    }

    async def refused(life: Life) -> None:
        path = f"/v1/subscriptions/{life.named['it']['id']}/cancellation"
        answer = await life.client.post(
            path, json={"at_period_end": False}, headers={"idempotency-key": new_id("key")}
        )
        assert answer.status_code == 409, answer.text

    await live(
        life,
        "2025-12-31T23:00:00Z",
        [
            Row("2026-01-01T08:00:00Z", subscribes("small", term=term), BEGAN, refused),
            Row("2026-02-01T00:00:00Z", None, RENEWED),
            Row("2026-03-01T00:00:00Z", None, RENEWED),
            Row("2026-04-01T00:00:00Z", None, RENEWED),
            Row("2026-04-21T08:00:00Z", asks("termination-quotes", {"on": "2026-04-21"}, quote="id"), []),
            Row(
                "2026-04-21T09:00:00Z",
                asks("cancellation", {"quote_id": "$quote"}),
                ["SubscriptionChanged", "SubscriptionEnded", *BILLED],
                all_of(stands("ended"), invoiced("30.00", "30.00", "30.00", "30.00", "125.00")),
            ),
        ],
    )


async def test_seats_up_and_down(life: Life) -> None:
    """5 seats; 3 more for 20 of 30 days, 20.00; 2 fewer from the next period on."""
    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row(
                "2026-04-01T08:00:00Z",
                subscribes("per-seat", quantities={"seats": "5"}),
                BEGAN,
                invoiced("50.00"),
            ),
            Row(
                "2026-04-11T08:00:00Z",
                asks("changes", {"when": "now", "quantities": {"seats": "8"}}),
                ["SubscriptionChanged"],
            ),
            Row(
                "2026-04-15T08:00:00Z",
                asks("changes", {"when": "period_end", "quantities": {"seats": "6"}}),
                [],
            ),
            Row("2026-05-01T00:00:00Z", None, RENEWED, invoiced("50.00", "80.00")),
        ],
    )


async def test_co_term(life: Life) -> None:
    """The second begins on the 11th and is billed for 20 of 30 days; from then on both renew together."""
    await live(
        life,
        "2026-03-31T22:00:00Z",
        [
            Row("2026-04-01T08:00:00Z", subscribes("small", "first"), BEGAN),
            Row("2026-04-11T08:00:00Z", subscribes("large", "second", co_term_with="$first"), BEGAN),
            Row(
                "2026-05-01T00:00:00Z",
                None,
                [*RENEWED, *RENEWED],
                invoiced("30.00", "60.00", "30.00", "90.00"),
            ),
        ],
    )
