"""Invoices, their lines and payments over HTTP, with real tokens and a real database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.integration.billing.workbench import Workbench, after
from tests.support.billing import Story
from tests.support.service_under_test import ServiceUnderTest, new_tenant

BOTH = ("billing:read", "billing:write")


async def two_invoices(bench: Workbench, tenant: str, behaviour: str = "succeeds") -> Story:
    """The first is finalized, the second too, with usage in two tiers."""
    await bench.add_seller(tenant)
    story = Story(tenant)
    await bench.hear(story.started())
    await bench.add_method(story, behaviour)
    await bench.hear(story.renewed(1), story.window_closed(0, "120000.5", event_count=1234))
    return story


async def listed(client: httpx.AsyncClient, path: str, **params: Any) -> list[dict[str, Any]]:
    answer = await client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def test_an_invoice_shows_all_that_it_came_from(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = await two_invoices(bench, tenant)
    await bench.collect(clock=after(story.boundary(1), hours=2))
    async with billing.client(tenant, *BOTH) as client:
        (_, summary) = await listed(client, "/v1/invoices", subscription_id=story.subscription_id)
        answer = await client.get(f"/v1/invoices/{summary['id']}")
        shown = answer.json()
        unchanged = await client.get(
            f"/v1/invoices/{summary['id']}", headers={"if-none-match": answer.headers["etag"]}
        )
        minutes = (await client.get(shown["lines"][1]["explanation"])).json()
        fee = (await client.get(shown["lines"][2]["explanation"])).json()
        attempts = await listed(client, f"/v1/invoices/{summary['id']}/payment-attempts")
        ledger = await listed(client, "/v1/ledger-entries", invoice_id=summary["id"])
    assert answer.headers["etag"] == f'"{shown["version"]}"'
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert {name: shown[name] for name in summary} == summary
    assert (shown["status"], shown["number"], shown["waits_for"]) == ("paid", "INV-000002", [])
    assert (shown["total"], shown["due"]) == (usd("617402.38"), usd("0.00"))
    assert (shown["boundary_at"], shown["issued_at"], shown["due_on"]) == (
        "2025-02-01T05:00:00Z",
        "2025-02-01T06:00:00Z",
        "2025-02-15",
    )
    assert (shown["seller"]["name"], shown["customer"]["name"]) == ("Engines Inc.", "Cloudhop")
    assert [
        (line["description"], line["tier"], line["quantity"], line["net"]) for line in shown["lines"]
    ] == [
        ("Flying minutes", 1, "100000", usd("520000.00")),
        ("Flying minutes", 2, "20000.5", usd("95002.38")),
        ("Aircraft", None, "2", usd("2400.00")),
    ]
    assert shown["lines"][0]["service_period"] == {"start": "2025-01-01", "end": "2025-02-01"}
    assert shown["lines"][1]["formula"] == (
        "tier 2, above 100000 up to 500000: 20000.5 * 4.75 ≈ 95002.38 USD"
    )
    assert (minutes["agrees"], minutes["derived_net"], minutes["quantity"]) == (
        True,
        usd("95002.38"),
        "120000.5",
    )
    window = f"uwin_{story.subscription_id}_0"
    assert minutes["usage"] == {
        "window_id": window,
        "event_count": 1234,
        "events": f"/v1/usage-windows/{window}/events?item_id={story.minutes_item}",
        "segments": f"/v1/usage-windows/{window}/segments?item_id={story.minutes_item}",
        "digests": f"/v1/usage-windows/{window}/digests",
        "inclusion_proofs": f"/v1/usage-windows/{window}/inclusion-proofs?item_id={story.minutes_item}",
        "digest": None,  # metering has said nothing of it yet
    }
    assert minutes["price"]["tiers"][2] == {"up_to": None, "unit_amount": "4.35", "flat_amount": None}
    assert (fee["agrees"], fee["usage"], fee["fraction_of_period"]) == (True, None, "1")
    assert fee["charge"] == f"{story.fee_item}/prc_fee/1/advance/0"
    assert [(a["number"], a["state"], a["amount"]) for a in attempts] == [(1, "succeeded", usd("617402.38"))]
    assert [(entry["account"], entry["amount"]["amount"]) for entry in ledger] == [
        ("accounts_receivable", "617402.38"),
        ("revenue", "-615002.38"),
        ("contract_liability", "-2400.00"),
        ("contract_liability", "2400.00"),
        ("revenue", "-2400.00"),
        ("cash", "617402.38"),
        ("accounts_receivable", "-617402.38"),
    ]


def usd(amount: str) -> Mapping[str, str]:
    return {"amount": amount, "currency": "USD"}


async def test_a_draft_shows_its_lines_as_they_would_be_now_and_what_it_waits_for(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = Story(tenant)
    await bench.hear(story.started(), story.renewed(1))
    async with billing.client(tenant, *BOTH) as client:
        (first, second) = await listed(client, "/v1/invoices", status="draft")
        shown = (await client.get(f"/v1/invoices/{second['id']}")).json()
        explained = (await client.get(shown["lines"][0]["explanation"])).json()
    assert (first["waits_for"], second["waits_for"]) == (["seller"], ["usage"])
    assert [(line["description"], line["net"]) for line in shown["lines"]] == [("Aircraft", usd("2400.00"))]
    assert (shown["number"], shown["seller"], shown["customer"]["name"]) == (None, None, "Cloudhop")
    assert explained["agrees"] is True


async def test_invoices_are_listed_in_pages_and_by_filters(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant)
    story, other = Story(tenant, metered=False), Story(tenant, quantity=None)
    await bench.hear(other.started(), *[story.started(), *[story.renewed(index) for index in range(1, 5)]])
    everything = [f"INV-{ordinal:06d}" for ordinal in range(1, 6)]
    async with billing.client(tenant, "billing:read") as client:
        pages = [await client.get("/v1/invoices", params={"limit": 2})]
        while (following := pages[-1].json()["next_cursor"]) is not None:
            pages.append(await client.get("/v1/invoices", params={"limit": 2, "cursor": following}))
        by_number = await listed(client, "/v1/invoices", number="INV-000003")
        skipped = await listed(client, "/v1/invoices", status="skipped")
        between = await listed(
            client,
            "/v1/invoices",
            boundary_from=story.boundary(1).isoformat(),
            boundary_to=story.boundary(3).isoformat(),
        )
        of_customer = await listed(client, "/v1/invoices", customer_id=other.customer.customer_id)
        broken = await client.get("/v1/invoices", params={"status": "lost"})
    assert [row["number"] for page in pages for row in page.json()["data"]] == everything
    assert len(pages) == 3
    assert [row["number"] for row in by_number] == ["INV-000003"]
    assert [(row["subscription_id"], row["status_reason"]) for row in skipped] == [
        (other.subscription_id, "nothing_due")
    ]
    assert [row["number"] for row in between] == ["INV-000002", "INV-000003"]
    assert of_customer == []
    assert broken.status_code == 422


async def test_a_failed_payment_is_asked_for_again_once_for_each_key(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = await two_invoices(bench, tenant, "always_fails")
    clock = after(story.boundary(0), minutes=1)
    for _ in range(4):
        await bench.collect(clock=clock)
        clock.advance(timedelta(days=10))
    async with billing.client(tenant, *BOTH) as client:
        (invoice, _) = await listed(client, "/v1/invoices")
        path = f"/v1/invoices/{invoice['id']}/payment-attempts"
        without_key = await client.post(path)
        passed = await client.post(path, headers={"idempotency-key": "0", "if-match": '"99"'})
        first = await client.post(path, headers={"idempotency-key": "1"})
        again = await client.post(path, headers={"idempotency-key": "1"})
        attempts = await listed(client, path)
        missing = await client.post(
            f"/v1/invoices/inv_{'0' * 26}/payment-attempts", headers={"idempotency-key": "2"}
        )
    assert without_key.status_code == 400
    assert passed.status_code == 412
    assert (first.status_code, again.content) == (202, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert (first.json()["number"], first.json()["state"]) == (4, "pending")
    assert [attempt["state"] for attempt in attempts] == ["failed"] * 3 + ["pending"]
    assert missing.status_code == 404


async def test_a_paid_invoice_cannot_be_collected(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    story = await two_invoices(bench, tenant)
    await bench.collect(clock=after(story.boundary(1), hours=2))
    async with billing.client(tenant, *BOTH) as client:
        (invoice, _) = await listed(client, "/v1/invoices")
        answer = await client.post(
            f"/v1/invoices/{invoice['id']}/payment-attempts", headers={"idempotency-key": "1"}
        )
    assert (answer.status_code, answer.json()["code"]) == (409, "invoice_not_payable")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v1/invoices", "billing:write"),
        ("GET", f"/v1/invoices/inv_{'0' * 26}", "usage:read"),
        ("GET", "/v1/ledger-entries", "catalog:read"),
        ("GET", "/v1/payment-methods", "billing:write"),
        ("GET", "/v1/sellers", "billing:write"),
        ("POST", f"/v1/invoices/inv_{'0' * 26}/payment-attempts", "billing:read"),
        ("POST", "/v1/sellers", "billing:read"),
        ("POST", "/v1/payment-methods", "billing:read"),
    ],
)
async def test_another_scope_is_refused(
    billing: ServiceUnderTest, tenant: str, method: str, path: str, scope: str
) -> None:
    async with billing.client(tenant, scope) as client:
        answer = await client.request(method, path, json={}, headers={"idempotency-key": "1"})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


async def test_another_tenant_finds_nothing(billing: ServiceUnderTest, bench: Workbench, tenant: str) -> None:
    story = await two_invoices(bench, tenant)
    async with billing.client(tenant, *BOTH) as owner:
        (invoice, _) = await listed(owner, "/v1/invoices")
        (line, *_) = (await owner.get(f"/v1/invoices/{invoice['id']}")).json()["lines"]
        (method,) = await listed(owner, "/v1/payment-methods")
        (seller,) = await listed(owner, "/v1/sellers")
    headers = {"idempotency-key": "1"}
    async with billing.client(new_tenant(), *BOTH) as stranger:
        answers = [
            await stranger.get(f"/v1/invoices/{invoice['id']}"),
            await stranger.get(line["explanation"]),
            await stranger.get(f"/v1/invoices/{invoice['id']}/payment-attempts"),
            await stranger.post(f"/v1/invoices/{invoice['id']}/payment-attempts", headers=headers),
            await stranger.get(f"/v1/payment-methods/{method['id']}"),
            await stranger.get(f"/v1/sellers/{seller['id']}"),
        ]
        lists = [
            await listed(stranger, "/v1/invoices", customer_id=story.customer.customer_id),
            await listed(stranger, "/v1/ledger-entries", invoice_id=invoice["id"]),
            await listed(stranger, "/v1/payment-methods"),
            await listed(stranger, "/v1/sellers"),
        ]
    assert [answer.status_code for answer in answers] == [404] * 6
    assert lists == [[]] * 4


async def test_a_portal_token_sees_its_own_customers_things_only(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    mine, others = await two_invoices(bench, tenant), Story(tenant)
    await bench.hear(others.started())
    await bench.add_method(others)
    async with billing.client(tenant, *BOTH) as owner:
        (foreign,) = await listed(owner, "/v1/invoices", subscription_id=others.subscription_id)
        (foreign_line, *_) = (await owner.get(f"/v1/invoices/{foreign['id']}")).json()["lines"]
        (foreign_method,) = await listed(
            owner, "/v1/payment-methods", customer_id=others.customer.customer_id
        )
    customer = mine.customer.customer_id
    async with billing.client(tenant, *BOTH, customer=customer) as portal:
        invoices = await listed(portal, "/v1/invoices")
        asked_for_others = await listed(portal, "/v1/invoices", customer_id=others.customer.customer_id)
        shown = await portal.get(f"/v1/invoices/{invoices[0]['id']}")
        explained = await portal.get(shown.json()["lines"][0]["explanation"])
        attempts = await listed(portal, f"/v1/invoices/{invoices[0]['id']}/payment-attempts")
        methods = await listed(portal, "/v1/payment-methods")
        own_method = await portal.get(f"/v1/payment-methods/{methods[0]['id']}")
        foreign_answers = [
            await portal.get(f"/v1/invoices/{foreign['id']}"),
            await portal.get(foreign_line["explanation"]),
            await portal.get(f"/v1/invoices/{invoices[0]['id']}/lines/{foreign_line['id']}/explanation"),
            await portal.get(f"/v1/invoices/{foreign['id']}/payment-attempts"),
            await portal.get(f"/v1/payment-methods/{foreign_method['id']}"),
        ]
        headers = {"idempotency-key": "1"}
        forbidden = [
            await portal.get("/v1/ledger-entries"),
            await portal.get("/v1/sellers"),
            await portal.post(f"/v1/invoices/{invoices[0]['id']}/payment-attempts", headers=headers),
            await portal.post("/v1/payment-methods", json={}, headers=headers),
            await portal.post("/v1/sellers", json={}, headers=headers),
        ]
    assert {row["customer_id"] for row in [*invoices, *methods]} == {customer}
    assert (len(invoices), len(asked_for_others), len(attempts)) == (2, 0, 1)
    assert [answer.status_code for answer in (shown, explained, own_method)] == [200] * 3
    assert [answer.status_code for answer in foreign_answers] == [404] * 5
    assert [answer.json()["code"] for answer in forbidden] == ["portal_forbidden"] * 5


async def test_ids_that_cannot_be_one_are_refused(billing: ServiceUnderTest, tenant: str) -> None:
    async with billing.client(tenant, *BOTH) as client:
        answers = [
            await client.get("/v1/invoices/1; DROP TABLE invoice"),
            await client.get(f"/v1/invoices/sub_{'0' * 26}"),
            await client.get("/v1/invoices", params={"customer_id": "x"}),
        ]
    assert {answer.status_code for answer in answers} <= {404, 422}


async def test_an_operator_reads_the_audit(billing: ServiceUnderTest, bench: Workbench, tenant: str) -> None:
    await two_invoices(bench, tenant)
    async with billing.client(None, "operate") as operator:
        answer = await operator.get("/v1/billing-operations/audit")
    async with billing.client(tenant, *BOTH) as client:
        refused = await client.get("/v1/billing-operations/audit")
    assert answer.status_code == 200
    checks = {check["name"]: check for check in answer.json()["checks"]}
    assert checks["numbers_without_gap"]["ok"]
    assert checks["invoice_lines_sum_to_net"]["checked_count"] >= 2
    assert refused.status_code == 403
