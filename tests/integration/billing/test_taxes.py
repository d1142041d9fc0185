"""Taxes over HTTP and on documents: rates, what supplies would bear, and what an invoice then says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from libs.common.contracts.subscriptions import SubscriptionItemV1
from libs.common.ids import new_id
from services.billing.domain.billing_profile import BillingProfile, TaxStatus
from services.billing.domain.tax_assessment import REVERSE_CHARGE
from tests.integration.billing.test_batches import statements_to_hear
from tests.integration.billing.test_http_previews import alike, preview
from tests.integration.billing.workbench import Workbench
from tests.support.billing import FEE, Story, a_customer
from tests.support.service_under_test import ServiceUnderTest, new_tenant

WRITE = ("billing:read", "billing:write")
SELLER = {"code": "main", "name": "Lichten B.V.", "country": "NL", "tax_number": "NL004495445B01"}
VAT_DE = "DE136695976"


def eur(amount: str) -> dict[str, str]:
    return {"amount": amount, "currency": "EUR"}


async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> httpx.Response:
    return await client.post(path, json=body, headers={"idempotency-key": new_id("key")})


async def make(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await post(client, path, body)
    assert answer.is_success, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def a_tenant(billing: ServiceUnderTest, **seller: Any) -> str:
    tenant = new_tenant()
    async with billing.client(tenant, *WRITE) as client:
        await make(client, "/v1/sellers", {**SELLER, **seller})
    return tenant


async def with_status(bench: Workbench, story: Story, status: TaxStatus, reason: str | None = None) -> None:
    profile = BillingProfile(
        story.customer.customer_id,
        bench.clock.system_now(),
        tax_status=status,
        tax_exemption_reason=reason,
    )
    async with bench.open(story.tenant) as uow:
        uow.billing_profiles.add(profile)


async def invoice_of(billing: ServiceUnderTest, story: Story) -> dict[str, Any]:
    async with billing.client(story.tenant, *WRITE) as client:
        found = (await client.get("/v1/invoices", params={"subscription_id": story.subscription_id})).json()
        (row,) = found["data"]
        shown: dict[str, Any] = (await client.get(f"/v1/invoices/{row['id']}")).json()
    return shown


async def test_a_seller_who_is_registered_charges_tax(billing: ServiceUnderTest, bench: Workbench) -> None:
    """2 aircraft at 1,200.00: 21 % once on the sum, and the preview said so before."""
    tenant = await a_tenant(billing)
    story = Story(tenant, metered=False, customer=a_customer(country="NL"))
    told = await preview(billing, tenant, story.started())
    await bench.hear(story.started())
    invoice = await invoice_of(billing, story)
    assert (invoice["net"]["amount"], invoice["tax"]["amount"], invoice["total"]["amount"]) == (
        "2400.00",
        "504.00",
        "2904.00",
    )
    assert invoice["taxes"] == [
        {
            "category": "S",
            "percent": "21",
            "taxable": {"amount": "2400.00", "currency": "USD"},
            "tax": {"amount": "504.00", "currency": "USD"},
            "reason_code": None,
            "reason": None,
        }
    ]
    assert invoice["lines"][0]["tax"]["category"] == "S"
    (document,) = told["documents"]
    alike(document, invoice)


async def test_a_draft_shows_the_tax_that_it_would_bear_and_a_new_registration_counts(
    billing: ServiceUnderTest, bench: Workbench
) -> None:
    tenant = await a_tenant(billing, tax_number=None, draft_grace_hours=24)
    story = Story(tenant, metered=False, customer=a_customer(country="NL"))
    await bench.hear(story.started())
    before = await invoice_of(billing, story)
    assert (before["status"], before["tax"]["amount"]) == ("draft", "0.00")
    async with billing.client(tenant, *WRITE) as client:
        (seller,) = (await client.get("/v1/sellers")).json()["data"]
        registered = {"registrations": [{"country": "NL", "number": "NL004495445B01"}]}
        changed = await client.patch(
            f"/v1/sellers/{seller['id']}", json=registered, headers={"if-match": "*"}
        )
    assert changed.status_code == 200, changed.text
    after = await invoice_of(billing, story)
    assert (after["status"], after["tax"]["amount"]) == ("draft", "504.00")
    assert after["lines"][0]["tax"]["percent"] == "21"


async def test_who_is_not_registered_charges_none(billing: ServiceUnderTest, bench: Workbench) -> None:
    tenant = await a_tenant(billing, tax_number=None)
    story = Story(tenant, metered=False, customer=a_customer(country="NL"))
    await bench.hear(story.started())
    invoice = await invoice_of(billing, story)
    assert (invoice["tax"]["amount"], invoice["total"]["amount"]) == ("0.00", "2400.00")
    assert [(tax["category"], tax["reason"]) for tax in invoice["taxes"]] == [("O", "Not subject to VAT")]


async def test_a_business_abroad_owes_the_tax_itself(billing: ServiceUnderTest, bench: Workbench) -> None:
    tenant = await a_tenant(billing)
    story = Story(tenant, metered=False, customer=a_customer(country="DE", vat_id=VAT_DE))
    await bench.hear(story.started())
    invoice = await invoice_of(billing, story)
    assert invoice["total"]["amount"] == "2400.00"
    assert [(tax["category"], tax["reason_code"], tax["reason"]) for tax in invoice["taxes"]] == [
        ("AE", "VATEX-EU-AE", "Reverse charge")
    ]
    assert invoice["customer"]["vat_id"] == VAT_DE


async def test_a_price_that_includes_the_tax_is_split(billing: ServiceUnderTest, bench: Workbench) -> None:
    tenant = await a_tenant(billing)
    gross = FEE.model_copy(update={"tax_behavior": "inclusive", "unit_amount": Decimal("9.99")})
    story = Story(tenant, metered=False, quantity="3", fee=gross, customer=a_customer(country="NL"))
    await bench.hear(story.started())
    invoice = await invoice_of(billing, story)
    assert [invoice[name]["amount"] for name in ("subtotal", "net", "tax", "total")] == [
        "29.97",
        "24.77",
        "5.20",
        "29.97",
    ]
    (line,) = invoice["lines"]
    assert (line["amount"]["amount"], line["net"]["amount"]) == ("29.97", "24.77")


async def test_what_is_outside_the_scope_of_tax_stands_alone(
    billing: ServiceUnderTest, bench: Workbench
) -> None:
    """R6: a document of its own, on which there is no tax, and nothing else."""
    tenant = await a_tenant(billing)
    story = Story(tenant, metered=False, quantity="1", customer=a_customer(country="NL"))
    damage = {
        "id": "prc_damage",
        "code": "damage",
        "tax_category": "outside_scope",
        "unit_amount": Decimal(60),
    }
    item = SubscriptionItemV1(item_id=new_id("itm"), price=FEE.model_copy(update=damage), quantity=Decimal(1))
    story.items.append(item)
    await bench.hear(story.started())
    found = await bench.rows(
        """SELECT i.document_kind, i.tax_minor, i.total_minor, l.tax_category FROM invoice i
           JOIN invoice_line l ON l.invoice_id = i.id WHERE i.tenant = $1 ORDER BY i.document_kind""",
        tenant,
    )
    assert [tuple(row.values()) for row in found] == [
        ("compensation", 0, 6000, "O"),
        ("invoice", 25200, 145200, "S"),
    ]


async def test_the_profile_says_who_is_exempt(billing: ServiceUnderTest, bench: Workbench) -> None:
    tenant = await a_tenant(billing)
    story = Story(tenant, metered=False, customer=a_customer(country="NL"))
    await with_status(bench, story, "exempt", "Embassy, Article 151")
    await bench.hear(story.started())
    invoice = await invoice_of(billing, story)
    assert invoice["total"]["amount"] == "2400.00"
    assert [(tax["category"], tax["reason"]) for tax in invoice["taxes"]] == [("E", "Embassy, Article 151")]


async def test_ones_own_rate_holds_for_a_category_that_the_law_does_not_know(
    billing: ServiceUnderTest, bench: Workbench
) -> None:
    tenant = await a_tenant(billing)
    rate = {
        "country": "NL",
        "tax_category": "Flying",
        "percent": "9",
        "valid_from": "2024-01-01",
        "source": "Tabel I",
    }
    async with billing.client(tenant, *WRITE) as client:
        made = await make(client, "/v1/tax-rates", rate)
        assert (made["tax_category"], made["percent"], made["is_shipped"]) == ("flying", "9", False)
        own = (await client.get("/v1/tax-rates", params={"tax_category": "flying"})).json()["data"]
    assert own == [made]
    fee = FEE.model_copy(update={"tax_category": "flying"})
    story = Story(tenant, metered=False, fee=fee, customer=a_customer(country="NL"))
    await bench.hear(story.started())
    assert (await invoice_of(billing, story))["tax"]["amount"] == "216.00"


async def test_tax_of_each_line_by_the_sellers_choice(billing: ServiceUnderTest, bench: Workbench) -> None:
    tenant = await a_tenant(billing, tax_rounding="line", registrations=[{"country": "DE", "number": "DE-1"}])
    async with billing.client(tenant, *WRITE) as client:
        (seller,) = (await client.get("/v1/sellers")).json()["data"]
    assert seller["tax_rounding"] == "line"
    assert seller["registrations"] == [
        {"country": "DE", "number": "DE-1", "valid_from": None, "scheme": "vat"}
    ]
    story = Story(tenant, metered=False, customer=a_customer(country="DE"))
    await bench.hear(story.started())
    lines = await bench.rows("SELECT line_tax_minor FROM invoice_line WHERE tenant = $1", tenant)
    assert [row["line_tax_minor"] for row in lines] == [45600]


async def test_a_batch_reads_the_rates_once_and_no_rates_where_nobody_is_taxed(
    billing: ServiceUnderTest, bench: Workbench
) -> None:
    for seller, reads in (({}, 1), ({"tax_number": None}, 0)):
        tenant = await a_tenant(billing, **seller)
        stories = [Story(tenant, metered=False, customer=a_customer(country="NL")) for _ in range(5)]
        sent = await statements_to_hear(bench, *(story.started() for story in stories))
        assert sum(statement.startswith("SELECT tax_rate.") for statement in sent) == reads
        rows = await bench.rows("SELECT tax_minor FROM invoice WHERE tenant = $1", tenant)
        assert [row["tax_minor"] for row in rows] == [50400 * reads] * 5


async def test_how_issued_lines_are_taxed_can_be_asked(billing: ServiceUnderTest, bench: Workbench) -> None:
    tenant = await a_tenant(billing)
    story = Story(tenant, metered=False, customer=a_customer(country="DE", vat_id=VAT_DE))
    await bench.hear(story.started())
    (line,) = (await invoice_of(billing, story))["lines"]
    async with bench.open(tenant) as uow:
        found = await uow.billed_treatments.of_lines([line["id"], new_id("lin")])
    assert found == {line["id"]: REVERSE_CHARGE}


async def test_lists_of_rates_go_on_from_page_to_page(billing: ServiceUnderTest) -> None:
    tenant = await a_tenant(billing)
    own = {"country": "DE", "percent": "7", "valid_from": "2024-01-01", "source": "ours"}
    async with billing.client(tenant, *WRITE) as client:
        for word in ("books", "trains"):
            await make(client, "/v1/tax-rates", {**own, "tax_category": word})
        whole = (await client.get("/v1/tax-rates", params={"country": "DE"})).json()["data"]
        seen: list[dict[str, Any]] = []
        query = {"country": "DE", "limit": "3"}
        while True:
            page = (await client.get("/v1/tax-rates", params=query)).json()
            seen += page["data"]
            if page["next_cursor"] is None:
                break
            query = {**query, "cursor": page["next_cursor"]}
    assert seen == whole
    assert [rate["is_shipped"] for rate in whole] == [True] * 6 + [False] * 2
    assert [rate["percent"] for rate in whole if rate["tax_category"] == "standard"] == ["19", "16", "19"]
    assert all(rate["source"] for rate in whole)


@pytest.mark.parametrize(
    ("changes", "status", "pointer"),
    [
        ({"tax_category": "Zero"}, 422, "/tax_category"),
        ({"tax_category": "outside_scope"}, 422, "/tax_category"),
        ({"percent": "101"}, 422, "/percent"),
        ({"percent": "-1"}, 422, "/percent"),
        ({"percent": "1.1234567"}, 422, "/percent"),
        ({"country": "Netherlands"}, 422, "/country"),
        ({"source": " "}, 422, "/source"),
    ],
)
async def test_rates_that_are_refused(
    billing: ServiceUnderTest, changes: dict[str, Any], status: int, pointer: str
) -> None:
    body = {
        "country": "NL",
        "tax_category": "x",
        "percent": "9",
        "valid_from": "2024-01-01",
        "source": "ours",
    }
    async with billing.client(new_tenant(), *WRITE) as client:
        answer = await post(client, "/v1/tax-rates", {**body, **changes})
    assert answer.status_code == status, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


async def test_what_supplies_would_bear(billing: ServiceUnderTest, bench: Workbench) -> None:
    tenant = await a_tenant(billing)
    supplies = [
        {"amount": eur("19.95"), "tax_behavior": "inclusive"},
        {"amount": eur("3.80"), "tax_behavior": "inclusive", "tax_category": "wash"},
        {"amount": eur("60.00"), "tax_category": "outside_scope"},
        {"amount": eur("10.00"), "service_period_start": "2020-07-01", "service_period_end": "2020-08-01"},
    ]
    body: dict[str, Any] = {"invoiced_on": "2026-06-01", "supplies": supplies, "buyer": {"country": "NL"}}
    async with billing.client(tenant, *WRITE) as client:
        answer = await client.post("/v1/tax-assessments", json=body)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        german = {**body, "buyer": {"country": "DE"}, "supplies": supplies[3:]}
        then = (await client.post("/v1/tax-assessments", json=german)).json()
    assert [supply["category"] for supply in found["supplies"]] == ["S", "S", "O", "S"]
    assert [supply["net"]["amount"] for supply in found["supplies"]] == ["16.49", "3.14", "60.00", "10.00"]
    assert (found["net"], found["tax"], found["total"]) == (eur("89.63"), eur("6.22"), eur("95.85"))
    assert found["supplies"][3]["tax_point"] == "2020-07-31"
    assert any("no rate for the category wash" in told for told in found["supplies"][1]["told"])
    assert then["supplies"][0]["percent"] == "21", "the seller is registered at home alone"
    assert await bench.rows("SELECT id FROM invoice WHERE tenant = $1", tenant) == []


async def test_what_a_customer_would_be_charged(billing: ServiceUnderTest, bench: Workbench) -> None:
    tenant = await a_tenant(billing)
    story = Story(tenant, metered=False, customer=a_customer(country="NL"))
    await bench.know_customer(story)
    await with_status(bench, story, "exempt")
    body: dict[str, Any] = {"invoiced_on": "2026-06-01", "supplies": [{"amount": eur("10.00")}]}
    async with billing.client(tenant, *WRITE) as client:
        mine = await client.post(
            "/v1/tax-assessments", json={**body, "customer_id": story.customer.customer_id}
        )
        nobody = await client.post("/v1/tax-assessments", json={**body, "customer_id": new_id("cus")})
        both = await client.post("/v1/tax-assessments", json=body)
        other = await client.post(
            "/v1/tax-assessments", json={**body, "buyer": {}, "seller_id": new_id("sel")}
        )
    assert mine.json()["supplies"][0]["category"] == "E"
    assert (nobody.status_code, nobody.json()["code"]) == (404, "customer_not_found")
    assert both.status_code == 422
    assert (other.status_code, other.json()["code"]) == (404, "seller_not_found")


async def test_without_a_seller_nobody_taxes(billing: ServiceUnderTest) -> None:
    body = {"invoiced_on": "2026-06-01", "supplies": [{"amount": eur("10.00")}], "buyer": {}}
    async with billing.client(new_tenant(), *WRITE) as client:
        answer = await client.post("/v1/tax-assessments", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "seller_not_found")
