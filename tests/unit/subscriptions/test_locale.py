"""Locales: spelled as BCP 47 spells them, or refused."""

from __future__ import annotations

import pytest

from libs.common.locale import LOCALE_LENGTH_MAX, LocaleUnknown, canonical_locale


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("en", "en"),
        ("EN-us", "en-US"),
        ("de-ch", "de-CH"),
        ("gsw-CH", "gsw-CH"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("sr-LATN", "sr-Latn"),
        ("de-CH-1996", "de-CH-1996"),
        ("ca-ES-VALENCIA", "ca-ES-valencia"),
    ],
)
def test_a_locale_is_spelled_one_way(text: str, spelled: str) -> None:
    assert canonical_locale(text) == spelled
    assert canonical_locale(spelled) == spelled


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not a language tag"),
        ("english", "not a language tag"),
        ("en_US", "not a language tag"),
        ("en-", "not a language tag"),
        ("en-US-x-private", "not a language tag"),
        ("ｅｎ", "not a language tag"),
        ("qq", "no language"),
        ("eng", "no language"),
        ("en-ZZ", "no country"),
        ("en-999", "no country"),
        ("en" + "-abcde" * 6, "not a language tag"),
    ],
)
def test_what_is_no_locale_is_refused(text: str, told: str) -> None:
    with pytest.raises(LocaleUnknown) as refused:
        canonical_locale(text)
    assert told in refused.value.message
    assert refused.value.pointer == "/locale"


def test_the_longest_tag_is_as_long_as_may_be() -> None:
    longest = "de-DE" + "-abcde" * 5
    assert len(longest) == LOCALE_LENGTH_MAX
    assert canonical_locale(longest) == longest
