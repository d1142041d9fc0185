"""An issued document as finished text, for the template to set: nothing is worked out on the page."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from libs.common.money import Money, total
from services.billing.adapters.document_colours import colour_of, readable
from services.billing.adapters.document_parties import (
    VAT_COUNTRIES,
    foot_columns,
    in_groups,
    paper_of,
    recipient_lines,
    sender_line,
)
from services.billing.adapters.document_texts import Texts, isolated, texts_in
from services.billing.adapters.documents.glyphs import FONT_PACKAGES
from services.billing.adapters.logo_picture import LOGO_FILE, as_svg
from services.billing.adapters.payment_qr import Transfer, can_be_coded, payment_qr
from services.billing.domain.agreement import CustomerDetails
from services.billing.domain.contact_details import BankAccount, SellerDetails
from services.billing.domain.invoice import AppliedDiscount
from services.billing.domain.issued_document import DocumentLine, IssuedDocument
from services.billing.domain.seller import Seller
from services.billing.domain.seller_logo import SellerLogo
from services.billing.domain.settlement import InvoiceTax

WITHOUT_TAX = ("compensation_note", "deposit_request")
LINE_IS_LONG = 1_200  # characters, beyond which a line may be cut at the end of a page
UNIT_LENGTH_MAX = 12
REPEATED_LENGTH_MAX = 160
UNDATED = date(2000, 1, 1)
BY_RATE = ("S", "Z")  # categories that are known by their rate; the others by their code
_LONG_WORD = re.compile(r"\S{31,}")  # ids have 30 characters
_BREAKS_AFTER = 6
_MAY_BREAK = "\u200b"


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one document says, by the names that the template knows, and the pictures on it. `dated_on` is in the file."""

    template: str
    content: dict[str, Any]
    dated_on: date
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """Of all that is on the page and of the templates that set it: another page has another one."""
        told = hashlib.sha256(templates_tag().encode())
        told.update(json.dumps([self.template, self.content, self.timestamp_s], sort_keys=True).encode())
        for name, content in sorted(self.files.items()):
            told.update(hashlib.sha256(name.encode() + b"\0" + content).digest())
        return told.hexdigest()[:32]

    @property
    def timestamp_s(self) -> int:
        return int(
            datetime(self.dated_on.year, self.dated_on.month, self.dated_on.day, tzinfo=UTC).timestamp()
        )


@lru_cache(maxsize=1)
def templates_tag() -> str:
    """Of the templates, and of the versions of what sets them."""
    told = hashlib.sha256()
    for path in sorted((Path(__file__).parent / "documents").glob("*.typ")):
        told.update(path.read_bytes())
    for package in ("typst", *(name.replace("_", "-") for name in FONT_PACKAGES)):
        told.update(f"{package}={version(package)}".encode())
    return told.hexdigest()


def sheet_of(
    document: IssuedDocument, *, logo: SellerLogo | None = None, language: str | None = None
) -> Sheet:
    """In `language`, or in the one that the document is for."""
    texts = texts_in(language or document.language)
    payment, files = _payment(document, texts)
    content = {
        **frame_of(
            document.seller,
            document.buyer,
            texts,
            bank=document.bank,
            heading=_heading(document, texts),
            dated_on=_dated_on(document),
            with_tax_number=document.kind not in WITHOUT_TAX,
            logo=logo,
            files=files,
        ),
        "watermark": texts("draft") if document.number is None else None,
        "stamp": texts("void") if document.is_void else None,
        "facts": _facts(document, texts),
        "intro": [breakable(words) for words in _intro(document, texts)],
        "columns": {
            "description": texts("description"),
            "quantity": texts("quantity"),
            "unit": texts("unit_price"),
            "tax": "" if document.kind in WITHOUT_TAX else texts("tax_column"),
            "amount": texts("amount", currency=document.currency),
        },
        "groups": _groups(document, texts),
        "taxes": _taxes(document, texts),
        "totals": _totals(document, texts),
        "payment": payment,
        "notes": [] if not document.notes else [{"title": None, "lines": paragraphs(document.notes)}],
        "usage": _usage(document, texts),
    }
    return Sheet("document", content, _dated_on(document), files)


