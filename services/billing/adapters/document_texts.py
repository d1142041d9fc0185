"""Words, numbers, money and dates in the language of whoever reads them, as finished text. No float is ever made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from datetime import date as Date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from libs.common.money import MINOR_UNITS, Money

if TYPE_CHECKING:
    from babel import Locale

USUAL_LANGUAGE = "en"
_FOLDER = Path(__file__).parent / "documents" / "words"
LANGUAGES = ("en", "de", "nl", "fr")
# What tells where text in the other direction begins and ends, so that its numbers and signs stay where they belong.
_LETTER_BEFORE_DIGIT = re.compile(r"(?<=[^\W\d_])(?=\d)")  # BHD1.000 is hard to read
_FIRST_STRONG, _POP = "\u2068", "\u2069"


@dataclass(frozen=True, slots=True)
class Texts:
    """One language's words, and how its country writes numbers and dates."""

    language: str
    words: Mapping[str, Any]
    locale: Locale

    def __call__(self, key: str, /, **parts: str) -> str:
        return str(self.words[key]).format(**parts) if parts else str(self.words[key])

    def counted(self, key: str, count: int) -> str:
        """`count` of something, in the plural form that the language has for it."""
        forms: Mapping[str, str] = self.words[key]
        form = forms.get(str(self.locale.plural_form(count)), forms["other"])
        return form.format(count=self.number(Decimal(count)))

    def number(self, value: Decimal) -> str:
        """All of its digits, and no more."""
        digits = max(-int(plain(value).as_tuple().exponent), 0)
        return self._apply(plain(value), (0, digits))

    def price(self, value: Decimal, currency: str) -> str:
        """A unit price: at least as many decimals as the currency has, and all that it has itself."""
        least = minor_digits(currency)
        return self._apply(value, (least, max(least, -int(plain(value).as_tuple().exponent))))

    def amount(self, money: Money) -> str:
        """Without its currency, as many decimals as that has."""
        digits = minor_digits(money.currency)
        return self._apply(money.to_decimal(), (digits, digits))

    def money(self, money: Money) -> str:
        """With its currency, as the country writes it."""
        digits = minor_digits(money.currency)
        pattern = copy(self.locale.currency_formats["standard"])
        pattern.frac_prec = digits, digits
        written = pattern.apply(
            money.to_decimal(),
            self.locale,
            currency=money.currency,
            currency_digits=False,
            decimal_quantization=False,
        )
        return str(_LETTER_BEFORE_DIGIT.sub("\u00a0", written))

    def percent(self, value: Decimal) -> str:
        digits = max(-int(plain(value).as_tuple().exponent), 0)
        written = self._apply(plain(value), (0, digits))
        pattern = self.locale.percent_formats[None]
        return f"{pattern.prefix[0]}{written}{pattern.suffix[0]}"

    def date(self, on: Date) -> str:
        from babel.dates import format_date

        return str(format_date(on, format="medium", locale=self.locale))

    def dates(self, first: Date, last: Date) -> str:
        """A stretch of time, with both of its days in it."""
        return self.date(first) if first == last else f"{self.date(first)} – {self.date(last)}"

    def country(self, code: str) -> str:
        return str(self.locale.territories.get(code, code))

    def _apply(self, value: Decimal, digits: tuple[int, int]) -> str:
        pattern = copy(self.locale.decimal_formats[None])
        pattern.frac_prec = digits
        return str(pattern.apply(value, self.locale, decimal_quantization=False))


def texts_in(language: str) -> Texts:
    """Of a language tag: its words if there are any, or else the English ones, and its country's numbers and dates.

    Without the language, numbers and dates are English as well: a page is in one language.
    """
    parts = language.replace("_", "-").split("-")
    spoken = parts[0].lower()
    region = next((part.upper() for part in parts[1:] if len(part) == 2 and part.isalpha()), None)
    known = spoken if spoken in LANGUAGES else USUAL_LANGUAGE
    return Texts(known, _words(known), _locale(known, region))


def plain(value: Decimal) -> Decimal:
    """Without zeros at its end, and without an exponent."""
    if not value:
        return Decimal(0)
    digits = list(value.as_tuple().digits)
    exponent = int(value.as_tuple().exponent)
    while exponent < 0 and digits[-1] == 0:
        digits.pop()
        exponent += 1
    return Decimal((value.as_tuple().sign, tuple(digits), exponent))


def minor_digits(currency: str) -> int:
    """By ISO 4217, which is what amounts are counted in; other lists show some currencies with fewer."""
    return -int(MINOR_UNITS[currency].as_tuple().exponent)


def isolated(text: str) -> str:
    """The text, kept together where it is written from right to left."""
    import unicodedata

    if text.isascii() or not any(unicodedata.bidirectional(one) in ("R", "AL", "AN") for one in text):
        return text
    return f"{_FIRST_STRONG}{text}{_POP}"


@lru_cache(maxsize=len(LANGUAGES))
def _words(language: str) -> Mapping[str, Any]:
    told: Mapping[str, Any] = json.loads((_FOLDER / f"{language}.json").read_text("utf-8"))
    return told


@lru_cache(maxsize=64)
def _locale(language: str, region: str | None) -> Locale:
    from babel import Locale, UnknownLocaleError

    if region is not None:
        try:
            return Locale.parse(f"{language}_{region}")
        except (UnknownLocaleError, ValueError):
            pass
    return Locale.parse(language)
