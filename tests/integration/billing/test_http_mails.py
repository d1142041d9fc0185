"""Mails over HTTP: what was sent, sending again, what came back, words of one's own, and what goes with them."""

from __future__ import annotations

import json
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest
from lxml import etree
from pypdf import PdfReader

from libs.common.ids import new_id
from services.billing.adapters.e_invoices.writer import EInvoiceFiles
from services.billing.adapters.mail_attachments import DocumentFiles
from services.billing.adapters.mail_folder import MailFolder
from services.billing.adapters.typst_documents import TypstDocuments
from services.billing.domain.billing_profile import BillingProfile
from services.billing.domain.contact_details import DocumentDelivery, ElectronicAddress
from tests.integration.billing.mailing import SELLS, a_mailing_story, a_reader, files, mails, send, states
from tests.integration.billing.workbench import LONG_AFTER, Workbench
from tests.support.service_under_test import ServiceUnderTest

BOTH = ("billing:read", "billing:write")
TEMPLATE = "/v1/mail-templates/invoice/de-CH"


def once(key: str = "1") -> dict[str, str]:
    return {"idempotency-key": key}


async def test_mails_are_shown_as_they_were_sent(
    billing: ServiceUnderTest, bench: Workbench, tenant: str, tmp_path: Path
) -> None:
    _, story = await a_mailing_story(bench, tenant)
    await bench.hear(story.renewed(1))
    await send(bench, MailFolder(tmp_path))
    first, second = await bench.invoices(tenant)
    async with billing.client(tenant, *BOTH) as client:

        async def found(**wanted: str) -> list[dict[str, Any]]:
            answer = await client.get("/v1/mails", params=wanted)
            return cast(list[dict[str, Any]], answer.json()["data"])

        assert len(await found()) == 2
        (one,) = await found(invoice_id=first["id"], kind="invoice", state="sent")
        assert await found(customer_id=new_id("cus")) == []
        assert await found(state="bounced") == []
        shown = (await client.get(f"/v1/mails/{one['id']}")).json()
        missing = await client.get(f"/v1/mails/{new_id('mail')}")
    assert one["text"] is None
    assert second["number"] not in shown["text"]
    assert first["number"] in shown["text"]
    assert shown["html"].startswith("<!doctype html>")
    assert shown["to"] == "ap@delta.example"
    assert (missing.status_code, missing.json()["code"]) == (404, "mail_not_found")


async def test_a_person_sends_again_and_to_somebody_else(
    billing: ServiceUnderTest, bench: Workbench, tenant: str, tmp_path: Path
) -> None:
    await a_mailing_story(bench, tenant)
    (invoice,) = await bench.invoices(tenant)
    async with billing.client(tenant, *BOTH) as client:
        (waiting,) = (await client.get("/v1/mails")).json()["data"]
        too_soon = await client.post(f"/v1/mails/{waiting['id']}/again", headers=once("0"))
        await send(bench, MailFolder(tmp_path))
        again = await client.post(f"/v1/mails/{waiting['id']}/again", headers=once("1"))
        twice = await client.post(f"/v1/mails/{waiting['id']}/again", headers=once("1"))
        path = f"/v1/invoices/{invoice['id']}/mails"
        other = await client.post(path, json={"to": "boss@x.example", "locale": "fr"}, headers=once("2"))
        strange = await client.post(path, json={"locale": "ja"}, headers=once("3"))
    await send(bench, MailFolder(tmp_path))
    assert (too_soon.status_code, too_soon.json()["code"]) == (409, "mail_under_way")
    assert again.json()["again_of_id"] == waiting["id"]
    assert twice.content == again.content
    assert other.json()["data"][0]["to"] == "boss@x.example"
    assert (strange.status_code, strange.json()["code"]) == (422, "mail_language_unknown")
    assert len(files(tmp_path, tenant)) == 3
    assert any("Votre facture" in (row["subject"] or "") for row in await mails(bench, tenant))