def frame_of(
    seller: Seller,
    buyer: CustomerDetails,
    texts: Texts,
    *,
    bank: BankAccount | None,
    heading: str,
    dated_on: date,
    with_tax_number: bool,
    logo: SellerLogo | None,
    files: dict[str, bytes],
) -> dict[str, Any]:
    """What all documents of a seller have: paper, colour, letterhead, recipient, foot. The logo is put into `files`."""
    details = seller.details or SellerDetails()
    colour = colour_of(details.colour)
    name = None
    if logo is not None:
        name = LOGO_FILE
        files[name] = as_svg(logo)
    page = texts("page", page="\0", pages="\0").split("\0")
    return {
        "lang": texts.language,
        "paper": paper_of(seller),
        "colour": colour,
        "ink": readable(colour),
        "logo": name,
        "heading": isolated(heading),
        "carried": isolated(f"{heading} · {texts.date(dated_on)}" if dated_on != UNDATED else heading),
        "dated": [dated_on.year, dated_on.month, dated_on.day],
        "seller": {
            "name": isolated(breakable(cut(seller.name))),
            "sender": breakable(cut(sender_line(seller, details, texts))),
        },
        "recipient": [breakable(line) for line in recipient_lines(buyer, texts, home=seller.country)],
        "foot": [
            [breakable(cut(line)) for line in column]
            for column in foot_columns(seller, details, bank, texts, with_tax_number=with_tax_number)
        ],
        "small-print": paragraphs(seller.footer or ""),
        "page-of": page,
        "watermark": None,
        "stamp": None,
    }


def cut(text: str) -> str:
    """What stands on every page has its place there; only there is it cut."""
    return text if len(text) <= REPEATED_LENGTH_MAX else f"{text[: REPEATED_LENGTH_MAX - 1]}…"


def breakable(text: str) -> str:
    """Words that are longer than any column may be broken, without a hyphen that is not theirs."""
    return _LONG_WORD.sub(
        lambda word: _MAY_BREAK.join(
            word[0][start : start + _BREAKS_AFTER] for start in range(0, len(word[0]), _BREAKS_AFTER)
        ),
        text,
    )


def paragraphs(text: str) -> list[str]:
    return [isolated(breakable(line)) for line in text.strip().splitlines()] if text.strip() else []


def total_row(words: str, amount: str, kind: str = "plain") -> dict[str, str]:
    return {"words": words, "amount": amount, "kind": kind}


def _heading(document: IssuedDocument, texts: Texts) -> str:
    name = texts(document.kind)
    return texts("draft_of", document=name) if document.number is None else f"{name} {document.number}"


def _dated_on(document: IssuedDocument) -> date:
    return document.issued_on or UNDATED


def _facts(document: IssuedDocument, texts: Texts) -> list[list[str]]:
    buyer = document.buyer
    found: list[tuple[str, str | None]] = [
        ("issued_on", None if document.issued_on is None else texts.date(document.issued_on)),
        ("due_on", None if document.due_on is None else texts.date(document.due_on)),
        ("service_period", _service_period(document, texts)),
        ("plan", _plan_of(document)),
        ("customer_number", buyer.external_id or buyer.id),
        ("purchase_order", document.purchase_order),
        ("buyer_reference", document.buyer_reference),
        ("buyer_vat_id", None if document.kind in WITHOUT_TAX else buyer.vat_id),
    ]
    if not document.is_credit_note:
        found += [
            ("regarding", texts("document_of_date", number=one.number, date=texts.date(one.issued_on)))
            for one in document.preceding[:5]
        ]
    return [[texts(key), isolated(breakable(value))] for key, value in found if value]


def _plan_of(document: IssuedDocument) -> str | None:
    """Of a document that is about one subscription; of several, each has its own heading."""
    about = {line.subscription_id for line in document.lines}
    return _plans(document.lines) if len(about) == 1 else None


def _plans(lines: Sequence[DocumentLine]) -> str | None:
    """In the order in which they first stand there: a customer may have moved from one to another."""
    return ", ".join(dict.fromkeys(line.facts.plan for line in lines if line.facts.plan)) or None


def _service_period(document: IssuedDocument, texts: Texts) -> str | None:
    first, last = document.service_start_on, document.service_last_on
    if first is None or last is None or document.kind == "deposit_request":
        return None
    return texts.dates(first, last)


def _intro(document: IssuedDocument, texts: Texts) -> list[str]:
    said = []
    if document.is_credit_note:
        said += [
            texts("credits", number=one.number, date=texts.date(one.issued_on)) for one in document.preceding
        ]
        if document.reason:
            said.append(texts("reason", reason=isolated(document.reason)))
    if document.kind == "compensation_note":
        said.append(texts("compensation_is_no_sale"))
    return said


def _groups(document: IssuedDocument, texts: Texts) -> list[dict[str, Any]]:
    """The lines by subscription, where they are of several; in the order in which they first stand there."""
    by_subscription: dict[str | None, list[DocumentLine]] = {}
    for line in document.lines:
        by_subscription.setdefault(line.subscription_id, []).append(line)
    if len(by_subscription) < 2:
        return [_group(document, None, None, document.lines, texts)] if document.lines else []
    groups = []
    for subscription_id, lines in by_subscription.items():
        name = texts("other_items") if subscription_id is None else texts("subscription")
        details = " · ".join(part for part in (_plans(lines), subscription_id) if part)
        groups.append(_group(document, name, breakable(details) or None, lines, texts))
    return groups


