"""Card numbers in bodies: what looks like one is refused before anything reads, stores or logs it.

A card number is 13 to 19 digits, in groups or not, that begin as the numbers of a card scheme do and satisfy the Luhn
formula (ISO/IEC 7812-1). It stands by itself: digits that follow a letter are an IBAN or a reference, and those behind
a plus are a telephone. What a field
calls an id or an IBAN is not looked at.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, ClassVar

import msgspec

from libs.common.errors import InvalidInput

_GROUPED = re.compile(
    r"(?<![0-9A-Za-z+])(?<![0-9][ \-])[0-9](?:[ \-]{0,2}[0-9]){12,18}(?![0-9A-Za-z])(?![ \-][0-9])"
)
_SEPARATORS = str.maketrans("", "", " -")
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—―−", "-"))
_SCHEMES = re.compile(
    r"4|5[0-9]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|3(?:0[0-59]|[689])|35|6(?:011|4[4-9]|5)|62|6[0-9]|8[12]"
)
_DIGITS = tuple(bytes([digit]) for digit in b"0123456789")
_DIGITS_NEEDED = 13
# Named by other systems: what stands there may be any number, and is nobody's card.
_NAMES_OF_IDS = ("_id", "iban")


class CardNumberRefused(InvalidInput):
    """The body holds what looks like the number of a payment card. It was neither stored nor logged."""

    code: ClassVar[str] = "card_number_refused"
    title: ClassVar[str] = "Card numbers are not accepted"


def refuse_card_numbers(body: bytes) -> None:
    """`body` is JSON that was checked. Raises: CardNumberRefused, which tells where, and never what."""
    if body.isascii() and b"\\u" not in body and sum(map(body.count, _DIGITS)) < _DIGITS_NEEDED:
        return
    place = _place_of_card(msgspec.json.decode(body), "", is_id=False)
    if place is not None:
        raise CardNumberRefused(
            "the body holds what looks like a card number",
            pointer=place,
            remedy="Card data belongs to the payment gateway: send the token that it gives you.",
        )


def holds_card_number(text: str) -> bool:
    """Whether some part of the text looks like a card number."""
    if not text.isascii():
        shown = (char for char in unicodedata.normalize("NFKC", text) if unicodedata.category(char) != "Cf")
        text = "".join(shown).translate(_DASHES)
    return any(_is_card(found.group().translate(_SEPARATORS)) for found in _GROUPED.finditer(text))


def _is_card(digits: str) -> bool:
    return _SCHEMES.match(digits) is not None and _luhn(digits) and len(set(digits)) > 1


def _luhn(digits: str) -> bool:
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _place_of_card(value: Any, at: str, *, is_id: bool) -> str | None:
    """The pointer to the first one. A name that is itself a card number is told by what it stands in."""
    if isinstance(value, str):
        return at if not is_id and holds_card_number(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return at if holds_card_number(str(value)) else None
    if isinstance(value, list):
        parts = ((str(position), one, is_id) for position, one in enumerate(value))
    elif isinstance(value, dict):
        if any(holds_card_number(name) for name in value):
            return at
        parts = ((_escaped(name), one, name.endswith(_NAMES_OF_IDS)) for name, one in value.items())
    else:
        return None
    for name, one, named_as_id in parts:
        place = _place_of_card(one, f"{at}/{name}", is_id=named_as_id)
        if place is not None:
            return place
    return None


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
