"""Drafts: their grace, what people put on them, and what happens when somebody edits what another finalizes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from libs.common.ids import new_id
from tests.integration.billing.workbench import Workbench, after
from tests.support.billing import Story, a_customer
from tests.support.service_under_test import ServiceUnderTest

BOTH = ("billing:read", "billing:write")
DELIVERY: dict[str, Any] = {"description": "Delivery", "unit_amount": "120.00"}


def once() -> dict[str, str]:
    return {"idempotency-key": new_id("key")}


def naming(invoice: dict[str, Any]) -> dict[str, str]:
    return {"if-match": f'"{invoice["version"]}"'}


async def a_graced_draft(bench: Workbench, tenant: str, **story: Any) -> Story:
    """One that is complete, and waits a day for somebody's look at it."""
    await bench.add_seller(tenant, draft_grace_hours=24)
    told = Story(tenant, metered=False, **story)
    await bench.hear(told.started())
    return told


async def the_invoice(client: httpx.AsyncClient) -> dict[str, Any]:
    (listed,) = (await client.get("/v1/invoices")).json()["data"]
    shown: dict[str, Any] = (await client.get(f"/v1/invoices/{listed['id']}")).json()
    return shown


async def test_a_draft_waits_for_its_grace_and_is_then_finalized(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = await a_graced_draft(bench, tenant)
    async with billing.client(tenant, *BOTH) as client:
        draft = await the_invoice(client)
    assert (draft["status"], draft["waits_for"], draft["total"]["amount"]) == ("draft", ["grace"], "2400.00")
    assert draft["draft_until"] == "2025-01-02T05:00:00Z"
    (row,) = await bench.invoices(tenant)
    assert row["due_at"] == story.boundary(0) + timedelta(hours=24)

    await bench.jobs(clock=after(story.boundary(0), hours=23, minutes=59))[0].run_once()
    assert (await bench.invoices(tenant))[0]["status"] == "draft"
    await bench.jobs(clock=after(story.boundary(0), hours=24))[0].run_once()
    (final,) = await bench.invoices(tenant)
    assert (final["status"], final["number"]) == ("finalized", "INV-000001")
    assert (final["issued_at"], final["due_at"]) == (row["due_at"], None)


async def test_the_grace_of_a_test_clock_is_its_own(bench: Workbench, tenant: str) -> None:
    story = await a_graced_draft(bench, tenant, clock=new_id("clk"))
    await bench.hear(story.clock_moved(story.boundary(0) + timedelta(hours=23)))
    await bench.jobs()[0].run_once()
    assert (await bench.invoices(tenant))[0]["status"] == "draft"
    now = story.boundary(0) + timedelta(hours=24)
    await bench.hear(story.clock_moved(now, version=2))
    await bench.jobs()[0].run_once()
    (final,) = await bench.invoices(tenant)
    assert (final["status"], final["issued_at"]) == ("finalized", now)


async def test_usage_that_comes_after_the_grace_finalizes_at_once(bench: Workbench, tenant: str) -> None:
    await bench.add_seller(tenant, draft_grace_hours=1)
    story = Story(tenant, quantity=None)
    await bench.hear(story.started(), story.renewed(1))
    await bench.hear(story.window_closed(0, "10").model_copy(update={"occurred_at": story.boundary(1)}))
    assert [row["status"] for row in await bench.invoices(tenant)] == ["draft", "draft"]
    other = Story(tenant, quantity=None)
    await bench.hear(other.started(), other.renewed(1), other.window_closed(0, "10"))
    late = [row for row in await bench.invoices(tenant) if row["subscription_id"] == other.subscription_id]
    assert [row["status"] for row in late] == ["draft", "finalized"]


@pytest.mark.parametrize(("hours", "status"), [(0, "finalized"), (48, "draft"), (None, "draft")])
async def test_a_customers_own_grace_goes_before_the_sellers(
    billing: ServiceUnderTest, bench: Workbench, tenant: str, hours: int | None, status: str
) -> None:
    await bench.add_seller(tenant, draft_grace_hours=24)
    story = Story(tenant, metered=False)
    await bench.know_customer(story)
    profile = f"/v1/billing-profiles/{story.customer.customer_id}"
    async with billing.client(tenant, *BOTH) as client:
        await client.put(profile, json={"draft_grace_hours": hours}, headers={"if-match": "*"})
    await bench.hear(story.started())
    (row,) = await bench.invoices(tenant)
    assert row["status"] == status
    assert (row["draft_until"] is None) == (hours == 0)


async def test_lines_are_put_on_changed_and_taken_off(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await a_graced_draft(bench, tenant)
    async with billing.client(tenant, *BOTH) as client:
        draft = await the_invoice(client)
        path = f"/v1/invoices/{draft['id']}/manual-lines"
        refund = {"description": "Delay in May", "quantity": "-2.5", "unit_amount": "33.333"}
        added = await client.post(path, json=DELIVERY, headers=once())
        credit = await client.post(path, json={**refund, "purpose": "sla_credit"}, headers=once())
        shown = await the_invoice(client)
        line = f"{path}/{credit.json()['id']}"
        stale = await client.patch(line, json={"quantity": "-3"}, headers=naming(draft))
        changed = await client.patch(
            line,
            json={
                "quantity": "-3",
                "tax_category": "reduced",
                "service_period": {"start": "2025-05-01", "end": "2025-06-01"},
            },
            headers=naming(shown),
        )
        again = await the_invoice(client)
        listed = (await client.get(path)).json()["data"]
        gone = await client.delete(f"{path}/{added.json()['id']}", headers=naming(again))
        last = await the_invoice(client)
    assert (added.status_code, added.headers["etag"]) == (201, f'"{draft["version"] + 1}"')
    assert [(x["description"], x["net"]["amount"]) for x in shown["lines"]] == [
        ("Aircraft", "2400.00"),
        ("Delivery", "120.00"),
        ("Delay in May", "-83.33"),
    ]
    assert shown["total"]["amount"] == "2436.67"
    assert shown["lines"][1]["manual_line_id"] == added.json()["id"]
    assert (stale.status_code, stale.json()["code"]) == (412, "version_changed")
    assert changed.headers["etag"] == f'"{again["version"]}"'
    assert (again["lines"][2]["net"]["amount"], again["total"]["amount"]) == ("-100.00", "2420.00")
    assert again["lines"][2]["service_period"] == {"start": "2025-05-01", "end": "2025-06-01"}
    assert [x["id"] for x in listed] == [added.json()["id"], credit.json()["id"]]
    assert gone.status_code == 204
    assert [x["description"] for x in last["lines"]] == ["Aircraft", "Delay in May"]
    assert (last["total"]["amount"], last["waits_for"]) == ("2300.00", ["grace"])

    await bench.jobs()[0].run_once()
    assert await bench.lines(tenant) == [("Aircraft", 240000), ("Delay in May", -10000)]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({**DELIVERY, "unit_amount": "-1"}, "/unit_amount"),
        ({**DELIVERY, "quantity": "0"}, "/quantity"),
        ({**DELIVERY, "quantity": 2}, "/quantity"),
        ({**DELIVERY, "description": " "}, "/description"),
        ({**DELIVERY, "service_period": {"start": "2025-05-01", "end": "2025-05-01"}}, "/service_period"),
        ({**DELIVERY, "product_id": "prd"}, "/product_id"),
        ({**DELIVERY, "net": "1"}, "/net"),
        ({**DELIVERY, "tax_category": "outside_scope"}, "/tax_category"),
        ({**DELIVERY, "quantity": "99999999999999999999", "unit_amount": "99999999999999999999"}, None),
    ],
)
async def test_a_wrong_line_is_pointed_at(
    billing: ServiceUnderTest, bench: Workbench, tenant: str, body: dict[str, Any], pointer: str | None
) -> None:
    await a_graced_draft(bench, tenant)
    async with billing.client(tenant, *BOTH) as client:
        draft = await the_invoice(client)
        answer = await client.post(f"/v1/invoices/{draft['id']}/manual-lines", json=body, headers=once())
        assert await the_invoice(client) == draft
    assert answer.status_code == 422
    if pointer is not None:
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_negative_price_is_told_how_to_be_a_credit(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await a_graced_draft(bench, tenant)
    async with billing.client(tenant, *BOTH) as client:
        lines = f"/v1/invoices/{(await the_invoice(client))['id']}/manual-lines"
        answer = await client.post(lines, json={**DELIVERY, "unit_amount": "-1"}, headers=once())
    assert "make the quantity negative" in answer.text


async def test_references_and_terms_are_said_while_it_is_a_draft(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = await a_graced_draft(bench, tenant, clock=new_id("clk"))
    await bench.hear(story.clock_moved(story.boundary(0)))
    await bench.know_customer(story)
    said = {"purchase_order": "PO-2", "payment_terms": {"days": 10, "counted_from": "month_end"}}
    async with billing.client(tenant, *BOTH) as client:
        profile = {"purchase_order": "PO-1", "buyer_reference": "Dept 7", "notes": "Thank you."}
        await client.put(
            f"/v1/billing-profiles/{story.customer.customer_id}", json=profile, headers={"if-match": '"0"'}
        )
        draft = await the_invoice(client)
        path = f"/v1/invoices/{draft['id']}"
        unnamed = await client.patch(path, json=said)
        changed = await client.patch(path, json=said, headers=naming(draft))
        same = await client.patch(path, json=said, headers=naming(changed.json()))
        key = once()
        final = await client.post(f"{path}/finalizations", headers=key)
        repeated = await client.post(f"{path}/finalizations", headers=key)
        twice = await client.post(f"{path}/finalizations", headers=once())
        late = await client.patch(path, json={"notes": "x"}, headers=naming(final.json()))
        line = await client.post(f"{path}/manual-lines", json=DELIVERY, headers=once())
        overdue = [
            len((await client.get("/v1/invoices", params={"due_before": day})).json()["data"])
            for day in (final.json()["due_on"], "2025-02-11")
        ]
    assert unnamed.status_code == 428
    assert (changed.json()["purchase_order"], changed.json()["payment_terms"]) == tuple(said.values())
    assert (same.json()["version"], changed.headers["etag"]) == (draft["version"] + 1, same.headers["etag"])
    issued = final.json()
    assert (final.status_code, issued["status"], issued["number"]) == (201, "finalized", "INV-000001")
    assert (issued["issued_on"], issued["due_on"]) == ("2025-01-01", "2025-02-10")
    assert (issued["purchase_order"], issued["buyer_reference"]) == ("PO-2", "Dept 7")
    assert (issued["notes"], issued["waits_for"], issued["draft_until"]) == ("Thank you.", [], None)
    assert repeated.content == final.content
    for refused in (twice, late, line):
        assert (refused.status_code, refused.json()["code"]) == (409, "invoice_not_draft")
    assert overdue == [0, 1]


async def test_a_draft_that_waits_says_for_what(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = Story(tenant, quantity=None)
    await bench.hear(story.started(), story.renewed(1))
    other = Story(tenant, metered=False)
    await bench.hear(other.started())
    async with billing.client(tenant, *BOTH) as client:
        drafts = (await client.get("/v1/invoices", params={"status": "draft"})).json()["data"]
        for draft in drafts:
            awaited = "usage" if draft["boundary_at"].startswith("2025-02") else "seller"
            answer = await client.post(f"/v1/invoices/{draft['id']}/finalizations", headers=once())
            assert (answer.status_code, answer.json()["code"]) == (409, "invoice_not_complete")
            assert awaited in answer.json()["detail"]
    assert len(drafts) == 2


async def test_of_two_who_finalize_at_once_one_does(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await a_graced_draft(bench, tenant)
    async with billing.client(tenant, *BOTH) as client:
        path = f"/v1/invoices/{(await the_invoice(client))['id']}/finalizations"
        answers = await asyncio.gather(*[client.post(path, headers=once()) for _ in range(3)])
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    assert len(await bench.attempts(tenant)) == 1


async def test_an_edit_and_the_scheduler_do_not_meet(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    """Either the line is on the issued invoice, or it was refused: never on one that does not count it."""
    await bench.add_seller(tenant, draft_grace_hours=24)
    stories = [Story(tenant, metered=False) for _ in range(8)]
    await bench.hear(*[story.started() for story in stories])
    async with billing.client(tenant, *BOTH) as client:
        drafts = (await client.get("/v1/invoices")).json()["data"]

        async def edit(draft: dict[str, Any]) -> httpx.Response:
            return await client.post(
                f"/v1/invoices/{draft['id']}/manual-lines", json=DELIVERY, headers=once()
            )

        edits = [asyncio.create_task(edit(draft)) for draft in drafts]
        await asyncio.sleep(0.01)
        turn = asyncio.create_task(bench.jobs()[0].run_once())
        answers = await asyncio.gather(*edits)
        await turn
        await bench.jobs()[0].run_once()
        totals = {draft["id"]: (await client.get(f"/v1/invoices/{draft['id']}")).json() for draft in drafts}
    for draft, answer in zip(drafts, answers, strict=True):
        final = totals[draft["id"]]
        assert (final["status"], answer.status_code in (201, 409)) == ("finalized", True)
        expected = "2520.00" if answer.status_code == 201 else "2400.00"
        assert (final["total"]["amount"], len(final["lines"])) == (
            expected,
            2 if answer.status_code == 201 else 1,
        )


async def test_a_line_of_another_invoice_is_not_there(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await a_graced_draft(bench, tenant)
    await bench.hear(Story(tenant, metered=False).started())
    async with billing.client(tenant, *BOTH) as client:
        one, other = (await client.get("/v1/invoices")).json()["data"]
        made = await client.post(f"/v1/invoices/{one['id']}/manual-lines", json=DELIVERY, headers=once())
        path = f"/v1/invoices/{other['id']}/manual-lines/{made.json()['id']}"
        answers = [
            await client.patch(path, json={"quantity": "2"}, headers=naming(other)),
            await client.delete(path, headers=naming(other)),
        ]
    assert [(x.status_code, x.json()["code"]) for x in answers] == [(404, "manual_line_not_found")] * 2


@pytest.mark.parametrize(
    ("setting", "statuses"), [("skip", ["skipped"]), ("issue", ["paid"])], ids=["skip", "issue"]
)
async def test_what_was_free_is_an_invoice_of_nothing_or_none(
    bench: Workbench, tenant: str, setting: str, statuses: list[str]
) -> None:
    await bench.add_seller(tenant, zero_invoices=setting)
    free = Story(tenant, metered=False)
    free.items = [item.model_copy(update={"price": _free(item.price)}) for item in free.items]
    empty = Story(tenant, quantity=None)
    await bench.hear(free.started(), empty.started())
    found = {row["subscription_id"]: row for row in await bench.invoices(tenant)}
    assert [found[free.subscription_id]["status"]] == statuses
    assert (found[free.subscription_id]["number"] is None) == (setting == "skip")
    assert found[empty.subscription_id]["status"] == "skipped"  # there is nothing to tell of
    assert await bench.attempts(tenant) == []


def _free(price: Any) -> Any:
    return price.model_copy(update={"unit_amount": price.unit_amount * 0})


async def test_who_pays_by_test_clock_gets_a_one_off_in_his_time(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = Story(tenant, clock=new_id("clk"), customer=a_customer())
    await bench.hear(story.clock_moved(story.boundary(3)), story.started())
    await bench.add_seller(tenant)
    await bench.know_customer(story)
    body = {
        "customer_id": story.customer.customer_id,
        "currency": "EUR",
        "lines": [DELIVERY],
        "finalize": True,
    }
    async with billing.client(tenant, *BOTH) as client:
        made = (await client.post("/v1/invoices", json=body, headers=once())).json()
    assert (made["issued_at"], made["test_clock_id"]) == ("2025-04-01T04:00:00Z", story.clock)
