"""How groups of usage are asked for."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metering.domain.group_filter import DimensionUnknown, UsageFilterUnclear, read_filters

NAMES = ["carrier", "a:b", "a"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], {}),
        (["carrier:AA"], {"carrier": ("AA",)}),
        (["carrier:AA", "carrier:UA", "carrier:AA"], {"carrier": ("AA", "UA")}),
        (["carrier:"], {"carrier": (None,)}),
        (['carrier:""'], {"carrier": ("",)}),
        (["carrier:x:y"], {"carrier": ("x:y",)}),
        (["carrier:null"], {"carrier": ("null",)}),
        (['carrier:"a\\n\\u00e9"'], {"carrier": ("a\né",)}),
        (["carrier: AA "], {"carrier": (" AA ",)}),
        (["a:b:c", "a:c"], {"a:b": ("c",), "a": ("c",)}),
    ],
)
def test_filters_are_read(texts: list[str], expected: dict[str, tuple[str | None, ...]]) -> None:
    assert read_filters(texts, NAMES) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("carrier", UsageFilterUnclear),
        ("", UsageFilterUnclear),
        ("gate:A1", DimensionUnknown),
        (":x", DimensionUnknown),
        ('carrier:"', UsageFilterUnclear),
        ('carrier:"a" or', UsageFilterUnclear),
        ('carrier:"\\u0000"', UsageFilterUnclear),
        ('carrier:"\\ud800"', UsageFilterUnclear),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_filters(["carrier:AA", text], NAMES)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
def test_every_text_can_be_asked_for(value: str) -> None:
    assert read_filters([f"carrier:{json.dumps(value)}"], NAMES) == {"carrier": (value,)}
