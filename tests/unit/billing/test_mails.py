"""Mails in words: every kind in every language, in the right variant, and nothing that breaks a header or a page."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.money import Money
from services.billing.adapters.mail_message import AddressUnusable, MessageComposer, usable_address
from services.billing.adapters.mail_renderer import (
    TEXTS,
    TemplateRenderer,
    ink_on,
    language_for,
    languages,
    money_text,
)
from services.billing.application.mail_ports import Attachment, OutgoingMail
from services.billing.application.queue_mail import is_mailed
from services.billing.domain.delivery_notice import NoticeUnreadable, read_notice
from services.billing.domain.mail import MAIL_KINDS, MailKind, Rendered, mail_id, message_id_of, pause_after
from services.billing.domain.mail_contents import (
    MailMaterial,
    contents_of,
    example_contents,
    example_names,
)
from services.billing.domain.mail_template import MailTemplate
from services.billing.domain.placeholders import faults_in, names_in
from tests.unit.billing.mail_cases import (
    CUSTOMER,
    DETAILS,
    MAIL_ID,
    NOW,
    SELLER,
    a_document,
    a_mail,
    material,
)

RENDERER = TemplateRenderer()
LANGUAGES = ("de", "en", "fr", "nl")


def rendered(given: MailMaterial, **changes: Any) -> Rendered:
    asked = {"language": given.language, "own": {}, **changes}
    return RENDERER.render(contents_of(given), seller=given.seller, **asked)


def texts(language: str) -> dict[str, Any]:
    return tomllib.loads((TEXTS / f"{language}.toml").read_text(encoding="utf-8"))


def variants(kind: MailKind) -> list[str | None]:
    found = texts("en")["kinds"][kind]
    return [None, *(name for name, part in found.items() if isinstance(part, dict))]


EVERY = [
    (kind, variant, language) for kind in MAIL_KINDS for variant in variants(kind) for language in LANGUAGES
]


class _Tags(HTMLParser):
    """Whether every element is closed, in its order."""

    VOID = ("meta", "br", "!doctype")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read_html(html: str) -> _Tags:
    tags = _Tags()
    tags.feed(html)
    tags.close()
    assert tags.open == []
    return tags


def test_languages_that_ship() -> None:
    assert languages() == LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_the_same_things(language: str) -> None:
    """Kind by kind, variant by variant, part by part, and naming nothing that English does not name."""

    def shape(given: Any) -> Any:
        return {name: shape(part) for name, part in given.items()} if isinstance(given, dict) else None

    said, english = texts(language), texts("en")
    assert shape(said) == shape(english)
    assert set(said["kinds"]) == set(MAIL_KINDS)
    for kind, parts in said["kinds"].items():
        for part, text in parts.items():
            if isinstance(text, str):
                assert set(names_in(text)) == set(names_in(english["kinds"][kind][part])), (kind, part)


@pytest.mark.parametrize(("kind", "variant", "language"), EVERY)
def test_every_kind_can_be_said(kind: MailKind, variant: str | None, language: str) -> None:
    example = example_contents(kind, seller=SELLER, variant=variant)
    found = RENDERER.render(example, seller=SELLER, language=language, own={})
    assert found.subject
    assert not re.search(r"[{}]|None|Money|undefined", f"{found.subject}{found.text}")
    assert "\n" not in found.subject
    assert f'lang="{language}"' in found.html
    said = "".join(read_html(found.html).text)
    for line in found.text.splitlines():
        if line.strip() and not line.startswith("--"):
            assert line.partition(": ")[2].strip() in said


@pytest.mark.parametrize("kind", MAIL_KINDS)
def test_what_may_be_named_is_there(kind: MailKind) -> None:
    named = {
        name
        for part in texts("en")["kinds"][kind].values()
        if isinstance(part, str)
        for name in names_in(part)
    }
    assert named - {"next_on"} <= example_names(kind)
    assert example_names(kind) <= set(example_contents(kind, seller=SELLER).names)


class Case(NamedTuple):
    name: str
    given: MailMaterial
    variant: str | None
    link: bool
    transfer: bool


ZERO = Money.zero("EUR")
PAID = a_document(status="paid", paid=Money(202_906, "EUR"))
CREDIT = a_document(total=Money(-500, "EUR"), balance_applied=Money(-500, "EUR"), status="paid")
FREE = a_document(total=ZERO, status="paid")
PART = a_document(paid=Money(100_000, "EUR"))
REST = material(
    "partial_payment", mail=a_mail("partial_payment", details={"amount_minor": 100_000}), document=PART
)
AGAIN = a_mail("payment_failed", details={"next_on": "2026-04-04"})
LAST = a_mail("dunning_final_reminder", details={"next_kind": "suspend", "next_on": "2026-05-01"})
CASES = [
    Case("asks_for_a_transfer", material(), None, True, True),
    Case("without_an_account", material(document=a_document(bank=None)), None, True, False),
    Case("is_collected", material(is_collected=True), "collected", True, False),
    Case("is_paid", material(document=PAID), "paid", False, False),
    Case("gives_to_the_balance", material(document=CREDIT), "credit", False, False),
    Case("costs_nothing", material(document=FREE), "nothing", False, False),
    Case("a_part_came", REST, None, True, True),
    Case("failed_for_good", material("payment_failed"), "last", True, False),
    Case("is_tried_again", material("payment_failed", mail=AGAIN), None, True, False),
    Case("last_reminder", material("dunning_final_reminder", mail=LAST), "suspend", True, True),
    Case("void", material("invoice_voided", document=a_document(status="void")), None, False, False),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_mail_says_depends_on_what_is_due(case: Case) -> None:
    contents = contents_of(case.given)
    assert (contents.variant, contents.link is not None, contents.transfer is not None) == case[2:]
    assert rendered(case.given).text  # whatever it names is there


@pytest.mark.parametrize(
    "kind", ["trial_ending", "renewal_upcoming", "cancellation_receipt", "withdrawal_receipt"]
)
def test_what_is_told_of_subscriptions_needs_no_document(kind: MailKind) -> None:
    details = {
        "plan": "Light",
        "ends_on": "2026-05-01",
        "ends_at": "2026-04-30T22:00:00+00:00",
        "receipt": "rcp_1",
        "on_term_end": "end",
    }
    mail = a_mail(kind, details=details, invoice_id=None, subscription_id="sub_1")
    text = rendered(material(kind, mail=mail, document=None), language="de").text
    assert "Light" in text
    assert "sub_1" in text


def test_a_receipt_says_when_it_was_received_to_the_minute_in_its_zone() -> None:
    mail = a_mail("withdrawal_receipt", details={"plan": "Light", "receipt": "rcp_1"}, invoice_id=None)
    given = material("withdrawal_receipt", mail=mail, document=None)
    assert "1. April 2026, 14:30:00 MESZ" in rendered(given, language="de").text.replace("\u202f", " ")


def test_an_invoice_in_dutch() -> None:
    """To be seen whole, as people read it."""
    text = rendered(material(customer=replace(CUSTOMER, locale="nl-NL")), language="nl-NL").text
    assert text.replace("\xa0", " ") == (
        "Beste Delta Air Lines,\n"
        "\n"
        "Hierbij ontvangt u uw factuur INV-000042 van 1 april 2026. Wilt u € 2.029,06 betalen vóór of op 15 april 2026?\n"
        "\n"
        "Nummer: INV-000042\n"
        "Datum: 1 april 2026\n"
        "Totaal: € 2.029,06\n"
        "Te betalen: € 2.029,06\n"
        "Vervaldatum: 15 april 2026\n"
        "\n"
        "Maak het bedrag over aan\n"
        "Rekeninghouder: Lumen B.V.\n"
        "IBAN: NL91 ABNA 0417 1643 00\n"
        "BIC: ABNANL2A\n"
        f"Betalingskenmerk: {contents_of(material()).transfer.reference}\n"  # type: ignore[union-attr]
        "\n"
        "Nu betalen: https://lumen.example/pay?i=inv_01jz3v6m1qk0c8n4r2d5s7t9wx&n=INV-000042\n"
        "\n"
        "Met vriendelijke groet\n"
        "Lumen B.V.\n"
        "\n"
        "-- \n"
        "Deze mail is automatisch verstuurd; Lumen B.V. leest uw antwoord.\n"
        "Lumen B.V.\n"
        "Keizersgracht 1, 1015 CJ Amsterdam, NL\n"
        "KvK 12345678\n"
        "billing@lumen.example\n"
        "+31 20 555 0100\n"
        "NL123456782B90\n"
    )


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("de-CH", ("de-CH", "CHF\xa01’234.50")),
        ("de", ("de", "1.234,50\xa0CHF")),
        ("fr-FR", ("fr-FR", "1\u202f234,50\xa0CHF")),
        ("ja", ("nl", "CHF\xa01.234,50")),  # the seller's language stands in
        ("en-XA", ("en-XA", "CHF\xa01,234.50")),
        (None, ("nl", "CHF\xa01.234,50")),
    ],
)
def test_the_nearest_language_and_its_numbers(asked: str | None, expected: tuple[str, str]) -> None:
    spoken = language_for(asked, "nl")
    assert (spoken.tag, money_text(Money(123_450, "CHF"), spoken.locale)) == expected


@pytest.mark.parametrize(
    ("money", "expected"),
    [
        (Money(1_500, "JPY"), "¥1,500"),
        (Money(1_500, "BHD"), "BHD\xa01.500"),
        (Money(1_500, "HUF"), "HUF\xa015.00"),
        (Money(-1_500, "EUR"), "-€15.00"),
    ],
)
def test_amounts_have_the_decimals_of_their_currency(money: Money, expected: str) -> None:
    assert money_text(money, language_for("en").locale) == expected


def test_a_name_that_runs_the_other_way_is_isolated() -> None:
    found = rendered(material(customer=replace(CUSTOMER, name="شركة الطيران")), language="en")
    assert "Hello \u2068شركة الطيران\u2069," in found.text


def test_markup_in_names_is_text() -> None:
    hostile = replace(CUSTOMER, name='<script>alert(1)</script> & "Co" {{number}} {% raw %}')
    found = rendered(material(customer=hostile), language="en")
    assert "<script>" not in found.html
    assert "&lt;script&gt;" in found.html
    assert "{{number}}" in found.text  # a value is not looked into
    read_html(found.html)


@pytest.mark.parametrize(
    ("colour", "ink"), [("#000000", "#ffffff"), ("#ffff00", "#111827"), ("#0a7f5a", "#ffffff")]
)
def test_the_words_on_a_button_can_be_read(colour: str, ink: str) -> None:
    assert ink_on(colour) == ink


def test_words_of_a_tenants_own() -> None:
    own = MailTemplate("mtp_1", "invoice", "de", NOW, subject="{{number}}!", intro="Eins\nzwei\n\n{{due}}")
    found = rendered(material(), language="de-AT", own={("invoice", "de"): own})
    assert found.subject == "INV-000042!"
    assert "Eins\nzwei\n" in found.text
    assert "Eins<br>zwei" in found.html


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("Dear {{customer}}", []),
        ("Dear {{ customer }},\n{{nobody}}", [(2, "{{nobody}} is no value of this mail")]),
        ("{{customer\n}}", [(1, '"{{" is not part'), (2, '"}}" is not part')]),
        ("{% for x in y %}", [(1, '"{%" is not part')]),
        ("{{customer.__class__}}", [(1, '"{{" is not part')]),
    ],
)
def test_faults_of_a_text_name_its_line(text: str, faults: list[tuple[int, str]]) -> None:
    found = faults_in(text, {"customer"})
    assert [
        (fault.line, fault.problem[: len(told)]) for fault, (_, told) in zip(found, faults, strict=True)
    ] == faults


def composed(
    given: MailMaterial, *attachments: Attachment, sender: str | None = None
) -> tuple[OutgoingMail, EmailMessage]:
    out = MessageComposer(sender=sender).compose(
        given,
        rendered(given),
        attachments,
        tenant="tnt",
        message_id=message_id_of(given.mail.id, "billing@lumen.example"),
        sent_at=NOW,
    )
    read = message_from_bytes(out.message, policy=policy.default)
    assert isinstance(read, EmailMessage)
    return out, read


def test_a_message() -> None:
    out, read = composed(material(), Attachment("INV-000042.pdf", "application/pdf", b"%PDF-1.7"))
    assert out.sender == "billing@lumen.example"
    assert read["From"] == '"Lumen B.V." <billing@lumen.example>'
    assert read["To"] == "Delta Air Lines <ap@delta.example>"
    assert read["Message-ID"] == f"<{MAIL_ID}@lumen.example>"
    assert read["Auto-Submitted"] == "auto-generated"
    assert read["List-Unsubscribe"] is None
    assert [part.get_content_type() for part in read.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "application/pdf",
    ]
    pdf = list(read.iter_attachments())[-1]
    assert (pdf.get_filename(), pdf.get_content()) == ("INV-000042.pdf", b"%PDF-1.7")
    assert all(len(line) <= 998 for line in out.message.split(b"\r\n"))


def test_a_sender_of_the_operators_leaves_the_answers_to_the_seller() -> None:
    out, read = composed(material(), sender="mailer@perennial.example")
    assert out.sender == "mailer@perennial.example"
    assert read["Reply-To"] == "billing@lumen.example"
    assert "Lumen" in read["From"]


NAMES = [
    "Müller, Söhne & Co",
    "a\r\nBcc: everybody@example.com",
    "a\nX-Injected: yes\n\nbody",
    '"; DROP <x@y.z>, other@example.com',
    "株式会社",
    "\u202eevil\u202c",
    "x" * 400,
    "\x00\x07",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_breaks_a_header(name: str) -> None:
    given = material(customer=replace(CUSTOMER, name=name), seller=replace(SELLER, name=name or "x"))
    out, read = composed(given)
    assert {header.lower() for header in read.keys()} == {  # noqa: SIM118  # headers, once each
        "from", "to", "reply-to", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type",
    }  # fmt: skip
    assert [address.addr_spec for address in read["To"].addresses] == ["ap@delta.example"]
    assert [address.addr_spec for address in read["From"].addresses] == ["billing@lumen.example"]
    assert out.recipient == "ap@delta.example"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_whatever_a_customer_is_called_there_is_one_recipient(name: str) -> None:
    _, read = composed(material(customer=replace(CUSTOMER, name=name)))
    assert [address.addr_spec for address in read["To"].addresses] == ["ap@delta.example"]


@pytest.mark.parametrize(
    ("address", "usable"),
    [
        ("a@b.example", "a@b.example"),
        ("a+b@MÜNCHEN.example", "a+b@xn--mnchen-3ya.example"),
        ("a,b@c.example", None),
        ("a>b@c.example", None),
        ("jörg@c.example", None),
        ("a..b@c.example", None),
        ('"a"@c.example', None),
        ("a@", None),
        ("a@-c.example", None),
        (f"a@{'x' * 70}.example", None),
    ],
)
def test_addresses(address: str, usable: str | None) -> None:
    if usable is None:
        with pytest.raises(AddressUnusable):
            usable_address(address)
    else:
        assert usable_address(address) == usable


def test_ids_follow_from_fact_kind_and_address() -> None:
    assert mail_id("inv_1", "invoice", "A@b.example") == mail_id("inv_1", "invoice", "a@B.example")
    assert len(
        {mail_id(fact, kind, to) for fact in "ab" for kind in MAIL_KINDS for to in ("x@y", "z@y")}
    ) == 4 * len(MAIL_KINDS)


def test_pauses_grow() -> None:
    pauses = [pause_after(tries) for tries in range(1, 30)]
    assert pauses == sorted(pauses)
    assert pauses[0].total_seconds() == 60
    assert pauses[-1].total_seconds() == 6 * 3600


NOTICE = f"""From: MAILER-DAEMON@mx.example
Subject: Undelivered
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

