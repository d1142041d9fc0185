"""A preview is taken, then the same is really done and the clock moved on: document by document they are the same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from libs.common.ids import new_id
from tests.journeys.lifecycle.journey import Do, Life, Thing

SETTLES = timedelta(days=2)
"""Longer than usage may come late, shorter than any period."""

PATHS = {
    "change": "changes",
    "cancellation": "cancellation",
    "pause": "pause",
    "resumption": "resumption",
    "activation": "activation",
}
_SAME = (
    "document_kind",
    "boundary_at",
    "customer_id",
    "currency",
    "subtotal",
    "discount",
    "net",
    "tax",
    "total",
    "credits_applied",
    "balance_applied",
)
_SAME_IN_LINES = (
    "description",
    "tier",
    "quantity",
    "unit_amount",
    "amount",
    "discount",
    "net",
    "service_period",
    "formula",
)
HEARD_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Before:
    """What happens before the preview: `do`, once the clock shows `at`."""

    at: str
    do: Do | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """`asks` is the body of the preview; `agrees`, instead, that of a new subscription. `totals` are of the documents
    that it makes, worked out by hand (a preview and an invoice may agree and both be wrong); None if nobody did."""

    name: str
    before: Sequence[Before]
    totals: Sequence[str] | None
    asks: Mapping[str, Any] | None = None
    agrees: Mapping[str, Any] | None = None
    show: str | None = None


async def compare(life: Life, situation: Situation) -> None:
    """Preview, do, and hold the documents against each other, all of them and no others."""
    for step in situation.before:
        await life.move_to(step.at)
        if step.do is not None:
            await step.do(life)
            await life.move_to(step.at)
    there = {one["id"] for one in await documents(life)}
    previewed = await preview(life, situation)
    await really_do(life, situation)
    await life.move_to(_later(previewed["until"]))
    made = [one for one in await documents(life) if one["id"] not in there or _goes_on(one, previewed)]
    expected = sorted(map(told, previewed["documents"]), key=_place)
    found = sorted(map(told, made), key=_place)
    assert found == expected, f"{situation.name}: previewed {expected}, made {found}"
    if situation.totals is None:
        return
    totals = [document["total"]["amount"] for document in expected if document["total"]["amount"] != "0.00"]
    assert totals == list(situation.totals), f"{situation.name}: {totals}"


async def preview(life: Life, situation: Situation) -> Thing:
    show = {"show": situation.show} if situation.show else {}
    if situation.agrees is not None:
        body = {"subscription": agreement(life, situation.agrees), **show}
        return await life.post("/v1/subscription-previews", body, expecting=(200,))
    path = f"/v1/subscriptions/{life.named['it']['id']}/previews"
    return await life.post(path, {**(situation.asks or {}), **show}, expecting=(200,))


async def refused_alike(life: Life, situation: Situation) -> bool:
    """Whether the preview is refused; then the thing itself is, for the same reason at the same place."""
    path, asks = f"/v1/subscriptions/{life.named['it']['id']}", situation.asks or {}
    previewed = await life.client.post(f"{path}/previews", json=dict(asks))
    if previewed.status_code == 200:
        return False
    assert previewed.status_code < 500, f"{situation.name}: {previewed.text}"
    if not asks:
        assert previewed.json()["code"] == "nothing_to_preview", previewed.text
        return True
    [asked] = asks
    headers = {"idempotency-key": new_id("key")}
    done = await life.client.post(f"{path}/{PATHS[asked]}", json=asks[asked], headers=headers)
    refusals = [(one.status_code, one.json()["code"]) for one in (previewed, done)]
    assert refusals[0] == refusals[1], f"{situation.name}: {previewed.text} {done.text}"
    inside = [error["pointer"].removeprefix(f"/{asked}") for error in previewed.json().get("errors", [])]
    assert inside == [error["pointer"] for error in done.json().get("errors", [])], situation.name
    return True


async def really_do(life: Life, situation: Situation) -> None:
    if situation.agrees is not None:
        life.named["it"] = await life.post("/v1/subscriptions", agreement(life, situation.agrees))
        return
    for name, path in PATHS.items():
        if situation.asks and name in situation.asks:
            await life.post(f"/v1/subscriptions/{life.named['it']['id']}/{path}", situation.asks[name])


def agreement(life: Life, agrees: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "customer_id": life.customer_id,
        "zone": life.zone,
        "test_clock_id": life.clock_id,
        **agrees,
    }


async def documents(life: Life) -> list[Thing]:
    """All of the customer's but those that came to nothing."""
    listed = await life.get("/v1/invoices", customer_id=life.customer_id, limit="200")
    return [await life.get(f"/v1/invoices/{one['id']}") for one in listed["data"]]


