"""Mails in words: texts by language, laid out as plain text and as HTML, with numbers and dates as people write them."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from libs.common.money import Money
from services.billing.domain.agreement import Address
from services.billing.domain.mail import MailKind, Rendered
from services.billing.domain.mail_contents import (
    ContentValue,
    LocalTime,
    MailContents,
    Period,
    Transfer,
    Word,
)
from services.billing.domain.mail_template import MailTemplate
from services.billing.domain.placeholders import filled
from services.billing.domain.seller import Seller

if TYPE_CHECKING:  # both cost megabytes, and an idle process writes no mail
    from babel import Locale
    from jinja2 import Template

TEXTS = Path(__file__).parent / "mail_texts"
LAST_RESORT = "en"
USUAL_COLOUR = "#1f4e79"
ISOLATE, POP = "\u2068", "\u2069"
# Where a currency has no sign of its own, a blank stands between its letters and the digits: CLDR's currencySpacing.
LETTER_BESIDE_DIGIT = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
BLANK_LINES = re.compile(r"\n[ \t]*\n")
OWN_PARTS = ("subject", "intro")

Own = Mapping[tuple[MailKind, str], MailTemplate]


@dataclass(frozen=True, slots=True)
class Language:
    """The texts of one language, and how `locale` writes numbers and dates."""

    tag: str
    words: Mapping[str, str]
    kinds: Mapping[str, Any]
    locale: Locale

    @property
    def is_right_to_left(self) -> bool:
        return str(self.locale.text_direction) == "rtl"

    def text(self, kind: MailKind, variant: str | None, part: str) -> str | None:
        """A part of a kind's text: the variant's own, where it has one."""
        found: Mapping[str, Any] = self.kinds[kind]
        varied: Mapping[str, Any] = found[variant] if variant is not None and variant in found else {}
        text: str | None = varied.get(part, found.get(part))
        return text


@cache
def languages() -> tuple[str, ...]:
    """Those that ship with the program."""
    return tuple(sorted(path.stem for path in TEXTS.glob("*.toml")))


@cache
def _texts(name: str) -> Mapping[str, Any]:
    return tomllib.loads((TEXTS / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def _layout(name: str) -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEXTS), autoescape=name.endswith(".html"), undefined=StrictUndefined
    )
    return environment.get_template(name)


def language_for(tag: str | None, *others: str | None) -> Language:
    """The first of these whose language there are texts in; its region decides how numbers and dates are written."""
    from babel import Locale, UnknownLocaleError

    for wanted in (*others_first(tag, others), LAST_RESORT):
        parts = wanted.split("-")
        if parts[0] not in languages():
            continue
        try:
            locale = Locale.parse(wanted.replace("-", "_"))
        except (UnknownLocaleError, ValueError):
            locale = Locale(parts[0])
        texts = _texts(parts[0])
        return Language(wanted, texts["words"], texts["kinds"], locale)
    raise AssertionError("there are texts of last resort")


def others_first(tag: str | None, others: Iterable[str | None]) -> list[str]:
    return [one for one in (tag, *others) if one]


class TemplateRenderer:
    """Texts of a tenant's own stand in for those that ship, in the very locale or else in its language."""

    def render(self, contents: MailContents, *, seller: Seller, language: str | None, own: Own) -> Rendered:
        details = seller.details
        spoken = language_for(language, None if details is None else details.language)
        own_text = own.get((contents.kind, spoken.tag)) or own.get((contents.kind, spoken.tag.split("-")[0]))
        names = {name: shown(value, spoken) for name, value in contents.names.items()}
        names = {"method": spoken.words["method"], **names}

        def said(part: str) -> str:
            given = None if own_text is None or part not in OWN_PARTS else getattr(own_text, part)
            text = given or spoken.text(contents.kind, contents.variant, part) or ""
            return filled(text, names)

        subject = one_line(said("subject"))
        colour = USUAL_COLOUR if details is None or details.colour is None else details.colour
        transfer = contents.transfer
        parts: dict[str, Any] = {
            "language": spoken.tag,
            "direction": "rtl" if spoken.is_right_to_left else "ltr",
            "start": "right" if spoken.is_right_to_left else "left",
            "end": "left" if spoken.is_right_to_left else "right",
            "subject": subject,
            "heading": said("heading"),
            "greeting": filled(spoken.words["greeting"], names),
            "intro": [paragraph.split("\n") for paragraph in paragraphs(said("intro"))],
            "facts": [(spoken.words[label], shown(value, spoken)) for label, value in contents.facts],
            "transfer": [] if transfer is None else _transfer_facts(transfer, spoken),
            "transfer_words": spoken.words["transfer"],
            "link": contents.link if said("action") else None,
            "action": said("action"),
            "regards": spoken.words["regards"],
            "seller": isolated(clean(seller.name), spoken),
            "footer": [filled(spoken.words["automatic"], names), *_seller_lines(seller)],
            "colour": colour,
            "ink": ink_on(colour),
        }
        return Rendered(
            subject=subject,
            text=_layout("layout.txt").render(parts),
            html=_layout("layout.html").render(parts),
        )


