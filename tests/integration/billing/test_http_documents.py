"""Documents over HTTP: pages of what is stored, logos that hold shapes only, statements that add up to the ledger."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from io import BytesIO
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pypdf import PdfReader

from libs.common.contracts.catalog import PlanPublishedV1
from tests.integration.billing.crediting import an_invoice, eur, get, post
from tests.integration.billing.workbench import LONG_AFTER, Workbench
from tests.support.billing import FEE, Story, a_plan
from tests.support.sample_documents import LOGO_SVG
from tests.support.service_under_test import ServiceUnderTest

BOTH = ("billing:read", "billing:write")
SELLER: dict[str, Any] = {
    "code": "main",
    "name": "Engines B.V.",
    "country": "NL",
    "tax_number": "NL123456789B01",
    "details": {
        "postal_address": {"line1": "Kade 1", "city": "Amsterdam", "country": "NL"},
        "bank": {"iban": "NL91ABNA0417164300"},
        "colour": "#ffe600",
    },
}
Thing = dict[str, Any]


@dataclass
class Office:
    client: httpx.AsyncClient
    story: Story
    seller: Thing

    @property
    def customer(self) -> str:
        return self.story.customer.customer_id


async def someone(bench: Workbench, tenant: str) -> Story:
    story = Story(tenant)
    story.customer = story.customer.model_copy(update={"country": "NL"})
    await bench.know_customer(story)
    return story


@pytest_asyncio.fixture
async def office(billing: ServiceUnderTest, bench: Workbench, tenant: str) -> AsyncIterator[Office]:
    async with billing.client(tenant, *BOTH) as client:
        seller = await post(client, "/v1/sellers", SELLER)
        yield Office(client, await someone(bench, tenant), seller)


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/pdf"
    return "\n".join(page.extract_text() for page in PdfReader(BytesIO(answer.content)).pages)


async def test_an_invoice_as_pages(office: Office) -> None:
    invoice = await an_invoice(office.client, office.story, ("2", "100.00"), ("1", "17.35"))
    path = f"/v1/invoices/{invoice['id']}/pdf"
    answer = await office.client.get(path)
    text = text_of(answer)
    for amount in ("100.00", "200.00", "17.35", invoice["total"]["amount"], "NL91"):
        assert amount in text, amount
    assert invoice["number"] in text
    assert answer.headers["content-disposition"] == f'inline; filename="{invoice["number"]}.pdf"'
    again = await office.client.get(path)
    known = await office.client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert again.content == answer.content
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", answer.headers["etag"])
    german = await office.client.get(path, params={"language": "de-AT"})
    assert "Rechnung" in text_of(german)
    assert german.headers["etag"] != answer.headers["etag"]
    refused = await office.client.get(path, params={"language": "xx-YY-9"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_parameters")


async def test_a_draft_is_marked_and_a_void_invoice_as_well(office: Office) -> None:
    draft = await an_invoice(office.client, office.story, ("1", "10.00"), finalize=False)
    answer = await office.client.get(f"/v1/invoices/{draft['id']}/pdf")
    text = text_of(answer)
    assert "Draft" in text
    assert "12.10" in text  # with the tax that it would have
    assert answer.headers["content-disposition"] == 'inline; filename="draft.pdf"'
    invoice = await an_invoice(office.client, office.story, ("1", "10.00"))
    before = (await office.client.get(f"/v1/invoices/{invoice['id']}/pdf")).headers["etag"]
    await post(office.client, f"/v1/invoices/{invoice['id']}/voids", {"reason": "wrong"})
    voided = await office.client.get(f"/v1/invoices/{invoice['id']}/pdf", headers={"if-none-match": before})
    assert "VOID" in text_of(voided)


async def test_a_credit_note_as_pages(office: Office) -> None:
    invoice = await an_invoice(office.client, office.story, ("1", "100.00"))
    body = {"invoice_id": invoice["id"], "reason": "late", "amount": eur("60.50")}
    note = await post(office.client, "/v1/credit-notes", body)
    text = text_of(await office.client.get(f"/v1/credit-notes/{note['id']}/pdf"))
    for words in (note["number"], invoice["number"], "60.50", "50.00", "10.50", "late"):
        assert words in text, words


async def test_a_document_names_the_plan_as_its_version_does(
    office: Office, bench: Workbench, tenant: str
) -> None:
    """A later version, which has other prices and another name, changes nothing."""
    for plan in (a_plan(), a_plan(FEE, number=2, name="Renamed since")):
        told = PlanPublishedV1(tenant=tenant, version=plan.plan_version, occurred_at=LONG_AFTER, plan=plan)
        await bench.hear(told)
    story, of_plan = office.story, {"plan_code": "engines"}
    for told_of in (story.started(), story.renewed(1)):
        agreed = told_of.subscription.model_copy(update=of_plan)
        await bench.hear(told_of.model_copy(update={"subscription": agreed}))
    await bench.hear(story.window_closed(0, "12.5"))
    _, invoice = await bench.invoices(tenant)
    text = text_of(await office.client.get(f"/v1/invoices/{invoice['id']}/pdf", params={"language": "de"}))
    assert "Tarif" in text
    assert text.count("Engines by the minute") >= 2  # on its first page, and where its usage is told
    assert "Renamed since" not in text


async def test_customers_have_their_own_documents_only(
    office: Office, billing: ServiceUnderTest, bench: Workbench, tenant: str
) -> None:
    other = await someone(bench, tenant)
    mine = await an_invoice(office.client, office.story, ("1", "10.00"))
    theirs = await an_invoice(office.client, other, ("1", "10.00"))
    note = await post(office.client, "/v1/credit-notes", {"invoice_id": theirs["id"], "reason": "late"})
    async with billing.client(tenant, "billing:read", customer=office.customer) as portal:
        assert (await portal.get(f"/v1/invoices/{mine['id']}/pdf")).status_code == 200
        assert (await portal.get(f"/v1/customer-statements/{office.customer}/pdf")).status_code == 200
        for path in (
            f"/v1/invoices/{theirs['id']}/pdf",
            f"/v1/credit-notes/{note['id']}/pdf",
            f"/v1/customer-statements/{other.customer.customer_id}",
            f"/v1/customer-statements/{other.customer.customer_id}/pdf",
        ):
            assert (await portal.get(path)).status_code == 404, path
        assert (await portal.get(f"/v1/sellers/{office.seller['id']}/logo")).status_code == 403


async def test_a_statement_adds_up_to_the_ledger(office: Office, bench: Workbench, tenant: str) -> None:
    client, customer = office.client, office.customer
    first = await an_invoice(client, office.story, ("1", "100.00"))
    await an_invoice(client, office.story, ("1", "50.00"))
    goodwill = {"customer_id": customer, "amount": eur("20.00"), "reason": "sorry"}
    await post(client, "/v1/customer-balances/adjustments", goodwill)
    await bench.add_method(office.story)
    await bench.collect()
    await post(
        client, "/v1/credit-notes", {"invoice_id": first["id"], "reason": "late", "amount": eur("12.10")}
    )
    other = await someone(bench, tenant)
    await an_invoice(client, other, ("1", "999.00"))
    all_time = {"from": "2000-01-01", "to": "2199-01-01"}  # payments are of the clock of the test
    told = await get(client, f"/v1/customer-statements/{customer}", **all_time)
    (account,) = told["accounts"]
    kinds = [entry["kind"] for entry in account["entries"]]
    assert {"invoice", "adjustment", "credit_note", "payment"} == set(kinds)
    assert kinds.count("invoice") == 2
    balance = Decimal(account["opening_balance"]["amount"])
    for entry in account["entries"]:
        balance += Decimal(entry["change"]["amount"])
        assert Decimal(entry["balance"]["amount"]) == balance
    assert Decimal(account["closing_balance"]["amount"]) == balance
    open_, credit = (Decimal(account[key]["amount"]) for key in ("closing_balance", "credit"))
    assert Decimal(account["aging"]["open"]["amount"]) == open_ + credit
    ledger = await bench.rows(
        """SELECT sum(e.amount_minor)::bigint AS owed FROM ledger_entry e WHERE e.tenant = $1 AND e.account = ANY($2)
           AND e.invoice_id IS DISTINCT FROM (SELECT id FROM invoice WHERE tenant = $1 AND customer_id = $3)""",
        tenant,
        ["accounts_receivable", "customer_credit", "refunds_payable", "unapplied_payments"],
        other.customer.customer_id,
    )
    assert balance * 100 == ledger[0]["owed"]
    text = text_of(await client.get(f"/v1/customer-statements/{customer}/pdf", params={"language": "nl"}))
    assert "Rekeningoverzicht" in text
    assert first["number"] in text


async def test_a_statement_goes_on_from_the_one_before(office: Office) -> None:
    invoice = await an_invoice(office.client, office.story, ("1", "100.00"))
    on = invoice["issued_at"][:10]
    path = f"/v1/customer-statements/{office.customer}"
    day = (await get(office.client, path))["end_on"]
    assert day > on
    later = await get(office.client, path, **{"from": day, "to": "2199-01-01"})
    (account,) = later["accounts"]
    assert (account["opening_balance"], account["entries"]) == (eur("121.00"), [])
    assert account["closing_balance"] == eur("121.00")
    assert account["aging"]["overdue"][-1] == {"from_days": 91, "to_days": None, "amount": eur("121.00")}
    assert (await get(office.client, path, **{"from": "1999-01-01", "to": "2000-01-01"}))["accounts"] == []


@pytest.mark.parametrize(
    ("path", "asked", "status", "code"),
    [
        ("{me}", {"from": "2025-02-01", "to": "2025-02-01"}, 422, "ledger_dates_reversed"),
        ("{me}/pdf", {"from": "2025-02-30"}, 422, "invalid_parameters"),
        ("cus_01m82rh376192avg9d2qyv6rkg", {}, 404, "customer_not_found"),
    ],
)
async def test_what_is_asked_wrongly_of_statements_is_refused(
    office: Office, path: str, asked: dict[str, str], status: int, code: str
) -> None:
    answer = await office.client.get(
        f"/v1/customer-statements/{path.format(me=office.customer)}", params=asked
    )
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def sent(content: bytes) -> dict[str, str]:
    return {"content": b64encode(content).decode()}


def png(width: int = 40, height: int = 20, *, pixels: bytes | None = None) -> bytes:
    def chunk(kind: bytes, part: bytes) -> bytes:
        return struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))

    packed = zlib.compress(pixels if pixels is not None else (b"\0" + b"\x0a\x7f\x5a" * width) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


async def test_issued_documents_keep_the_logo_that_they_had(office: Office) -> None:
    client, path = office.client, f"/v1/sellers/{office.seller['id']}/logo"
    assert (await client.get(path)).json()["code"] == "logo_not_found"
    plain = await an_invoice(client, office.story, ("1", "10.00"))
    unnamed = await client.put(path, json=sent(LOGO_SVG))
    assert (unnamed.status_code, unnamed.json()["code"]) == (428, "version_required")
    put = await client.put(path, json=sent(LOGO_SVG), headers={"if-match": '"1"'})
    assert (put.status_code, put.json()["media_type"], put.json()["version"]) == (200, "image/svg+xml", 2)
    again = await client.put(path, json=sent(LOGO_SVG), headers={"if-match": '"2"'})
    assert again.json()["version"] == 2
    stale = await client.put(path, json=sent(png()), headers={"if-match": '"1"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "version_changed")
    drawn = await an_invoice(client, office.story, ("1", "10.00"))
    shown = await client.get(path)
    assert (shown.content, shown.headers["content-type"]) == (LOGO_SVG, "image/svg+xml")
    assert "sandbox" in shown.headers["content-security-policy"]
    changed = {"details": {**SELLER["details"], "colour": "#112233"}}
    patched = await client.patch(
        f"/v1/sellers/{office.seller['id']}", json=changed, headers={"if-match": '"2"'}
    )
    assert patched.status_code == 200, patched.text
    assert (await client.get(path)).content == LOGO_SVG
    put = await client.put(path, json=sent(png()), headers={"if-match": '"3"'})
    assert put.json()["media_type"] == "image/png"
    before = {id: await _etag(client, id) for id in (plain["id"], drawn["id"])}
    gone = await client.delete(path, headers={"if-match": '"4"'})
    assert (gone.json()["id"], gone.json()["version"]) == (None, 5)
    assert {id: await _etag(client, id) for id in before} == before
    pictures = [
        "/Form" in str(PdfReader(BytesIO(await _pdf(client, id))).pages[0]["/Resources"]) for id in before
    ]
    assert pictures != [True, False]


async def _etag(client: httpx.AsyncClient, id: str) -> str:
    return str((await client.get(f"/v1/invoices/{id}/pdf")).headers["etag"])


async def _pdf(client: httpx.AsyncClient, id: str) -> bytes:
    return (await client.get(f"/v1/invoices/{id}/pdf")).content


def svg(inside: str, *, attributes: str = "") -> bytes:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"{attributes}>{inside}</svg>'.encode()


REFUSED = {
    "nothing": b" ",
    "text": b"hello",
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(100),
    "html": b"<html><body/></html>",
    "script": svg("<script>alert(1)</script>"),
    "handler": svg('<rect width="3" height="3" onload="alert(1)"/>'),
    "foreign": svg('<foreignObject><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject>'),
    "xhtml": svg('<metadata><s xmlns="http://www.w3.org/1999/xhtml"/></metadata>'),
    "image": svg('<image href="https://example.com/x.png"/>'),
    "link": svg('<linearGradient id="a" href="https://example.com/x#y"/>'),
    "use": svg('<g id="a"><use href="#a"/></g>'),
    "style": svg("<style>@import url(https://example.com/x.css);</style>"),
    "fill": svg('<rect fill="url(https://example.com/x.svg#a)" width="3" height="3"/>'),
    "css": svg('<rect style="fill:url( http://example.com#a )" width="3" height="3"/>'),
    "doctype": b'<!DOCTYPE svg [<!ENTITY a "b">]>' + svg("<title>&a;</title>"),
    "instruction": b'<?xml-stylesheet href="https://example.com/x.css"?>' + svg("<?php x ?>"),
    "deep": svg("<g>" * 60 + "</g>" * 60),
    "many": svg("<g/>" * 6000),
    "cut png": png()[:-20],
    "wrong crc": png().replace(b"IHDR", b"IHDX"),
    "bomb": png(100, 100, pixels=bytes(10_000_000)),
    "huge": png(3_000, 3_000, pixels=b"x"),
    "no pixels": png(pixels=b""),
    "large": png() + bytes(300_000),
}


async def test_what_is_no_picture_or_more_than_one_is_refused(office: Office) -> None:
    path = f"/v1/sellers/{office.seller['id']}/logo"
    for name, content in REFUSED.items():
        answer = await office.client.put(path, json=sent(content), headers={"if-match": '"1"'})
        assert answer.status_code == 422, (name, answer.text)
        assert answer.json()["code"] in ("logo_refused", "invalid_body"), (name, answer.text)
    broken = await office.client.put(path, json={"content": "§§"}, headers={"if-match": '"1"'})
    assert broken.json()["code"] == "logo_refused"
    assert (await office.client.get(path)).status_code == 404
    kept = svg(
        '<style>.a{fill:url(#g)}</style><defs><linearGradient id="g"><stop offset="0" stop-color="#123"/>'
        '</linearGradient></defs><rect class="a" width="3" height="3"/>'
    )
    answer = await office.client.put(path, json=sent(kept), headers={"if-match": '"1"'})
    assert answer.status_code == 200, answer.text