def told(document: Thing) -> dict[str, Any]:
    """What has to be the same. Of what was due, all may be paid."""
    paid = document.get("paid", document["due"]) if document["status"] == "paid" else document["due"]
    return {
        **{name: document[name] for name in _SAME},
        "asked_for": paid,
        "lines": [{name: line[name] for name in _SAME_IN_LINES} for line in document["lines"]],
    }


def _goes_on(document: Thing, previewed: Thing) -> bool:
    """A document that was a draft before is previewed as it will be."""
    return document["id"] in {one["id"] for one in previewed["documents"]}


def _place(document: Mapping[str, Any]) -> tuple[str, ...]:
    return document["boundary_at"], document["document_kind"], document["total"]["amount"]


def _later(instant: str) -> str:
    return (datetime.fromisoformat(instant) + SETTLES).isoformat()


def uses(name: str, *events: tuple[str, str]) -> Do:
    """Usage of `(time, value)` each, of a subject that counts for the subscription's metered item."""

    async def do(life: Life) -> None:
        subject = f"{life.customer_id}-{name}"
        binding = {
            "subject": subject,
            "meter": name,
            "subscription_id": life.named["it"]["id"],
            "bound_from": life.named["it"]["starts_at"],
        }
        bound = await life.post("/v1/subject-bindings", {"bindings": [binding]})
        assert bound["results"][0]["status"] in ("created", "unchanged"), bound
        batch = [
            {
                "specversion": "1.0",
                "id": new_id("evt"),
                "source": "https://used.example",
                "type": f"{name}.used",
                "subject": subject,
                "time": time,
                "data": {"value": value},
            }
            for time, value in events
        ]
        answer = await life.client.post(
            "/v1/usage-events", json=batch, headers={"content-type": "application/cloudevents-batch+json"}
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["stored"] == len(batch), answer.text

    return do


def gives(amount: str) -> Do:
    """The customer's balance is topped up."""

    async def do(life: Life) -> None:
        money = {"amount": amount, "currency": "EUR"}
        body = {"customer_id": life.customer_id, "amount": money, "reason": "A gift"}
        await life.post("/v1/customer-balances/adjustments", body)

    return do


async def is_taxed_and_favoured(life: Life) -> None:
    """From now on 21 % of tax are added, a tenth is taken off, and 50.00 are paid of what was given before."""
    sellers = (await life.get("/v1/sellers"))["data"]
    [taxing] = [seller["id"] for seller in sellers if seller["tax_number"] is not None]
    profile = f"/v1/billing-profiles/{life.customer_id}"
    answer = await life.client.put(profile, json={"seller_id": taxing}, headers={"if-match": "*"})
    assert answer.status_code == 200, answer.text
    coupon = {"coupon": "tenth", "customer_id": life.customer_id}
    await life.post("/v1/coupon-redemptions", coupon)
    wallet = {"customer_id": life.customer_id, "name": "Given", "currency": "EUR"}
    made = await life.post("/v1/wallets", wallet)
    await life.post(f"/v1/wallets/{made['id']}/grants", {"amount": "50.00", "reason": "A gift"})
    async with asyncio.timeout(HEARD_WITHIN_S), life.services.admin("billing") as billing:
        heard = "SELECT count(*) FROM coupon_redemption WHERE customer_id = $1"
        while not await billing.fetchval(heard, life.customer_id):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