def _group(
    document: IssuedDocument,
    name: str | None,
    details: str | None,
    lines: Sequence[DocumentLine],
    texts: Texts,
) -> dict[str, Any]:
    subtotal = total((line.amount for line in lines), document.currency)
    return {
        "name": name,
        "details": details,
        "lines": [_line(document, line, texts) for line in lines],
        "subtotal": None if name is None else texts.amount(subtotal),
        "subtotal-words": "" if name is None else texts("subtotal_of", name=details or name),
    }


def _line(document: IssuedDocument, line: DocumentLine, texts: Texts) -> dict[str, Any]:
    text = isolated(breakable(line.description))
    return {
        "text": text,
        "details": _line_details(line, texts),
        "quantity": _quantity(line, texts),
        "unit": texts.price(line.unit_amount, document.currency),
        "tax": "" if document.kind in WITHOUT_TAX else _tax_of_line(line, texts),
        "amount": texts.amount(line.amount),
        "is-long": len(text) > LINE_IS_LONG,
    }


def _quantity(line: DocumentLine, texts: Texts) -> str:
    unit = line.facts.unit
    written = texts.number(line.quantity)
    return f"{written} {unit}" if unit and len(unit) <= UNIT_LENGTH_MAX else written


def _line_details(line: DocumentLine, texts: Texts) -> list[str]:
    said = [texts.dates(line.service_start_on, line.last_on)]
    if line.facts.corrects is not None:
        one = line.facts.corrects
        said.append(texts("corrects", number=one.number, date=texts.date(one.issued_on)))
    if line.prepaid.amount_minor:
        said.append(texts("prepaid_units", amount=texts.amount(-line.prepaid)))
    if line.discount.amount_minor:
        said.append(texts("line_discount", amount=texts.amount(-line.discount)))
    if line.tax_behavior == "inclusive" and line.tax_percent:
        said.append(texts("includes_tax"))
    if line.facts.is_estimated:
        said.append(texts("estimated"))
    return said


def _tax_of_line(line: DocumentLine, texts: Texts) -> str:
    return texts.percent(line.tax_percent) if line.tax_category in BY_RATE else line.tax_category


def _taxes(document: IssuedDocument, texts: Texts) -> dict[str, Any] | None:
    if document.kind in WITHOUT_TAX or not document.taxes:
        return None
    rows, reasons = [], []
    for tax in document.taxes:
        rows.append([_tax_name(document, tax, texts), texts.amount(tax.taxable), texts.amount(tax.tax)])
        if tax.reason or tax.reason_code:
            code = f" ({tax.reason_code})" if tax.reason_code else ""
            reasons.append(breakable(f"{tax.category}: {tax.reason or ''}{code}"))
    return {
        "head": [texts(_tax_word(document)), texts("taxable"), texts("tax_amount")],
        "rows": rows,
        "reasons": reasons,
    }


def _tax_name(document: IssuedDocument, tax: InvoiceTax, texts: Texts) -> str:
    if tax.category == "S":
        return f"{texts(_tax_word(document))} {texts.percent(tax.percent)}"
    return f"{tax.category} {texts(f'category_{tax.category}')} {texts.percent(tax.percent)}"


def _tax_word(document: IssuedDocument) -> str:
    return "vat" if document.seller.country in VAT_COUNTRIES else "tax"


def _totals(document: IssuedDocument, texts: Texts) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    is_taxed = document.kind not in WITHOUT_TAX
    is_inclusive = any(line.tax_behavior == "inclusive" and line.tax_percent for line in document.lines)
    takes_off = bool(document.prepaid.amount_minor or document.discount.amount_minor)
    if takes_off or document.subtotal != document.net:
        key = "subtotal_with_tax" if is_inclusive and is_taxed else "subtotal"
        rows.append(total_row(texts(key), texts.amount(document.subtotal)))
    if document.prepaid.amount_minor:
        rows.append(total_row(texts("prepaid"), texts.amount(-document.prepaid)))
    rows += _discounts(document, texts)
    if is_taxed:
        rows.append(total_row(texts("net"), texts.amount(document.net)))
        rows.append(total_row(texts(_tax_word(document)), texts.amount(document.tax)))
    if document.is_credit_note:
        return [*rows, total_row(texts("total_credited"), texts.money(document.total), "due")]
    rows.append(total_row(texts("total"), texts.money(document.total), "strong"))
    if document.is_void:
        return rows
    rows += _settled(document, texts)
    return [*rows, total_row(texts("due"), texts.money(document.due), "due")]


def _discounts(document: IssuedDocument, texts: Texts) -> list[dict[str, str]]:
    """Each by its name; or all of them at once, where they are not told one by one."""
    told = [one for one in document.discounts if one.amount.amount_minor]
    if total((one.amount for one in told), document.currency) != document.discount:
        told = []
    if not told and document.discount.amount_minor:
        return [total_row(texts("discount"), texts.amount(-document.discount))]
    return [
        total_row(
            isolated(breakable(texts("discount_of", name=_coupon_name(one, texts)))),
            texts.amount(-one.amount),
        )
        for one in told
    ]


