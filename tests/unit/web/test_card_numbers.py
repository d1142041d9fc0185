"""What looks like the number of a payment card is refused, wherever it stands; what only has many digits is not."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.web.card_numbers import CardNumberRefused, holds_card_number, refuse_card_numbers

CARDS = [
    "4242424242424242",
    "4242 4242 4242 4242",
    "4242-4242-4242-4242",
    "4222222222222",
    "378282246310005",
    "3782 822463 10005",
    "5555555555554444",
    "2223003122003222",
    "6011111111111117",
    "3056930009020004",
    "3566002020360505",
    "6200000000000005",
    "6759649826438453",
    "pay with 4242 4242 4242 4242, valid to 12/30",
    "４２４２４２４２４２４２４２４２",
    "4242\u00a04242\u00a04242\u00a04242",
    "4242–4242–4242–4242",
    "4242\u200b4242\u200b4242\u200b4242",
]
OTHERS = [
    "4242 4242 4242 4243",
    "DE89370400440532013000",
    "DE89 3704 0044 0532 0130 00",
    "BE68 5390 0754 7034",
    "NO93 8601 1117 947",
    "CH93 0076 2011 6238 5295 7",
    "RF18 5390 0754 7034",
    "+4366412345678901",
    "0000000000000000",
    "12345678901234567890",
    "210000000003139471430009017",
    "2025-06-01T10:00:00.123456Z",
    "1750000000000",
    "INV-2026-000123",
    "550e8400-e29b-41d4-a716-446655440000",
]


@pytest.mark.parametrize("text", CARDS)
def test_a_card_number_is_seen(text: str) -> None:
    assert holds_card_number(text)


@pytest.mark.parametrize("text", OTHERS)
def test_other_numbers_are_not_mistaken_for_one(text: str) -> None:
    assert not holds_card_number(text)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"token": CARDS[1]}, "/token"),
        ({"lines": [{"description": "x"}, {"description": CARDS[0]}]}, "/lines/1/description"),
        ({"metadata": {"a/b": CARDS[0]}}, "/metadata/a~1b"),
        ({"number": int(CARDS[0])}, "/number"),
        ({CARDS[0]: 1}, ""),
        ({"note": "４２４２" * 4}, "/note"),
    ],
)
def test_it_is_told_where_and_never_what(body: dict[str, Any], pointer: str) -> None:
    for text in (json.dumps(body), json.dumps(body, ensure_ascii=False)):
        with pytest.raises(CardNumberRefused) as refused:
            refuse_card_numbers(text.encode())
        assert refused.value.pointer == pointer
        assert "4242" not in str(vars(refused.value)) + str(refused.value)


def test_what_is_named_an_id_may_be_any_number() -> None:
    refuse_card_numbers(json.dumps({"external_id": CARDS[0], "iban": "4242424242424242"}).encode())


@settings(max_examples=60)
@given(st.recursive(st.text(max_size=30) | st.integers() | st.booleans() | st.none(), st.lists, max_leaves=8))
def test_any_body_is_read(body: Any) -> None:
    with suppress(CardNumberRefused):
        refuse_card_numbers(json.dumps([body]).encode())
