"""Unpaid invoices through to reminders, suspension, the end, and back: row by row, with every event."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.journeys.lifecycle.journey import (
    ARRIVES_WITHIN_S,
    LOOK_EVERY_S,
    Do,
    Life,
    Row,
    all_of,
    asks,
    live,
    pays,
    stands,
    subscribes,
)

pytestmark = pytest.mark.asyncio(loop_scope="package")

STRICT = {"retry_days": [2], "reminder_days": [3, 10], "suspend_after_days": 14, "end_after_days": 30}
ISSUED = ["InvoiceFinalized", "PaymentFailed", "SubscriptionPastDue"]
UNPAID = ["SubscriptionStarted", *ISSUED]
SUSPENDED = ["DunningStepTaken", "SubscriptionSuspended"]
ENDED = ["DunningStepTaken", "SubscriptionChanged", "SubscriptionEnded"]
GIVEN_BACK = ["InvoiceFinalized", "InvoicePaid", "CustomerBalanceChanged"]  # for the time of the pause
"""The seller's terms are 14 days: issued on 1 March, due on the 15th, suspended on the 29th, ended on 14 April."""


def _plan(code: str, **more: Any) -> dict[str, Any]:
    price = {"code": "desk", "product": "desk", "kind": "recurring", "model": "flat", "unit_amount": "50.00"}
    return {
        "code": code,
        "name": code.capitalize(),
        "currency": "EUR",
        "interval": {"unit": "year"},
        "prices": [price],
        "publish": True,
        **more,
    }


CATALOG = {
    "perennial_catalog": 1,
    "products": [{"code": "desk", "name": "Desk", "kind": "service"}],
    "plans": [
        _plan("strict", dunning=STRICT),
        _plan(
            "tried",
            dunning={**STRICT, "writes_off": True},
            trial={"interval": {"unit": "day", "count": 60}, "amount": "5"},
        ),
        _plan("plain"),
    ],
}  # fmt: skip


async def test_another_customer_goes_through_dunning_to_suspension_and_back(life: Life) -> None:
    rows = [
        Row("2025-03-01T09:00:00Z", all_of(reads_mail, subscribes("strict")), UNPAID,
            all_of(stands("past_due"), tells("running"))),
        Row("2025-03-03T10:00:00Z", None, ["PaymentFailed"]),
        Row("2025-03-18T10:00:00Z", None, ["DunningStepTaken"], mailed("dunning_reminder")),
        Row("2025-03-25T10:00:00Z", None, ["DunningStepTaken"], mailed("dunning_final_reminder")),
        Row("2025-03-28T22:59:00Z", None, []),
        Row("2025-03-29T10:00:00Z", None, SUSPENDED, all_of(stands("suspended"), mailed("dunning_suspended"))),
        Row("2025-04-02T10:00:00Z", pays_at_last, RECOVERED, all_of(stands("active"), tells("settled"))),
        Row("2025-06-01T10:00:00Z", None, []),
    ]  # fmt: skip
    await sends_mails(life)
    await live(life, "2025-03-01T00:00:00Z", rows, behaviour="always_fails")


RECOVERED = ["PaymentReceived", "InvoicePaid", "SubscriptionRecovered"]


@pytest.mark.long
async def test_without_a_payment_method_it_reaches_its_end(life: Life) -> None:
    """Also one that is paused, and one within a trial that costs something: all on one customer."""
    rows = [
        Row("2025-03-01T09:00:00Z", subscribes("strict"), UNPAID),
        Row("2025-03-01T10:00:00Z", subscribes("strict", "paused"), UNPAID),
        Row("2025-03-01T11:00:00Z", subscribes("tried", "tried"), UNPAID, stands("past_due", "tried")),
        Row("2025-03-02T10:00:00Z", asks("pause", {}, "paused"), ["SubscriptionPaused"]),
        Row("2025-03-30T10:00:00Z", None, ["PaymentFailed", *["DunningStepTaken"] * 2, *SUSPENDED] * 3),
        Row("2025-04-15T10:00:00Z", None, [*ENDED * 3, "InvoiceMarkedUncollectible", *GIVEN_BACK],
            all_of(*map(ended, ["it", "paused", "tried"]))),
    ]  # fmt: skip
    await live(life, "2025-03-01T00:00:00Z", rows, behaviour=None)
    listed = await life.get("/v1/dunning", customer_id=life.customer_id)
    assert [one["state"] for one in listed["data"]] == ["exhausted", "exhausted", "settled"]


@pytest.mark.long
async def test_a_gathered_invoice_ends_each_agreement_by_its_own_plan(life: Life) -> None:
    rows = [
        Row("2025-03-01T09:00:00Z", all_of(gathers, subscribes("strict"), subscribes("plain", "plain")),
            ["SubscriptionStarted"] * 2 + ["InvoiceFinalized", "PaymentFailed"] + ["SubscriptionPastDue"] * 2),
        Row("2025-05-01T10:00:00Z", None,
            ["PaymentFailed", *["DunningStepTaken"] * 5, *["SubscriptionSuspended"] * 2, *ENDED[1:]],
            all_of(ended("it"), stands("suspended", "plain"))),
    ]  # fmt: skip
    await live(life, "2025-03-01T00:00:00Z", rows, behaviour=None)


async def gathers(life: Life) -> None:
    answer = await life.client.put(
        f"/v1/billing-profiles/{life.customer_id}",
        json={"gathers": True},
        headers={"if-match": "*"},
    )
    assert answer.status_code in (200, 201), answer.text


async def pays_at_last(life: Life) -> None:
    await pays("succeeds")(life)
    (invoice,) = await life.invoices()
    await life.post(f"/v1/invoices/{invoice['id']}/payment-attempts", {})


def ended(name: str) -> Do:
    return stands("ended", name, end_reason="not_paid")


def tells(state: str) -> Do:
    async def check(life: Life) -> None:
        (invoice,) = await life.invoices()
        assert (await life.get(f"/v1/invoices/{invoice['id']}/dunning"))["state"] == state

    return check


async def sends_mails(life: Life) -> None:
    (seller,) = (await life.get("/v1/sellers"))["data"]
    answer = await life.client.patch(
        f"/v1/sellers/{seller['id']}",
        json={"details": {"mail_from": "books@desks.example"}},
        headers={"if-match": "*"},
    )
    assert answer.status_code == 200, answer.text


async def reads_mail(life: Life) -> None:
    answer = await life.client.patch(
        f"/v1/customers/{life.customer_id}", json={"email": "desk@example.com"}, headers={"if-match": "*"}
    )
    assert answer.status_code == 200, answer.text


def mailed(kind: str) -> Do:
    """By now, a mail of the kind went out; mail is sent by the wall's time, a moment after what it tells of."""

    async def check(life: Life) -> None:
        give_up_at = time.monotonic() + ARRIVES_WITHIN_S
        while True:
            found = (await life.get("/v1/mails", customer_id=life.customer_id, kind=kind))["data"]
            if [mail["state"] for mail in found] == ["sent"]:
                return
            assert time.monotonic() < give_up_at, found
            await asyncio.sleep(LOOK_EVERY_S)

    return check