def shown(value: ContentValue, spoken: Language) -> str:
    """A value as people of the locale write it."""
    from babel.dates import format_date, format_datetime

    if isinstance(value, Money):
        return money_text(value, spoken.locale)
    if isinstance(value, LocalTime):
        return str(
            format_datetime(value.at, format="long", tzinfo=ZoneInfo(value.zone), locale=spoken.locale)
        )
    if isinstance(value, Period):
        return f"{shown(value.start, spoken)} – {shown(value.end, spoken)}"
    if isinstance(value, date):
        return str(format_date(value, format="long", locale=spoken.locale))
    if isinstance(value, Word):
        return spoken.words[value.name]
    return isolated(clean(value), spoken)


def money_text(money: Money, locale: Locale) -> str:
    """With as many decimals as the currency's minor unit has, whatever is usual for cash."""
    from babel.numbers import parse_pattern

    amount: Decimal = money.to_decimal()
    digits = max(0, -int(amount.as_tuple().exponent))
    pattern = parse_pattern(locale.currency_formats["standard"].pattern)
    pattern.frac_prec = (digits, digits)
    text = str(pattern.apply(amount, locale, currency=money.currency, currency_digits=False))
    return LETTER_BESIDE_DIGIT.sub("\xa0", text)


def clean(text: str) -> str:
    """In one line, and without characters that control anything."""
    return one_line("".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in text))


def one_line(text: str) -> str:
    return " ".join(text.split())


def isolated(text: str, spoken: Language) -> str:
    """A text that runs the other way does not turn round what stands beside it.

    Source: Unicode Standard Annex 9, 2.7 and 6.4.
    """
    directions = {unicodedata.bidirectional(letter) for letter in text}
    turned = "L" in directions if spoken.is_right_to_left else bool(directions & {"R", "AL"})
    return f"{ISOLATE}{text}{POP}" if turned else text


def paragraphs(text: str) -> list[str]:
    return [part.strip() for part in BLANK_LINES.split(text.replace("\r\n", "\n")) if part.strip()]


def ink_on(colour: str) -> str:
    """Black or white, whichever can be read on it."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#111827" if red * 299 + green * 587 + blue * 114 > 150_000 else "#ffffff"


def _transfer_facts(transfer: Transfer, spoken: Language) -> list[tuple[str, str]]:
    account, iban = transfer.account, transfer.account.iban
    found = [
        ("holder", isolated(clean(transfer.holder), spoken)),
        ("iban", " ".join(iban[start : start + 4] for start in range(0, len(iban), 4))),
    ]
    if account.bic is not None:
        found.append(("bic", account.bic))
    found.append(("reference", transfer.reference))
    return [(spoken.words[label], value) for label, value in found]


def _seller_lines(seller: Seller) -> list[str]:
    """Who sends it, as the law wants to read on business letters."""
    details = seller.details
    postal = None if details is None else details.postal_address
    lines = [seller.name]
    if postal is not None:
        lines.append(_address(postal))
    elif seller.address:
        lines += seller.address.splitlines()
    if details is not None:
        lines += [text for text in (details.legal_id, details.email, details.phone) if text]
    if seller.tax_number:
        lines.append(seller.tax_number)
    return [cleaned for line in lines if (cleaned := clean(line))]


def _address(postal: Address) -> str:
    place = " ".join(part for part in (postal.postal_code, postal.city) if part)
    parts = (postal.line1, postal.line2, place, postal.region, postal.country)
    return ", ".join(part for part in parts if part)
