"""Minimum terms, quotes, renewals and receipts over HTTP, with real tokens and a real database."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import httpx
import pytest

from libs.common.access.tenancy import APP
from libs.common.persistence.session import asyncpg_dsn
from services.subscriptions.adapters import rows
from services.subscriptions.application.catch_up import caught_up
from tests.integration.subscriptions.story import Story, instant, key, pointers
from tests.support.service_under_test import ServiceUnderTest

YEAR = {"unit": "year", "count": 1}
MONTH = {"unit": "month", "count": 1}
TERM = {
    "length": YEAR,
    "notice": MONTH,
    "on_end": "renew",
    "early_termination": {"kind": "percentage", "percent": "75"},
    "reminder_days": [30, 60],
}
NOON = "2026-01-15T12:00:00Z"


async def agreed(story: Story, client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """Two aircraft at 1,200 a month, from 15 January 2026, by a clock that shows noon of that day."""
    clock = await story.test_clock(client, NOON)
    given = {
        "starts_on": "2026-01-15",
        "zone": "UTC",
        "quantities": {"aircraft": "2"},
        "test_clock_id": clock["id"],
        "term": TERM,
        **body,
    }
    return await story.subscription(client, **given)


async def quoted(
    client: httpx.AsyncClient, subscription: dict[str, Any], on: str, **body: Any
) -> httpx.Response:
    path = f"/v1/subscriptions/{subscription['id']}/termination-quotes"
    return await client.post(path, json={"on": on, **body}, headers=key())


async def canceled(client: httpx.AsyncClient, subscription: dict[str, Any], **body: Any) -> httpx.Response:
    return await client.post(f"/v1/subscriptions/{subscription['id']}/cancellation", json=body)


async def move(story: Story, subscription: dict[str, Any], now: str) -> None:
    """The clock shows a later time, and what is due by then is done, at the later time."""
    await story.as_admin(
        "UPDATE test_clock SET now = :now WHERE id = :id",
        now=instant(now),
        id=subscription["test_clock_id"],
    )
    async with story.service.parts.worker_units.open(story.tenant, "test") as uow:
        await caught_up(subscription["id"], instant(now), uow=uow)


async def test_a_term_is_agreed_on_and_shown(story: Story) -> None:
    async with story.client() as client:
        made = await agreed(story, client)
        shown = (await client.get(f"/v1/subscriptions/{made['id']}")).json()
    assert shown["term"] == made["term"]
    assert (made["term"]["starts_on"], made["term"]["ends_on"]) == ("2026-01-15", "2027-01-15")
    assert made["term"]["reminder_days"] == [60, 30]
    assert made["term"]["early_termination"]["percent"] == "75"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"length": {"unit": "month", "count": 0}}, "/term/length/count"),
        ({"length": {"unit": "fortnight"}}, "/term/length/unit"),
        ({"length": {"unit": "year", "count": 200}}, "/term/length"),
        ({"on_end": "step_down"}, "/term"),
        ({"step_down_plan": {"plan": "power"}}, "/term"),
        ({"early_termination": {"kind": "percentage"}}, "/term/early_termination"),
        ({"early_termination": {"kind": "fixed", "amount": "-1"}}, "/term/early_termination/amount"),
        ({"early_termination": {"kind": "fixed", "amount": "1", "months": 2}}, "/term/early_termination"),
        (
            {
                "early_termination": {
                    "kind": "rerate",
                    "rates": [{"months_held": 6, "percent_more": "20"}],
                }
            },
            "/term/early_termination",
        ),
        ({"reminder_days": [30, 30]}, "/term/reminder_days"),
        ({"reminder_days": [0]}, "/term/reminder_days/0"),
        ({"on_end": "step_down", "step_down_plan": {"plan": "unknown"}}, "/term/step_down_plan/plan"),
    ],
)
async def test_a_wrong_term_is_pointed_at(story: Story, changes: dict[str, Any], pointer: str) -> None:
    async with story.client() as client:
        customer = await story.customer(client)
        body = {"customer_id": customer["id"], "plan": "power", "term": {**TERM, **changes}}
        answer = await client.post("/v1/subscriptions", json=body, headers=key())
    assert answer.status_code in (404, 422), answer.text
    assert pointer in [answer.json().get("pointer"), *_pointers(answer)]


def _pointers(answer: httpx.Response) -> list[str]:
    return pointers(answer) if "errors" in answer.json() else []


async def test_the_earliest_end_is_told_with_its_reason(story: Story) -> None:
    async with story.client() as client:
        made = await agreed(story, client)
        path = f"/v1/subscriptions/{made['id']}/earliest-end"
        today = (await client.get(path)).json()
        late = (await client.get(path, params={"on": "2026-12-16"})).json()
        wrong = await client.get(path, params={"on": "tomorrow"})
        far = (await client.get(path, params={"on": "2199-12-31"})).json()
    assert today["received_on"] == "2026-01-15"
    assert (today["ends_on"], today["ends_at"]) == ("2027-01-15", "2027-01-15T00:00:00Z")
    assert (today["bound_by"], today["notice_ends_on"]) == ("term", "2026-02-15")
    assert today["early_termination_possible"] is True
    assert (late["ends_on"], late["bound_by"]) == ("2028-01-15", "renewed_term")
    assert wrong.status_code == 422
    assert far["ends_on"] == "2201-01-15"


async def test_an_early_end_is_refused_quoted_and_bought(story: Story) -> None:
    async with story.client() as client:
        made = await agreed(story, client)
        refused = await canceled(client, made, at_period_end=True)
        unkeyed = await client.post(
            f"/v1/subscriptions/{made['id']}/termination-quotes", json={"on": "2026-08-15"}
        )
        answer = await quoted(client, made, "2026-08-15")
        quote = answer.json()
        again = await client.get(answer.headers["location"])
        accepted = await canceled(client, made, quote_id=quote["id"])
        await move(story, made, "2026-08-15T00:00:00Z")
        ended = (await client.get(f"/v1/subscriptions/{made['id']}")).json()
    assert (refused.status_code, refused.json()["code"]) == (409, "ends_before_term")
    assert refused.json()["facts"]["earliest_end_on"] == "2027-01-15"
    assert "termination-quotes" in refused.json()["remedy"]
    assert unkeyed.status_code == 400
    assert answer.status_code == 201, answer.text
    assert quote["amount"] == {"amount": "9000.00", "currency": "USD"}  # 75 % of 5 x 2,400
    assert quote["expires_at"] == "2026-01-29T12:00:00Z"
    assert quote["steps"][-1]["result"] == "9000.00 USD"
    assert again.json() == quote
    assert accepted.status_code == 200, accepted.text
    assert (accepted.json()["ends_at"], accepted.json()["term"]["quote_id"]) == (
        "2026-08-15T00:00:00Z",
        quote["id"],
    )
    assert ended["status"] == "ended"
    *_, told = [json.loads(bytes(row.data)) for row in await story.events(made["id"])]
    [fee] = told["fees"]
    assert (fee["fee_id"], fee["kind"], fee["amount"]) == (quote["id"], "early_termination", "9000.00")
    assert (fee["tax_category"], fee["service_start_on"]) == ("standard", "2026-08-15")


async def test_a_quote_expires_and_says_what_to_do(story: Story) -> None:
    async with story.client() as client:
        made = await agreed(story, client)
        quote = (await quoted(client, made, "2026-08-15", valid_days=1)).json()
        too_long = await quoted(client, made, "2026-08-15", valid_days=61)
        not_needed = await quoted(client, made, "2027-01-15")
        await move(story, made, "2026-01-16T12:00:00Z")
        expired = await canceled(client, made, quote_id=quote["id"])
        both = await canceled(client, made, quote_id=quote["id"], at_period_end=True)
    assert quote["expires_at"] == "2026-01-16T12:00:00Z"
    assert too_long.status_code == 422
    assert not_needed.json()["code"] == "termination_quote_not_needed"
    assert (expired.status_code, expired.json()["code"]) == (409, "termination_quote_expired")
    assert "new one" in expired.json()["remedy"]
    assert both.status_code == 422


async def test_the_seller_waives_the_term_with_a_reason(story: Story) -> None:
    async with story.client() as client:
        made = await agreed(story, client)
        silent = await canceled(client, made, at_period_end=True, waives_term=True)
        waived = await canceled(client, made, at_period_end=True, waives_term=True, reason="moved abroad")
    assert silent.status_code == 422
    assert waived.status_code == 200, waived.text
    assert (waived.json()["ends_at"], waived.json()["term"]["waiver"]) == (
        "2026-02-15T00:00:00Z",
        "moved abroad",
    )
    actions = [row["action"] for row in await story.rows(rows.shared.change_log)]
    assert "subscription.term_waived" in actions


async def test_a_new_term_follows_with_another_plan(story: Story) -> None:
    lower = story.plan.model_copy(
        update={
            "plan_id": f"{story.plan.plan_id}2",
            "plan_version_id": story.plan.plan_version_id[:-1] + "x",
            "code": "lower",
            "name": "Lower",
        }
    )
    await story.hear_of_plan(lower)
    async with story.client() as client:
        made = await agreed(story, client)
        path = f"/v1/subscriptions/{made['id']}/renewal"
        body = {"term": {"length": YEAR, "on_end": "end"}, "plan": "lower"}
        unkeyed = await client.post(path, json=body)
        renewed = await client.post(path, json=body, headers=key())
        for now in ("2026-11-16", "2026-12-16", "2027-01-15"):
            await move(story, made, f"{now}T00:00:00Z")
        after = (await client.get(f"/v1/subscriptions/{made['id']}")).json()
    assert unkeyed.status_code == 400
    assert renewed.status_code == 200, renewed.text
    assert renewed.json()["plan"] == "power"
    assert renewed.json()["term"]["following"]["ends_on"] == "2028-01-15"
    assert (after["plan"], after["term"]["starts_on"], after["term"]["renewals"]) == (
        "lower",
        "2027-01-15",
        1,
    )
    assert after["ends_at"] == "2028-01-15T00:00:00Z"
    assert (await story.types(made["id"])).count("subscription.renewal_upcoming") == 2


def a_declaration(subscription: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "subscription_id": subscription["id"],
        "declared_by": "Ada Lovelace, ada@example.com",
        "statement": "I hereby withdraw.",
        **changes,
    }


async def test_a_withdrawal_is_received_ends_it_and_can_be_read_by_its_customer(story: Story) -> None:
    async with story.client() as client:
        made = await agreed(story, client)
        other = await agreed(story, client)
    async with story.client(
        "subscriptions:read", "subscriptions:write", customer=made["customer_id"]
    ) as portal:
        once = key()
        answer = await portal.post("/v1/withdrawals", json=a_declaration(made), headers=once)
        again = await portal.post("/v1/withdrawals", json=a_declaration(made), headers=once)
        foreign = await portal.post("/v1/withdrawals", json=a_declaration(other), headers=key())
        shown = await portal.get(answer.headers["location"])
        text = await portal.get(f"{answer.headers['location']}/text")
        ended = (await portal.get(f"/v1/subscriptions/{made['id']}")).json()
        over = await portal.post("/v1/withdrawals", json=a_declaration(made), headers=key())
    async with story.client("subscriptions:read", customer=other["customer_id"]) as stranger:
        hidden = await stranger.get(answer.headers["location"])
        hidden_text = await stranger.get(f"{answer.headers['location']}/text")
    receipt = answer.json()
    assert answer.status_code == 201, answer.text
    assert again.json() == receipt
    assert shown.json() == receipt
    assert (receipt["received_at"], receipt["ends_at"]) == (NOON, NOON)
    assert text.headers["content-type"].startswith("text/plain")
    assert text.text == receipt["text"]
    assert "Ada Lovelace" in text.text
    assert (ended["status"], ended["end_reason"]) == ("ended", "withdrawn")
    assert foreign.status_code == 404
    assert (over.status_code, over.json()["code"]) == (409, "subscription_over")
    assert (hidden.status_code, hidden_text.status_code) == (404, 404)
    assert "subscription.receipt_issued" in await story.types(made["id"])


async def test_a_consumer_cancels_for_the_earliest_end(story: Story) -> None:
    async with story.client() as client:
        made = await agreed(story, client, external_id="crm-4711")
        body = a_declaration(made, external_id="crm-4711", statement="I cancel.")
        del body["subscription_id"]
        answer = await client.post("/v1/cancellations", json=body, headers=key())
        late = await client.post("/v1/cancellations", json={**body, "ends_on": "2027-02-01"}, headers=key())
        both = await client.post(
            "/v1/cancellations", json=a_declaration(made, external_id="crm-4711"), headers=key()
        )
        shown = (await client.get(f"/v1/subscriptions/{made['id']}")).json()
    assert answer.status_code == 201, answer.text
    assert answer.json()["ends_at"] == shown["ends_at"] == "2027-01-15T00:00:00Z"
    assert (late.status_code, late.json()["code"]) == (409, "ends_before_term")
    assert both.status_code == 422


async def test_the_days_for_a_withdrawal_are_over(story: Story) -> None:
    async with story.client() as client:
        made = await agreed(story, client, withdrawal_days=3)
        await move(story, made, "2026-01-19T00:00:00Z")
        late = await client.post("/v1/withdrawals", json=a_declaration(made), headers=key())
        never = await agreed(story, client, withdrawal_days=0)
        refused = await client.post("/v1/withdrawals", json=a_declaration(never), headers=key())
    assert (late.status_code, late.json()["code"]) == (409, "withdrawal_over")
    assert late.json()["facts"]["withdrawal_ended_on"] == "2026-01-19"
    assert refused.status_code == 409


@pytest.mark.parametrize("statement", ["UPDATE receipt SET text = ''", "DELETE FROM receipt"])
async def test_receipts_never_change(subscriptions: ServiceUnderTest, statement: str) -> None:
    worker = await asyncpg.connect(asyncpg_dsn(subscriptions.database.worker_dsn))
    try:
        await worker.execute(f"SET ROLE {APP}")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await worker.execute(statement)
    finally:
        await worker.close()
