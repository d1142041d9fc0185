"""E-invoices over HTTP, of documents that were issued and stored."""

from __future__ import annotations

from datetime import date, timedelta

import facturx
import httpx
from lxml import etree

from libs.common.contracts.subscriptions import AddressV1, ProrationOptionsV1
from libs.common.ids import new_id
from services.billing.adapters.e_invoices.cii import RAM
from services.billing.adapters.e_invoices.ubl import CAC, CBC
from tests.integration.billing.crediting import BOTH, DUTCH, an_invoice, eur, get, listed, post
from tests.integration.billing.test_changes import changed, segment, terms
from tests.integration.billing.workbench import Workbench
from tests.support.billing import Story
from tests.support.e_invoices import faults_of
from tests.support.service_under_test import ServiceUnderTest, new_tenant

DETAILS = {
    "postal_address": {"line1": "Kade 1", "postal_code": "1011 AB", "city": "Amsterdam", "country": "NL"},
    "legal_id": "12345678",
    "electronic_address": {"scheme": "0106", "value": "12345678"},
    "bank": {"iban": "NL91ABNA0417164300", "bic": "ABNANL2A"},
}
PROFILE = {
    "purchase_order": "PO-1",
    "delivery": {"electronic_address": {"scheme": "9930", "value": "DE136695976"}, "e_invoice": "ubl"},
}


async def a_buyer(bench: Workbench, client: httpx.AsyncClient, tenant: str) -> Story:
    """A business in Germany; the seller is in the Netherlands: it owes the tax itself."""
    registrations = [{"country": "NL", "number": "NL001234567B01"}]
    await post(client, "/v1/sellers", {**DUTCH, "details": DETAILS, "registrations": registrations})
    story = Story(tenant)
    address = AddressV1(line1="Hauptstraße 5", postal_code="10115", city="Berlin", country="DE")
    story.customer = story.customer.model_copy(
        update={"country": "DE", "vat_id": "DE136695976", "address": address, "email": "ap@kaufhaus.example"}
    )
    await bench.know_customer(story)
    path = f"/v1/billing-profiles/{story.customer.customer_id}"
    answer = await client.put(path, json=PROFILE, headers={"if-match": "*"})
    assert answer.status_code == 200, answer.text
    return story


def text_of(document: bytes, name: str) -> str | None:
    found = etree.fromstring(document).find(f".//{name}")
    return None if found is None else found.text


async def e_invoice(client: httpx.AsyncClient, path: str, **query: str) -> httpx.Response:
    answer = await client.get(f"{path}/e-invoice", params=query)
    assert answer.status_code == 200, answer.text
    return answer


