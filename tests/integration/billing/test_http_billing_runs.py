"""Billing runs, their settings and spend thresholds over HTTP, with real tokens and a real database."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from libs.common.ids import new_id
from services.billing.domain.billing_profile import BillingProfile
from tests.integration.billing.test_billing_runs import work
from tests.integration.billing.workbench import LONG_AFTER, Workbench
from tests.support.billing import Story, a_customer
from tests.support.service_under_test import ServiceUnderTest

BOTH = ("billing:read", "billing:write")
UNTIL = "2026-01-01T00:00:00Z"
SETTINGS: dict[str, Any] = {"run_limit_multiple": "3", "requires_run": True, "gathering_hours": 12}


def once(key: str = "") -> dict[str, str]:
    return {"idempotency-key": key or new_id("key")}


def pointers(answer: httpx.Response) -> list[str]:
    return [error["pointer"] for error in answer.json()["errors"]]


async def test_a_run_is_asked_for_once_and_shows_how_far_it_is(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    async with billing.client(tenant, *BOTH) as client:
        unsaid = await client.get("/v1/billing-run-settings")
        said = await client.put("/v1/billing-run-settings", json=SETTINGS, headers={"if-match": '"0"'})
        stale = await client.put("/v1/billing-run-settings", json=SETTINGS, headers={"if-match": '"0"'})
        await bench.hear(Story(tenant, metered=False).started())
        dry = await client.post("/v1/billing-runs", json={"until": UNTIL, "dry_run": True}, headers=once())
        asked = await client.post("/v1/billing-runs", json={"until": UNTIL}, headers=once("1"))
        again = await client.post("/v1/billing-runs", json={"until": UNTIL}, headers=once("1"))
        await work(bench)
        shown = (await client.get(asked.headers["location"])).json()
        listed = (await client.get("/v1/billing-runs", params={"state": "finished"})).json()["data"]
        documents = (await client.get(asked.headers["location"] + "/documents")).json()["data"]
        finalized = await client.get(asked.headers["location"] + "/documents", params={"state": "failed"})
    assert (unsaid.json()["version"], unsaid.json()["gathering_hours"]) == (0, 24)
    assert said.json() == {**SETTINGS, "version": 1}
    assert (stale.status_code, asked.status_code, again.content) == (412, 202, asked.content)
    assert (asked.json()["state"], asked.json()["progress"]["found"]) == ("counting", 0)
    assert (shown["state"], shown["progress"]["finalized"], shown["progress"]["remaining"]) == (
        "finished",
        1,
        0,
    )
    assert shown["totals"] == [{"total": {"amount": "2400.00", "currency": "USD"}, "count": 1}]
    assert [run["id"] for run in listed] == [dry.json()["id"], shown["id"]]
    assert [(d["state"], d["line_count"]) for d in documents] == [("finalized", 1)]
    assert finalized.json()["data"] == []


async def test_a_person_decides_once_on_what_is_out_of_proportion(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    async with billing.client(tenant, *BOTH) as client:
        await client.put("/v1/billing-run-settings", json=SETTINGS, headers={"if-match": "*"})
        for count in (1, 4):
            await bench.hear(*(Story(tenant, metered=False).started() for _ in range(count)))
            path = (await client.post("/v1/billing-runs", json={"until": UNTIL}, headers=once())).headers[
                "location"
            ]
            await work(bench)
        stopped = (await client.get(path)).json()
        stale = await client.post(f"{path}/approvals", headers={**once(), "if-match": '"99"'})
        approved = await client.post(f"{path}/approvals", json={"reason": "as agreed"}, headers=once())
        late = await client.post(f"{path}/rejections", headers=once())
        await work(bench)
        done = (await client.get(path)).json()
    assert (stopped["state"], stopped["exceeded"][0]["multiple"]) == ("awaiting_approval", "3")
    assert (stale.status_code, approved.status_code, late.status_code) == (412, 200, 409)
    assert late.json()["code"] == "billing_run_not_awaiting_approval"
    assert (approved.json()["state"], done["state"], done["reason"]) == ("running", "finished", "as agreed")
    assert done["decided_by"].startswith("token:")


async def test_a_threshold_is_set_changed_and_lifted(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = Story(tenant)
    await bench.hear(story.started())
    path = f"/v1/spend-thresholds/{story.subscription_id}"
    amount = {"amount": "500.00", "currency": "USD"}
    async with billing.client(tenant, *BOTH) as client:
        unset = await client.get(path)
        unnamed = await client.put(path, json={"amount": amount})
        made = await client.put(path, json={"amount": amount}, headers={"if-match": unset.headers["etag"]})
        euros = {"amount": {"amount": "1.00", "currency": "EUR"}}
        other = await client.put(path, json=euros, headers={"if-match": "*"})
        nothing = {"amount": {"amount": "0.00", "currency": "USD"}}
        zero = await client.put(path, json=nothing, headers={"if-match": "*"})
        listed = await client.get("/v1/spend-thresholds", params={"customer_id": story.customer.customer_id})
        lifted = await client.put(path, json={"amount": None}, headers={"if-match": made.headers["etag"]})
        unknown = await client.get(f"/v1/spend-thresholds/{new_id('sub')}")
    assert (unset.json()["version"], unset.json()["amount"], unnamed.status_code) == (0, None, 428)
    assert (made.json()["amount"], made.json()["version"]) == (amount, 1)
    assert (other.status_code, other.json()["code"]) == (422, "spend_threshold_of_other_currency")
    assert (zero.status_code, pointers(zero)) == (422, ["/amount"])
    assert listed.json()["data"] == [made.json()]
    assert (lifted.json()["amount"], lifted.json()["version"]) == (None, 2)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "subscription_unknown")


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/v1/billing-run-settings", {"run_limit_multiple": "0"}, "/run_limit_multiple"),
        ("/v1/billing-run-settings", {"run_limit_multiple": 3}, "/run_limit_multiple"),
        ("/v1/billing-run-settings", {"gathering_hours": -1}, "/gathering_hours"),
        ("/v1/billing-run-settings", {"gathering_hours": 745}, "/gathering_hours"),
        ("/v1/billing-run-settings", {"requires_run": "yes"}, "/requires_run"),
        ("/v1/billing-runs", {"until": "tomorrow"}, "/until"),
        ("/v1/billing-runs", {"until": UNTIL, "dry_run": 1}, "/dry_run"),
        ("/v1/billing-runs", {}, "/until"),
    ],
)
async def test_a_wrong_field_is_pointed_at(
    billing: ServiceUnderTest, tenant: str, path: str, body: dict[str, Any], pointer: str
) -> None:
    method = "POST" if path.endswith("runs") else "PUT"
    async with billing.client(tenant, *BOTH) as client:
        answer = await client.request(method, path, json=body, headers={**once(), "if-match": "*"})
    assert (answer.status_code, pointers(answer)) == (422, [pointer])


async def test_a_gathered_invoice_is_found_by_each_of_its_subscriptions_and_explained_line_by_line(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    payer = a_customer()
    async with bench.open(tenant) as uow:
        uow.billing_profiles.add(BillingProfile(payer.customer_id, LONG_AFTER, gathers=True))
    told = [Story(tenant, payer=payer, metered=False) for _ in range(2)]
    await bench.hear(*(story.started() for story in told))
    await bench.run_job("finalize_invoices")
    async with billing.client(tenant, *BOTH) as client:
        for story in told:
            listed = await client.get("/v1/invoices", params={"subscription_id": story.subscription_id})
            (summary,) = listed.json()["data"]
            assert summary["subscription_ids"] == sorted(story.subscription_id for story in told)
        whole = (await client.get(f"/v1/invoices/{summary['id']}")).json()
        billed = {line["subscription_id"] for line in whole["lines"]}
        assert billed == {story.subscription_id for story in told}
        for line in whole["lines"]:
            path = f"/v1/invoices/{whole['id']}/lines/{line['id']}/explanation"
            assert (await client.get(path)).json()["line"]["id"] == line["id"]
        assert (await client.get(f"/v1/invoices/{whole['id']}/verification")).json()["agrees"] is True
        parts = await client.get("/v1/invoices", params={"status": "gathered"})
        attempts = await client.get(f"/v1/invoices/{whole['id']}/payment-attempts")
    assert {part["gathered_into"] for part in parts.json()["data"]} == {whole["id"]}
    assert [attempt["amount"] for attempt in attempts.json()["data"]] == [whole["due"]]