It did not work.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; ap@delta.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such
 mailbox

--b
Content-Type: text/rfc822-headers

From: billing@lumen.example
Message-ID: <{MAIL_ID}@lumen.example>

--b--
"""


@pytest.mark.parametrize(
    ("raw", "permanent", "address"),
    [
        (NOTICE, True, True),
        (NOTICE.replace("failed", "delayed").replace("5.1.1\n", "4.4.1\n"), False, False),
        (NOTICE.replace("Status: 5.1.1", "Status: 5.2.2"), True, False),
        (NOTICE.replace("text/rfc822-headers", "message/rfc822"), True, True),
        (NOTICE.replace("\n", "\r\n"), True, True),
    ],
)
def test_notices_of_mail_servers(raw: str, permanent: bool, address: bool) -> None:
    notice = read_notice(raw.encode())
    assert (notice.mail_id, notice.is_permanent, notice.is_address) == (MAIL_ID, permanent, address)
    assert notice.reason == "550 5.1.1 no such mailbox"


@pytest.mark.parametrize(
    "raw", ["", "hello", NOTICE.replace(MAIL_ID, "other"), "Content-Type: multipart/report\n\n"]
)
def test_what_is_no_notice(raw: str) -> None:
    with pytest.raises(NoticeUnreadable):
        read_notice(raw.encode())


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        read_notice(NOTICE.encode()[: len(raw) * 3] + raw)
    except NoticeUnreadable:
        pass


def test_details_of_a_seller_say_which_mails_go() -> None:
    assert is_mailed(SELLER, "receipt")
    assert not is_mailed(replace(SELLER, details=replace(DETAILS, mails=("invoice",))), "receipt")
    assert not is_mailed(replace(SELLER, details=replace(DETAILS, mails=())), "invoice")
    assert not is_mailed(replace(SELLER, details=replace(DETAILS, mail_from=None)), "invoice")
