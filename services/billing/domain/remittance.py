"""The reference that a payer quotes, so that a transfer finds its document: an ISO 11649 creditor reference.

It is derived and not stored: whoever holds the document has it, however old the document is. Two sellers of a tenant, or
a test clock, may have given one number twice, so that the number alone says too little: six characters that follow from
the document's id come behind it. The number stays in it to be read by people, with its last fifteen letters and digits.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

NUMBER_LENGTH_MAX: Final = 15
MARK_LENGTH: Final = 6
REFERENCE_LENGTH_MAX: Final = 25

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NO_LETTER_OR_DIGIT: Final = re.compile(r"[^0-9A-Za-z]+")
_REFERENCE: Final = re.compile(r"RF[0-9]{2}[0-9A-Z]{1,21}")
_ONE_LEFT: Final = 98


@dataclass(frozen=True, slots=True)
class QuotedReference:
    """What a reference of ours says: the end of the document's number, and the mark of its id."""

    reference: str
    number_key: str


def letters_and_digits(text: str) -> str:
    """What is left of a number when it is compared with what payers type: capital letters of ASCII, and digits."""
    return _NO_LETTER_OR_DIGIT.sub("", text).upper()


def number_key(number: str) -> str:
    """By which documents are looked up: the last letters and digits of their number."""
    return letters_and_digits(number)[-NUMBER_LENGTH_MAX:]


def creditor_reference(number: str, document_id: str) -> str:
    """`RF`, two check digits, the number's last letters and digits, and a mark of the document: 25 characters at most.

    Source: ISO 11649:2009; the check digits are those of ISO 7064, MOD 97-10.
    """
    body = number_key(number) + _mark_of(document_id)
    return f"RF{_ONE_LEFT - _remainder(f'{body}RF00'):02d}{body}"


def is_creditor_reference(text: str) -> bool:
    """Whether it is one at all, of whatever creditor: its form, and its check digits."""
    return _REFERENCE.fullmatch(text) is not None and _remainder(text[4:] + text[:4]) == 1


def quoted_reference(text: str) -> QuotedReference | None:
    """What a payer quoted, with blanks or without; None where it cannot be a reference of ours."""
    reference = letters_and_digits(text)
    if not is_creditor_reference(reference) or len(reference) <= 4 + MARK_LENGTH:
        return None
    return QuotedReference(reference, reference[4:-MARK_LENGTH])


def in_groups(reference: str) -> str:
    """As it is printed: in groups of four. Blanks are no part of it."""
    return " ".join(reference[start : start + 4] for start in range(0, len(reference), 4))


def _mark_of(document_id: str) -> str:
    number = int.from_bytes(hashlib.sha256(document_id.encode()).digest()[:8], "big")
    mark = ""
    for _ in range(MARK_LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        mark += _DIGITS[digit]
    return mark


def _remainder(text: str) -> int:
    return int("".join(str(_DIGITS.index(letter)) for letter in text)) % 97
