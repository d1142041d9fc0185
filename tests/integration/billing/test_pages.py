"""Documents as pages: what is extracted is what the document says, whatever is in it; each is a valid PDF/A-3b."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader
from pypdf.generic import ArrayObject, DictionaryObject

from libs.common.money import Money
from services.billing.adapters.document_sheet import Sheet, sheet_of
from services.billing.adapters.document_texts import texts_in
from services.billing.adapters.statement_sheet import statement_sheet
from services.billing.adapters.typesetting import Typesetting, TypesettingFailed, TypesettingTimedOut
from services.billing.adapters.typst_documents import TypstDocuments
from services.billing.application.render_document import DocumentsBusy, render_pdf
from services.billing.domain.issued_document import IssuedDocument
from tests.support import sample_documents
from tests.support.sample_documents import (
    DOCUMENTS,
    FOLDER,
    a_buyer,
    a_document,
    a_logo,
    a_seller,
    latin,
    sheets,
    usual_lines,
)
from tests.support.verapdf import missing_validator, verdicts

SHEETS = sheets()
_SPACE = re.compile(r"\s+")


@pytest.fixture(scope="module")
def typesetting() -> Iterator[Typesetting]:
    found = Typesetting()
    yield found
    found.close()


@pytest.fixture(scope="module")
def files(typesetting: Typesetting) -> dict[str, bytes]:
    return {name: typesetting.pdf(sheet).content for name, sheet in SHEETS.items()}


def text_of(pdf: bytes) -> str:
    """What a reader finds on all pages, without spaces: those of other widths come out as they like."""
    found = "".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages)
    return squeezed(found)


def squeezed(text: str) -> str:
    return re.sub(r"[\u2066-\u2069]", "", _SPACE.sub("", text)).replace("\N{HYPHEN}", "-")


def amounts_of(sheet: Sheet) -> list[str]:
    """Every amount that is to stand on the pages, as it is written there."""
    content = sheet.content
    if sheet.template == "statement":
        rows = [row for account in content["accounts"] for row in account["rows"]]
        found = [row[key] for row in rows for key in ("charged", "settled", "balance")]
        for account in content["accounts"]:
            found += [total["amount"] for total in account["totals"]]
            found += [] if account["aging"] is None else account["aging"]["amounts"]
        return found
    lines = [line for group in content["groups"] for line in group["lines"]]
    found = [line[key] for line in lines for key in ("quantity", "unit", "amount")]
    found += [total["amount"] for total in content["totals"]]
    if content["taxes"] is not None:
        found += [amount for row in content["taxes"]["rows"] for amount in row[1:]]
    return found


@pytest.mark.parametrize("name", SHEETS)
def test_every_amount_is_on_the_pages(name: str, files: dict[str, bytes]) -> None:
    text = text_of(files[name])
    for amount in amounts_of(SHEETS[name]):
        assert squeezed(amount) in text, amount


@pytest.mark.parametrize("name", DOCUMENTS)
def test_amounts_are_those_of_the_document(name: str) -> None:
    document: IssuedDocument = DOCUMENTS[name]()
    content = SHEETS[name].content
    texts = texts_in(document.language)
    lines = [line for group in content["groups"] for line in group["lines"]]
    by_subscription = {line.subscription_id: None for line in document.lines}
    told = [line for id in by_subscription for line in document.lines if line.subscription_id == id]
    assert [line["amount"] for line in lines] == [texts.amount(line.amount) for line in told]
    totals = {total["kind"]: total["amount"] for total in content["totals"]}
    if document.is_credit_note:
        assert totals["due"] == texts.money(document.total)
    else:
        assert totals["strong"] == texts.money(document.total)
        assert totals.get("due") == (None if document.is_void else texts.money(document.due))


def test_the_same_document_is_the_same_file(files: dict[str, bytes]) -> None:
    other = Typesetting()
    try:
        assert other.pdf(sheet_of(latin(), logo=a_logo())).content == files["invoice"]
    finally:
        other.close()
    tags = {sheet.tag for sheet in SHEETS.values()}
    assert len(tags) == len(SHEETS)
    assert sheet_of(latin(), logo=a_logo()).tag == SHEETS["invoice"].tag != sheet_of(latin()).tag


def test_samples_are_up_to_date(files: dict[str, bytes]) -> None:
    """Else run `python -m tests.support.sample_documents`, and look at what came of it."""
    for name, content in files.items():
        assert (FOLDER / f"{name}.pdf").read_bytes() == content, name
        assert (FOLDER / f"{name}.png").read_bytes()[:4] == b"\x89PNG", name
    page = Path("docs/documents.md").read_text("utf-8")
    assert all(f"samples/{name}.pdf" in page and f"samples/{name}.png" in page for name in files)


@pytest.mark.parametrize("name", ["invoice", "invoice-right-to-left", "invoice-jpy"])
def test_every_font_is_inside(name: str, files: dict[str, bytes]) -> None:
    fonts = {
        str(found["/BaseFont"]): found
        for page in PdfReader(BytesIO(files[name])).pages
        for found in _fonts(page["/Resources"])
    }
    assert fonts
    for font, found in fonts.items():
        (descendant,) = [one.get_object() for one in _array(found["/DescendantFonts"])]
        descriptor = descendant["/FontDescriptor"].get_object()
        assert any(key in descriptor for key in ("/FontFile2", "/FontFile3")), font
        assert re.match(r"/[A-Z]{6}\+NotoSans", font), font


def _fonts(resources: Any) -> list[DictionaryObject]:
    return [font.get_object() for font in resources.get_object()["/Font"].get_object().values()]


def _array(value: Any) -> ArrayObject:
    found = value.get_object()
    assert isinstance(found, ArrayObject)
    return found


@pytest.mark.skipif(missing_validator() is not None, reason=missing_validator() or "")
def test_each_is_a_valid_pdf_a_3b(files: dict[str, bytes], tmp_path: Path) -> None:
    """Of each kind of page one; the long form has them all."""
    chosen = ["invoice", "invoice-right-to-left", "credit-note", "invoice-void", "statement"]
    for name in chosen:
        (tmp_path / f"{name}.pdf").write_bytes(files[name])
    found = verdicts(sorted(tmp_path.glob("*.pdf")))
    assert found == {f"{name}.pdf": "PASS" for name in chosen}


HOSTILE = [
    '#panic("no")',
    "#import \"/parts.typ\": *",
    "$ x + y $ `raw` *bold* _it_ \\ @ref <label> = heading",
    "#{while true {}}",
    "#read(\"/etc/passwd\")",
    "]]] #[ ((( {{{ \\u{202e} // /* ",
    "</script><b>&amp;\"'",
    "\u202egnp.eciovni\u202c",
    "a\u0301" * 200,
    "W" * 300,
    "\U0001f600 \U00012345 \uffff \ue000",
    "line one\nline two\r\nline three\x00\x07\x1b[31m",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_what_names_hold_is_text_and_nothing_else(text: str, typesetting: Typesetting) -> None:
    lines = [replace(usual_lines()[0], description=text)]
    document = a_document(
        lines,
        buyer=a_buyer(name=text, legal_name=text),
        seller=a_seller(name=text, footer=text),
        notes=text,
        purchase_order=text,
        number="N-1",
    )
    pages = typesetting.pdf(sheet_of(document))
    found = text_of(pages.content)
    assert squeezed(texts_in("en").money(document.due)) in found
    if text.isascii() and text.isprintable():
        assert squeezed(text) in found
    assert "NL91ABNA0417164300" in found


def test_what_no_font_has_is_told_and_replaced(typesetting: Typesetting) -> None:
    document = replace(
        latin(), notes="smile \U0001f600, \U00012345 and 漢字, 汉语, 한국어, עברית, العربية, Ελλάδα"
    )
    pages = typesetting.pdf(sheet_of(document))
    assert pages.missing == ("\U00012345", "\U0001f600")
    assert "smile\N{REPLACEMENT CHARACTER}," in text_of(pages.content)


def test_amounts_are_not_told_of_a_compensation_note_that_are_none(files: dict[str, bytes]) -> None:
    text = text_of(files["compensation-note"])
    assert "NL123456789B01" not in text
    assert "DE123456788" not in text
    assert "outsidethescopeofVAT" in text


def test_drafts_and_voids_say_so(files: dict[str, bytes]) -> None:
    assert "Draft" in text_of(files["invoice-draft"])
    assert "ANNULÉ" in text_of(files["invoice-void"])
    assert "RF" not in text_of(files["invoice-draft"])


def test_a_transfer_is_coded_where_it_can_be_made() -> None:
    assert "qr.svg" in sheet_of(latin()).files
    for name in ("invoice-jpy", "invoice-bhd", "invoice-draft", "invoice-void", "credit-note"):
        assert "qr.svg" not in SHEETS[name].files, name
    paid = replace(latin(), paid=latin().due, status="paid")
    assert "qr.svg" not in sheet_of(paid).files
    assert sheet_of(paid).content["payment"]["words"] == ["Nothing is left to be paid."]


def test_numbers_and_dates_are_those_of_the_country() -> None:
    money = Money(123_456_789, "EUR")
    found = {tag: texts_in(tag).money(money) for tag in ("en-GB", "de-DE", "de-CH", "nl-NL", "fr-FR", "xx")}
    assert found == {
        "en-GB": "€1,234,567.89",
        "de-DE": "1.234.567,89\u00a0€",
        "de-CH": "EUR\u00a01’234’567.89",
        "nl-NL": "€\u00a01.234.567,89",
        "fr-FR": "1\u202f234\u202f567,89\u00a0€",
        "xx": "€1,234,567.89",
    }
    assert texts_in("en").money(Money(1_234, "BHD")) == "BHD\u00a01.234"
    assert texts_in("en").money(Money(1_234, "IQD")) == "IQD\u00a01.234"  # three decimals by ISO 4217
    assert texts_in("en").money(Money(2**63 - 1, "EUR")) == "€92,233,720,368,547,758.07"
    assert texts_in("ja-JP").money(Money(-1_234, "JPY")) == "-¥1,234"


def test_totals_never_stand_alone() -> None:
    """Whatever the number of lines: the last of them is on the page with the total."""
    typesetting = Typesetting()
    try:
        for count in (13, 14, 15, 16, 17):
            lines = [replace(usual_lines()[1], description=f"Part {place}") for place in range(count)]
            pdf = typesetting.pdf(sheet_of(a_document(lines))).content
            pages = [squeezed(page.extract_text()) for page in PdfReader(BytesIO(pdf)).pages]
            (with_total,) = [page for page in pages if "Amountdue" in page]
            assert f"Part{count - 1}" in with_total, count
            assert "Description" in with_total, count
    finally:
        typesetting.close()


async def test_the_process_ends_when_idle_and_another_follows() -> None:
    typesetting = Typesetting(idle_s=0.2)
    assert typesetting.pid is None
    documents = TypstDocuments(typesetting)
    first = await render_pdf(latin(), renderer=documents)
    assert typesetting.pid is not None
    for _ in range(100):
        if typesetting.pid is None:
            break
        await asyncio.sleep(0.05)
    assert typesetting.pid is None
    assert await render_pdf(latin(), renderer=documents) == first
    await documents.close()
    assert typesetting.pid is None


def test_what_takes_too_long_is_ended_and_what_follows_is_set() -> None:
    typesetting = Typesetting(timeout_s=0.001)
    with pytest.raises(TypesettingTimedOut):
        typesetting.pdf(sheet_of(latin()))
    typesetting.timeout_s = 30
    assert typesetting.pdf(sheet_of(latin())).content.startswith(b"%PDF-1.7")
    broken = Sheet("document", {}, latin().issued_on or sample_documents.MADE_AT.date())
    with pytest.raises(TypesettingFailed):
        typesetting.pdf(broken)
    assert typesetting.pdf(sheet_of(latin())).content.startswith(b"%PDF-1.7")
    typesetting.close()


async def test_so_many_wait_at_most() -> None:
    documents = TypstDocuments(waiting_max=1)
    under_way = asyncio.create_task(documents.render(latin()))
    started = time.monotonic()
    await asyncio.sleep(0)
    with pytest.raises(DocumentsBusy):
        await documents.render(latin())
    assert time.monotonic() - started < 0.5
    assert (await under_way).startswith(b"%PDF")
    await documents.close()


def test_a_statement_adds_up() -> None:
    stated = sample_documents.statement()
    (account,) = stated.accounts
    assert account.entries[-1].balance == account.closing
    assert statement_sheet(stated).content["accounts"][0]["totals"][-1]["amount"] == "€8,643.98"
