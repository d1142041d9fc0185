"""JSON that is safe to hand on: RFC 8259 to the letter, bounded in depth, values and digits, without NUL.

The framework's parser accepts NaN, and breaks off with a plain 500 on numbers or nesting that are too long
for it; PostgreSQL refuses NUL in text. So a body is checked here, once, before anything else reads it.
"""

from __future__ import annotations

import re
from typing import ClassVar

import msgspec

from libs.common.errors import InvalidInput
from libs.common.web.problem import BadRequest

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_PLACE = re.compile(r"\(byte (\d+)\)")
_BRACES = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class JsonMalformed(BadRequest):
    """Not JSON as RFC 8259 has it: NaN, comments and trailing commas are none."""

    code: ClassVar[str] = "json_malformed"
    title: ClassVar[str] = "The body is not valid JSON"


class JsonTooDeep(InvalidInput):
    """Arrays and objects lie within each other too deeply."""

    code: ClassVar[str] = "json_too_deep"
    title: ClassVar[str] = "The body is nested too deeply"


class JsonTooManyValues(InvalidInput):
    """More values than any request of this kind needs: each costs time, all the more when each is wrong."""

    code: ClassVar[str] = "json_too_many_values"
    title: ClassVar[str] = "The body holds too many values"


class JsonNumberTooLong(InvalidInput):
    """A number has more digits than anything in this API."""

    code: ClassVar[str] = "json_number_too_long"
    title: ClassVar[str] = "A number is too long"


class TextNotStorable(InvalidInput):
    """Text may hold any character but NUL."""

    code: ClassVar[str] = "text_not_storable"
    title: ClassVar[str] = "Text with a NUL character"


class JsonCheck:
    """Checks bodies against one pair of bounds. The patterns that depend on them are made once."""

    def __init__(self, *, depth_max: int, digits_max: int, values_max: int) -> None:
        self._depth_max = depth_max
        self._values_max = values_max
        self._digits_max = digits_max
        self._long_number = re.compile(rb"[0-9][0-9.eE+-]{%d,}" % digits_max)

    def check(self, body: bytes) -> None:
        """Linear in the length of `body`; costlier looks are taken only where a cheap one gives reason to.

        Raises: JsonMalformed, JsonTooDeep, JsonTooManyValues, JsonNumberTooLong, TextNotStorable.
        """
        self._count(body)
        self._parse(body)
        crowded = body.count(b"[") + body.count(b"{") > self._depth_max
        if crowded or self._long_number.search(body):
            bare = _STRING.sub(b"", body)  # brackets and digits inside of strings are text
            if self._long_number.search(bare):
                raise self._number_too_long()
            if crowded and self._too_deep(bare):
                raise self._nested_too_deeply()
        if b"\\u0000" in body and _NUL.search(body):
            raise TextNotStorable("text may not hold the character NUL", remedy="Leave out \\u0000.")

    def _count(self, body: bytes) -> None:
        """Before anything is made of them: a comma outside of strings stands between two values."""
        if body.count(b",") >= self._values_max and _STRING.sub(b"", body).count(b",") >= self._values_max:
            raise JsonTooManyValues(
                f"the body holds more than {self._values_max} values", remedy="Send it in smaller parts."
            )

    def _parse(self, body: bytes) -> None:
        try:
            msgspec.json.decode(body)
        except RecursionError:
            raise self._nested_too_deeply() from None
        except msgspec.ValidationError:  # well formed, but out of range for a float or an int
            raise self._number_too_long() from None
        except UnicodeDecodeError as error:
            raise JsonMalformed(f"the body is not UTF-8 (byte {error.start})") from None
        except msgspec.DecodeError as error:
            place = _PLACE.search(str(error))
            at = int(place.group(1)) if place else 0
            if body[at:].startswith((b"NaN", b"Infinity")):
                raise JsonMalformed(f"NaN and Infinity are no JSON numbers (byte {at})") from None
            told = (
                str(error)
                .removeprefix("JSON is malformed: ")
                .replace("Input data was truncated", "it ends too early")
            )
            raise JsonMalformed(f"the body is not valid JSON: {told}") from None

    def _too_deep(self, bare: bytes) -> bool:
        """Take the innermost pairs away, level by level: what is left then was deeper."""
        brackets = bare.translate(_BRACES, delete=_NOT_BRACKETS)
        for _ in range(self._depth_max):
            brackets = brackets.replace(b"[]", b"")
        return bool(brackets)

    def _number_too_long(self) -> JsonNumberTooLong:
        return JsonNumberTooLong(
            f"a number in the body has more than {self._digits_max} digits or is out of range",
            remedy="Amounts and quantities are sent as strings.",
        )

    def _nested_too_deeply(self) -> JsonTooDeep:
        return JsonTooDeep(f"the body is nested more than {self._depth_max} levels deep")