def _coupon_name(discount: AppliedDiscount, texts: Texts) -> str:
    coupon = discount.coupon
    return coupon.name if coupon.percent is None else f"{coupon.name} ({texts.percent(coupon.percent)})"


def _settled(document: IssuedDocument, texts: Texts) -> list[dict[str, str]]:
    """What paid of it, or lessened it, before and since it was issued."""
    applied = document.balance_applied
    rows = [
        ("credits_applied", document.credits_applied),
        ("balance_given" if applied.amount_minor < 0 else "balance_applied", applied),
        ("credited", document.credited),
        ("paid", document.paid),
    ]
    return [total_row(texts(key), texts.amount(-amount)) for key, amount in rows if amount.amount_minor]


def _payment(document: IssuedDocument, texts: Texts) -> tuple[dict[str, Any] | None, dict[str, bytes]]:
    """How it is to be paid, and the picture for it; of a credit note, where the money goes."""
    if document.number is None or document.is_void:
        return None, {}
    if document.is_credit_note:
        return payment_box(texts("where_it_goes"), _destinations(document, texts)), {}
    if document.due.amount_minor <= 0:
        return payment_box(texts("payment"), [texts("nothing_due")]), {}
    due_on = texts.date(document.due_on or _dated_on(document))
    reference, bank = document.payment_reference, document.bank
    if bank is None or reference is None:
        words = texts("please_pay", amount=texts.money(document.due), date=due_on)
        return payment_box(texts("payment"), [words]), {}
    by_gateway = getattr(document.profile, "pays_by", "gateway") == "gateway"
    words = texts(
        "collected_or_pay" if by_gateway else "please_pay", amount=texts.money(document.due), date=due_on
    )
    holder = bank.holder or document.seller.name
    rows = [[texts("account_holder"), isolated(breakable(holder))], ["IBAN", in_groups(bank.iban)]]
    if bank.bic:
        rows.append(["BIC", bank.bic])
    rows.append([texts("reference"), in_groups(reference)])
    transfer = Transfer(holder, bank.iban, bank.bic, document.due, reference)
    if not can_be_coded(transfer):
        return payment_box(texts("payment"), [words], rows), {}
    box = payment_box(texts("payment"), [words], rows, qr_label=texts("qr"))
    return box, {"qr.svg": payment_qr(transfer)}


def payment_box(
    title: str, words: Sequence[str], rows: Sequence[Sequence[str]] = (), *, qr_label: str | None = None
) -> dict[str, Any]:
    return {
        "title": title,
        "words": list(words),
        "rows": [list(row) for row in rows],
        "qr": qr_label is not None,
        "qr-label": qr_label or "",
    }


def _destinations(document: IssuedDocument, texts: Texts) -> list[str]:
    number = document.preceding[0].number if document.preceding else ""
    parts: list[tuple[str, Money]] = [
        ("to_invoice", document.to_invoice),
        ("to_balance", document.to_balance),
        ("to_refund", document.to_refund),
    ]
    return [
        texts(key, amount=texts.money(amount), number=number) for key, amount in parts if amount.amount_minor
    ]


def _usage(document: IssuedDocument, texts: Texts) -> dict[str, Any] | None:
    """An appendix: each line of what was used, with its meter, its events and how its amount came about."""
    used = [line for line in document.lines if line.facts.kind == "usage"]
    if not used or document.is_credit_note:
        return None
    return {
        "title": texts("usage"),
        "words": [] if document.number is None else [texts("usage_intro", number=document.number)],
        "head": [
            texts("description"),
            texts("usage_period"),
            texts("quantity"),
            texts("amount", currency=document.currency),
        ],
        "rows": [
            {
                "text": isolated(breakable(line.description)),
                "details": _usage_details(line, texts),
                "period": texts.dates(line.service_start_on, line.last_on),
                "quantity": _quantity(line, texts),
                "amount": texts.amount(line.amount),
            }
            for line in used
        ],
    }


def _usage_details(line: DocumentLine, texts: Texts) -> list[str]:
    facts = line.facts
    said = []
    if facts.meter:
        events = [] if facts.event_count is None else [texts.counted("events", facts.event_count)]
        said.append(breakable(" · ".join([texts("meter", meter=facts.meter), *events])))
    if line.subscription_id:
        parts = [facts.plan, line.subscription_id] if facts.plan else [line.subscription_id]
        said.append(breakable(" · ".join(parts)))
    if line.formula:
        said.append(breakable(line.formula))
    if facts.is_estimated:
        said.append(texts("estimated"))
    return said
