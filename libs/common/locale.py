"""Locales: the language, and perhaps script and region, in which a customer is written to."""

from __future__ import annotations

import re

from libs.common.countries import known_countries
from libs.common.errors import InvalidInput

LOCALE_LENGTH_MAX = 35  # what RFC 5646, 4.4.1, asks software to take

# ISO 639-1, and those of ISO 639-2 and 639-3 that have no code of two letters and yet an edition of much software.
_LANGUAGE_CODES = """
aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el
en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it
iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt
my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl
sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo
za zh zu ast ceb chr ckb dsb fil fur gsw haw hmn hsb kea kok mai mni nds nso pcm sah sat smn syr yrl yue
"""
_LANGUAGES = frozenset(_LANGUAGE_CODES.split())
# Areas of UN M.49 that locales are made for: the world, Europe, Latin America.
_AREAS = frozenset(("001", "150", "419"))
_FORM = re.compile(
    r"(?P<language>[a-z]{2,3})"
    r"(?:-(?P<script>[a-z]{4}))?"
    r"(?:-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<variants>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*)",
    re.ASCII | re.IGNORECASE,
)


class LocaleUnknown(InvalidInput):
    """The text is no language tag of BCP 47, or names a language or region that there is not."""

    code = "locale_unknown"
    title = "There is no such locale"


def canonical_locale(text: str) -> str:
    """The tag as BCP 47 spells it: `de-CH`, `zh-Hant-TW`.

    Extensions and private subtags are refused: nothing here could act on them.
    Raises: LocaleUnknown, pointing at /locale.
    Source: RFC 5646, 2.1 and 2.1.1.
    """
    form = _FORM.fullmatch(text) if len(text) <= LOCALE_LENGTH_MAX else None
    if form is None:
        raise _unknown("is not a language tag: a language, perhaps a script, perhaps a region")
    language, script, region = form["language"].lower(), form["script"], form["region"]
    if language not in _LANGUAGES:
        raise _unknown(f'"{language}" is no language that is known here')
    if region is not None and region.upper() not in known_countries() | _AREAS:
        raise _unknown(f'"{region.upper()}" is no country of ISO 3166-1')
    parts = [language, script.title() if script else "", region.upper() if region else ""]
    return "-".join(part for part in parts if part) + form["variants"].lower()


def _unknown(message: str) -> LocaleUnknown:
    return LocaleUnknown(message, pointer="/locale", remedy='Name a locale such as "de-CH" or "en".')