async def test_a_seller_who_sends_none_cannot_be_asked_to(
    billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    await a_mailing_story(bench, tenant, details=None)
    (invoice,) = await bench.invoices(tenant)
    async with billing.client(tenant, *BOTH) as client:
        answer = await client.post(f"/v1/invoices/{invoice['id']}/mails", json={}, headers=once())
    assert (answer.status_code, answer.json()["code"]) == (409, "seller_sends_no_mails")


async def test_what_came_back_is_noted_once(
    billing: ServiceUnderTest, bench: Workbench, tenant: str, tmp_path: Path
) -> None:
    _, story = await a_mailing_story(bench, tenant)
    await send(bench, MailFolder(tmp_path))
    (row,) = await mails(bench, tenant)
    told = {"message_id": row["message_id"], "reason": "550 5.1.1 gone"}
    async with billing.client(tenant, *BOTH) as client:
        soft = await client.post("/v1/mail-bounces", json={**told, "permanent": False})
        first = await client.post("/v1/mail-bounces", json=told)
        second = await client.post("/v1/mail-bounces", json=told)
        strange = await client.post("/v1/mail-bounces", json={**told, "message_id": "<a@b>"})
        await bench.hear(story.renewed(1))
        await send(bench, MailFolder(tmp_path))
        again = await client.post(f"/v1/mails/{row['id']}/again", headers=once())
    async with billing.client("0197c7b3-41a2-7d6e-9f00-5a3c8e1b2d47", *BOTH) as client:
        foreign = await client.post("/v1/mail-bounces", json=told)
    await send(bench, MailFolder(tmp_path))
    assert [answer.json()["state"] for answer in (soft, first, second)] == ["sent", "bounced", "bounced"]
    assert (strange.status_code, foreign.status_code) == (422, 404)
    bounces = [row for row in await bench.told(tenant) if row["type"].endswith("mail.bounced.v1")]
    assert len(bounces) == 1
    assert again.status_code == 201
    assert sorted(state for _, state, _ in await states(bench, tenant)) == ["bounced", "sent", "suppressed"]


async def test_a_notice_of_a_mail_server_is_read(
    billing: ServiceUnderTest, bench: Workbench, tenant: str, tmp_path: Path
) -> None:
    await a_mailing_story(bench, tenant)
    await send(bench, MailFolder(tmp_path))
    (row,) = await mails(bench, tenant)
    notice = (
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n"
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mx\n\n"
        "Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 gone\n\n--b\n"
        f"Content-Type: text/rfc822-headers\n\nMessage-ID: {row['message_id']}\n\n--b--\n"
    )
    headers = {"content-type": "message/rfc822"}
    async with billing.client(tenant, *BOTH) as client:
        noted = await client.post("/v1/mail-notices", content=notice, headers=headers)
        nothing = await client.post("/v1/mail-notices", content=b"\xff\x00", headers=headers)
        too_long = await client.post("/v1/mail-notices", content=b"x" * 300_000, headers=headers)
    assert (noted.status_code, noted.json()["state"], noted.json()["reason"]) == (200, "bounced", "550 gone")
    assert (nothing.status_code, nothing.json()["code"]) == (422, "delivery_notice_unreadable")
    assert too_long.status_code == 413


async def test_words_of_ones_own(
    billing: ServiceUnderTest, bench: Workbench, tenant: str, tmp_path: Path
) -> None:
    text = {"subject": "{{number}} ist da", "intro": "Grüezi\n\n{{due}} bis {{due_on}}."}
    async with billing.client(tenant, *BOTH) as client:
        before = await client.get(TEMPLATE)
        unnamed = await client.put(TEMPLATE, json=text)
        wrong = await client.put(
            TEMPLATE, json={"intro": "a\n{{nobody}}\n{% x %}"}, headers={"if-match": '"0"'}
        )
        made = await client.put(TEMPLATE, json=text, headers={"if-match": '"0"'})
        listed = (await client.get("/v1/mail-templates")).json()["data"]
        stale = await client.put(TEMPLATE, json=text, headers={"if-match": '"0"'})
        unknown = await client.get("/v1/mail-templates/invoice/ja")
        gone = await client.delete(TEMPLATE, headers={"if-match": '"1"'})
        after = await client.get(TEMPLATE)
    assert (before.json()["version"], before.json()["subject"]) == (0, None)
    assert before.json()["example"]["subject"] == "Ihre Rechnung INV-000042 von Engines Inc."
    assert "due_on" in before.json()["values"]
    assert unnamed.status_code == 428
    assert wrong.status_code == 422
    assert [error["detail"][:7] for error in wrong.json()["errors"]] == ["line 2:", "line 3:"]
    assert made.json()["example"]["subject"] == "INV-000042 ist da"
    assert "EUR\xa02’349.00" in made.json()["example"]["text"]
    assert [template["locale"] for template in listed] == ["de-CH"]
    assert (stale.status_code, unknown.status_code, gone.status_code) == (412, 422, 204)
    assert after.json()["version"] == 0


async def test_the_pages_and_the_e_invoice_go_with_it(bench: Workbench, tenant: str, tmp_path: Path) -> None:
    """The PDF to everybody; the XML to whoever takes e-invoices by mail."""
    await bench.add_seller(tenant, details=SELLS, country="NL", tax_number="NL123456782B90")
    story = a_reader(tenant)
    await bench.know_customer(story)
    address = ElectronicAddress("EM", "e-invoices@delta.example")
    async with bench.open(tenant) as uow:
        delivery = DocumentDelivery(electronic_address=address, mail_to=("ap@delta.example",))
        uow.billing_profiles.add(
            BillingProfile(story.customer.customer_id, created_at=LONG_AFTER, delivery=delivery)
        )
    await bench.hear(story.started())
    documents = TypstDocuments()
    try:
        await send(bench, MailFolder(tmp_path), attach=DocumentFiles(documents, EInvoiceFiles()))
    finally:
        await documents.close()
    (path,) = files(tmp_path, tenant)
    read = cast(EmailMessage, message_from_bytes(path.read_bytes(), policy=policy.default))
    found = {part.get_content_type(): part for part in read.iter_attachments()}
    (row,) = await mails(bench, tenant)
    (invoice,) = await bench.invoices(tenant)
    pdf = found["application/pdf"]
    assert pdf.get_filename() == f"{invoice['number']}.pdf"
    assert pdf.get_content().startswith(b"%PDF-1.7")
    assert json.loads(row["attached"]) == [pdf.get_filename(), f"{invoice['number']}-ubl.xml"]
    assert etree.fromstring(found["application/xml"].get_content()).tag.endswith("Invoice")


async def test_an_account_is_mailed_when_somebody_asks_for_it(
    billing: ServiceUnderTest, bench: Workbench, tenant: str, tmp_path: Path
) -> None:
    _, story = await a_mailing_story(bench, tenant, details=replace(SELLS, mails=()))
    path = f"/v1/customer-statements/{story.customer.customer_id}/mails"
    of_january = {"start_on": "2025-01-01", "end_on": "2025-02-01"}
    async with billing.client(tenant, *BOTH) as client:
        own = await client.post(path, json=of_january, headers=once("1"))
        repeated = await client.post(path, json=of_january, headers=once("1"))
        other = {**of_january, "to": "boss@x.example", "locale": "nl"}
        told = await client.post(path, json=other, headers=once("2"))
        reversed_ = await client.post(path, json={**of_january, "end_on": "2024-12-01"}, headers=once("3"))
        nobodys = await client.post(
            path.replace(story.customer.customer_id, new_id("cus")), json={}, headers=once("4")
        )
    documents = TypstDocuments()
    try:
        await send(bench, MailFolder(tmp_path), attach=DocumentFiles(documents, EInvoiceFiles()))
    finally:
        await documents.close()
    assert (own.status_code, repeated.content) == (201, own.content)
    assert [one.json()["data"][0]["to"] for one in (own, told)] == ["ap@delta.example", "boss@x.example"]
    assert (reversed_.status_code, nobodys.status_code) == (422, 404)
    assert await states(bench, tenant) == [("statement", "sent", None)] * 2
    dutch = next(path for path in files(tmp_path, tenant) if "boss" in path.read_text(encoding="utf-8"))
    read = cast(EmailMessage, message_from_bytes(dutch.read_bytes(), policy=policy.default))
    (pages,) = read.iter_attachments()
    assert pages.get_filename() == "statement-2025-01-01-2025-01-31.pdf"
    text = PdfReader(BytesIO(pages.get_content())).pages[0].extract_text()
    (invoice,) = await bench.invoices(tenant)
    assert "Rekeningoverzicht" in text
    assert invoice["number"] in text


@pytest.mark.parametrize(
    ("details", "pointer"),
    [
        ({"payment_url": "http://plain.example"}, "/details/payment_url"),
        ({"payment_url": "https://x.example/{secret}"}, "/details/payment_url"),
        ({"payment_url": "https://u@x.example/"}, "/details/payment_url"),
        ({"mails": ["nothing"]}, "/details/mails/0"),
    ],
)
async def test_details_that_cannot_be(
    billing: ServiceUnderTest, tenant: str, details: dict[str, Any], pointer: str
) -> None:
    seller = {"code": "main", "name": "Engines Inc.", "country": "US", "details": details}
    async with billing.client(tenant, *BOTH) as client:
        refused = await client.post("/v1/sellers", json=seller, headers=once())
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]


async def test_details_are_kept(billing: ServiceUnderTest, tenant: str) -> None:
    details = {"mail_from": "a@b.example", "mails": [], "payment_url": "https://x.example/pay?i={invoice_id}"}
    seller = {"code": "main", "name": "Engines Inc.", "country": "US", "details": details}
    async with billing.client(tenant, *BOTH) as client:
        made = await client.post("/v1/sellers", json=seller, headers=once())
        shown = await client.get(made.headers["location"])
    assert {name: shown.json()["details"][name] for name in details} == details