async def test_an_invoice_is_had_in_each_format_and_so_is_its_credit_note(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_buyer(bench, client, tenant)
        invoice = await an_invoice(client, story, ("3", "33.333"), ("-1", "10"))
        path = f"/v1/invoices/{invoice['id']}"
        check = await get(client, f"{path}/e-invoice-check")
        ubl, cii, pdf = [
            (await e_invoice(client, path, format=format)) for format in ("ubl", "cii", "factur-x")
        ]
        again = await e_invoice(client, path, format="factur-x")
        note = await post(
            client,
            "/v1/credit-notes",
            {"invoice_id": invoice["id"], "reason": "late", "amount": eur("12.34")},
        )
        credited = (await e_invoice(client, f"/v1/credit-notes/{note['id']}")).content
        later = await e_invoice(client, path, format="ubl")
    assert check == {"can_be_made": True, "profile": "peppol", "problems": [], "missing_for_peppol": []}
    assert faults_of(ubl.content) == []
    assert faults_of(cii.content) == []
    assert faults_of(credited) == []
    assert later.content == ubl.content, "an issued document stays as it was issued"
    assert pdf.content == again.content
    name, embedded = facturx.get_facturx_xml_from_pdf(pdf.content, check_xsd=True)
    assert name == "factur-x.xml"
    assert faults_of(embedded) == []
    assert [answer.headers["content-type"] for answer in (ubl, cii, pdf)] == [
        "application/xml",
        "application/xml",
        "application/pdf",
    ]
    assert ubl.headers["content-disposition"] == f'attachment; filename="{invoice["number"]}-ubl.xml"'
    told = [text_of(ubl.content, CBC(tag)) for tag in ("ID", "TaxExemptionReasonCode", "PayableAmount")]
    assert told == [invoice["number"], "VATEX-EU-AE", "90.00"]
    totals = [text_of(embedded, RAM(tag)) for tag in ("GrandTotalAmount", "DuePayableAmount")]
    assert totals == ["90.00", "90.00"]
    assert text_of(credited, CBC("CreditNoteTypeCode")) == "381"
    assert invoice["number"].encode() in credited
    assert b"12.34 EUR taken off invoice" in credited


async def test_everything_that_is_missing_is_told_at_once(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        await post(client, "/v1/sellers", {**DUTCH, "tax_number": None})
        story = Story(tenant)
        story.customer = story.customer.model_copy(update={"country": None})
        await bench.know_customer(story)
        invoice = await an_invoice(client, story, ("1", "9"))
        path = f"/v1/invoices/{invoice['id']}"
        refused = await client.get(f"{path}/e-invoice")
        check = await get(client, f"{path}/e-invoice-check")
        draft = await an_invoice(client, story, ("1", "9"), finalize=False)
        early = await client.get(f"/v1/invoices/{draft['id']}/e-invoice")
        unknown = await client.get(f"{path}/e-invoice", params={"format": "edifact"})
    assert (refused.status_code, refused.json()["code"]) == (422, "e_invoice_impossible")
    rules = [problem["rule"] for problem in check["problems"]]
    assert refused.json()["facts"]["rules"] == rules
    assert [error["pointer"] for error in refused.json()["errors"]] == [
        f"/{problem['term']}" for problem in check["problems"]
    ]
    assert "BR-11" in rules
    assert len(check["missing_for_peppol"]) == 3
    assert (early.status_code, early.json()["code"]) == (409, "document_not_issued")
    assert unknown.status_code == 422


async def test_nobody_sees_what_is_another_s(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    async with billing.client(tenant, *BOTH) as client:
        story = await a_buyer(bench, client, tenant)
        invoice = await an_invoice(client, story, ("1", "9"))
    path = f"/v1/invoices/{invoice['id']}/e-invoice"
    asked = [
        (tenant, {"customer": story.customer.customer_id}, 200),
        (tenant, {"customer": new_id("cus")}, 404),
        (new_tenant(), {}, 404),
    ]
    for of, claims, expected in asked:
        async with billing.client(of, "billing:read", **claims) as other:
            assert (await other.get(path)).status_code == expected
            assert (await other.get(f"{path}-check")).status_code == expected


async def test_usage_of_a_subscription_has_its_meter_and_the_period_of_all_its_lines(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant, country="NL", tax_number="NL001234567B01")
    story = Story(tenant)
    await bench.hear(story.started())
    await bench.hear(story.renewed(1), story.window_closed(0, "120000.5", event_count=1234))
    async with billing.client(tenant, *BOTH) as client:
        (_, invoice) = await listed(client, "/v1/invoices", subscription_id=story.subscription_id)
        check = await get(client, f"/v1/invoices/{invoice['id']}/e-invoice-check")
        ubl = (await e_invoice(client, f"/v1/invoices/{invoice['id']}")).content
    async with bench.open(tenant) as uow:
        document = await uow.issued_documents.get(invoice["id"])
    assert [(line.facts.kind, line.facts.meter, line.facts.event_count) for line in document.lines] == [
        ("usage", "flying-minutes", 1234),
        ("usage", "flying-minutes", 1234),
        ("advance", None, None),
    ]
    assert (document.service_start_on, document.service_last_on) == (date(2025, 1, 1), date(2025, 2, 28))
    assert (check["can_be_made"], check["profile"]) == (True, "en16931")
    assert faults_of(ubl) == []


async def test_a_document_that_gives_back_names_what_had_billed_it(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await bench.add_seller(tenant, country="NL", tax_number="NL001234567B01")
    story = Story(tenant, metered=False)
    period = story.period(0)
    fewer = terms(
        story,
        0,
        segment(story, period, "2", days=(0, 10)),
        segment(story, period, "1", days=(10, None)),
    )
    at = story.boundary(0) + timedelta(days=10)
    to_balance = ProrationOptionsV1(credits_to="balance")
    agreed = story.snapshot().model_copy(update={"proration": to_balance})
    change = changed(story, 2, fewer, settles_at=at).model_copy(update={"subscription": agreed})
    await bench.hear(story.started(), change)
    async with billing.client(tenant, *BOTH) as client:
        documents = await listed(client, "/v1/invoices", subscription_id=story.subscription_id)
        by_kind = {document["document_kind"]: document for document in documents}
        ubl = (await e_invoice(client, f"/v1/invoices/{by_kind['credit']['id']}")).content
    assert faults_of(ubl) == []
    reference = etree.fromstring(ubl).find(f".//{CAC('InvoiceDocumentReference')}/{CBC('ID')}")
    assert reference is not None
    assert reference.text == by_kind["invoice"]["number"]
    assert text_of(ubl, CBC("PayableAmount")) == by_kind["credit"]["total"]["amount"]
