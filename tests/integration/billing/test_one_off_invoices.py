"""Invoices without a subscription: made once, drafted or issued, and found again."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from libs.common.ids import new_id
from tests.integration.billing.workbench import Workbench
from tests.support.billing import Story
from tests.support.service_under_test import ServiceUnderTest

BOTH = ("billing:read", "billing:write")
LINES = [
    {"description": "Training", "quantity": "2", "unit_amount": "450.00"},
    {"description": "Discount agreed on", "quantity": "-1", "unit_amount": "100.005"},
]


def once() -> dict[str, str]:
    return {"idempotency-key": new_id("key")}


async def a_body(bench: Workbench, tenant: str, **changes: Any) -> dict[str, Any]:
    """For a customer that billing has heard of."""
    story = Story(tenant)
    await bench.know_customer(story)
    plain = {"customer_id": story.customer.customer_id, "currency": "EUR", "lines": LINES}
    return {**plain, **changes}


async def test_it_is_issued_at_once_and_only_once(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant, footer="Court of Delft")
    body = await a_body(bench, tenant, finalize=True, external_id="crm-1", zone="Asia/Tokyo", notes="Thanks.")
    async with billing.client(tenant, *BOTH) as client:
        key = once()
        answer = await client.post("/v1/invoices", json=body, headers=key)
        again = await client.post("/v1/invoices", json=body, headers=key)
        same_name = await client.post("/v1/invoices", json=body, headers=once())
        shown = await client.get(answer.headers["location"])
        (found,) = (await client.get("/v1/invoices", params={"external_id": "crm-1"})).json()["data"]
        postings = (await client.get("/v1/ledger-entries", params={"invoice_id": found["id"]})).json()["data"]
        line = shown.json()["lines"][0]
        explained = await client.get(line["explanation"])
    made = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (201, f'"{made["version"]}"')
    assert (made["number"], made["status"], made["document_kind"]) == ("INV-000001", "finalized", "one_off")
    assert (made["subscription_id"], made["subscription_ids"]) == (None, [])
    assert (made["total"]["amount"], made["due"]["amount"]) == ("799.99", "799.99")  # -100.005 is -100.01
    assert [x["net"]["amount"] for x in made["lines"]] == ["900.00", "-100.01"]
    assert (made["notes"], made["seller"]["footer"]) == ("Thanks.", "Court of Delft")
    in_tokyo = datetime.fromisoformat(made["issued_at"]).astimezone(ZoneInfo("Asia/Tokyo"))
    assert made["issued_on"] == str(in_tokyo.date())
    assert again.content == answer.content
    assert (same_name.status_code, same_name.json()["code"]) == (409, "invoice_external_id_taken")
    assert shown.json() == made
    assert found["id"] == made["id"]
    assert sum(int(p["amount"]["amount"].replace(".", "")) for p in postings) == 0
    assert postings
    assert explained.status_code == 200
    (attempt,) = await bench.attempts(tenant)
    assert attempt["invoice_id"] == made["id"]


async def test_a_draft_is_filled_and_issued_when_somebody_says_so(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant, draft_grace_hours=1)
    body = await a_body(bench, tenant, lines=[])
    async with billing.client(tenant, *BOTH) as client:
        draft = (await client.post("/v1/invoices", json=body, headers=once())).json()
        path = f"/v1/invoices/{draft['id']}"
        await bench.jobs()[0].run_once()
        waiting = (await client.get(path)).json()
        added = await client.post(f"{path}/manual-lines", json=LINES[0], headers=once())
        below = await client.post(f"{path}/manual-lines", json={**LINES[0], "quantity": "-3"}, headers=once())
        final = (await client.post(f"{path}/finalizations", headers=once())).json()
    assert (draft["status"], draft["waits_for"], draft["lines"]) == ("draft", ["person"], [])
    assert waiting == draft
    assert added.status_code == 201
    assert (below.status_code, below.json()["code"]) == (422, "one_off_below_zero")
    assert (final["status"], final["total"]["amount"]) == ("finalized", "900.00")


async def test_without_a_seller_it_waits_for_one(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    body = await a_body(bench, tenant, finalize=True)
    async with billing.client(tenant, *BOTH) as client:
        made = (await client.post("/v1/invoices", json=body, headers=once())).json()
        await bench.add_seller(tenant)
        await bench.jobs()[0].run_once()
        final = (await client.get(f"/v1/invoices/{made['id']}")).json()
    assert (made["status"], made["waits_for"]) == ("draft", ["seller"])
    assert (final["status"], final["number"]) == ("finalized", "INV-000001")


async def test_one_that_nobody_filled_becomes_none(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant, zero_invoices="issue")
    body = await a_body(bench, tenant, lines=[])
    async with billing.client(tenant, *BOTH) as client:
        draft = (await client.post("/v1/invoices", json=body, headers=once())).json()
        final = (await client.post(f"/v1/invoices/{draft['id']}/finalizations", headers=once())).json()
    assert (final["status"], final["number"]) == ("skipped", None)


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"lines": [], "finalize": True}, ""),
        ({"currency": "XXX"}, "/currency"),
        ({"zone": "Mars/Olympus"}, "/zone"),
        ({"lines": [{**LINES[0], "unit_amount": "-1"}]}, "/lines/0/unit_amount"),
        ({"payment_terms": {"days": 400}}, "/payment_terms/days"),
        ({"status": "paid"}, "/status"),
        ({"lines": LINES[1:]}, None),
        ({"lines": [LINES[0], {**LINES[0], "tax_category": "outside_scope"}]}, "/tax_category"),
    ],
)
async def test_a_wrong_field_is_pointed_at(
    billing: ServiceUnderTest, bench: Workbench, tenant: str, changes: dict[str, Any], pointer: str | None
) -> None:
    body = await a_body(bench, tenant, **changes)
    async with billing.client(tenant, *BOTH) as client:
        answer = await client.post("/v1/invoices", json=body, headers=once())
        assert (await client.get("/v1/invoices")).json()["data"] == []
    assert answer.status_code == 422
    if pointer is not None:
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
