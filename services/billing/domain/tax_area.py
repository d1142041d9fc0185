"""Which country a VAT id or an address belongs to, and which of them are one area for VAT."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

from stdnum.eu import vat as eu_vat
from stdnum.util import get_cc_module

MEMBER_STATES = frozenset(
    ("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU",
     "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK")
)  # fmt: skip
# The last day on which a state belonged to the VAT area of the EU. Source: withdrawal agreement, Art. 126 and 127.
_LEFT_AFTER = {"GB": date(2020, 12, 31)}
# Supplies there count as supplies elsewhere; and codes that people write for another.
# Source: Directive 2006/112/EC, Art. 7.
_COUNTED_AS = {"MC": "FR", "IM": "GB", "EL": "GR", "UK": "GB"}
_PREFIXES = {"EL": "GR", "XI": "GB"}


def taxed_as(country: str | None) -> str | None:
    """The country whose rates hold there."""
    return None if country is None else _COUNTED_AS.get(country, country)


def is_in_union(country: str, on: date) -> bool:
    return country in MEMBER_STATES or on <= _LEFT_AFTER.get(country, date.min)


@lru_cache(maxsize=4096)
def country_of_vat_id(vat_id: str) -> str | None:
    """Where it was given out; None where no VAT id looks like this. Nobody is asked whether it is in use.

    A number of Northern Ireland (XI) is one of the United Kingdom: it holds within the EU for goods only.
    """
    if eu_vat.is_valid(vat_id):
        prefix = eu_vat.compact(vat_id)[:2]
        return _PREFIXES.get(prefix, prefix)
    country = "CH" if vat_id[:3] == "CHE" else vat_id[:2]
    if country in MEMBER_STATES or not (country.isascii() and country.isalpha() and country.isupper()):
        return None
    rules = get_cc_module(country.lower(), "vat")
    if rules is None:
        return None
    return country if rules.is_valid(vat_id) or rules.is_valid(vat_id[2:]) else None
