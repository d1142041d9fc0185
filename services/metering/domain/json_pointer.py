"""JSON pointers (RFC 6901) into the data of an event, read alike by Python and by PostgreSQL's `#>`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from libs.common.errors import RuleViolation

LENGTH_MAX = 256
DEPTH_MAX = 10

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_LOOKS_LIKE_AN_INDEX = re.compile(r"\s*[+-]?[0-9]+")
_STRAY_TILDE = re.compile(r"~(?![01])")

Path = tuple[str, ...]


class InvalidPointer(RuleViolation):
    code: ClassVar[str] = "invalid_pointer"
    title: ClassVar[str] = "Not a JSON pointer that a meter can follow"


def parse_pointer(pointer: str) -> Path:
    """The steps of a pointer; the empty pointer is the whole document.

    A step that PostgreSQL would take for an array index and RFC 6901 would not (`-1`, `+1`, `01`) is refused,
    so that both always arrive at the same place.
    Raises: InvalidPointer.
    """
    if pointer and not pointer.startswith("/"):
        raise InvalidPointer(
            f'a JSON pointer is empty or begins with "/", which "{pointer[:50]}" does not',
            remedy=f'Write "/{pointer[:50]}".' if pointer.isidentifier() else 'Such as "/air_time".',
        )
    if len(pointer) > LENGTH_MAX or pointer.count("/") > DEPTH_MAX:
        raise InvalidPointer(f"a pointer has at most {LENGTH_MAX} characters and {DEPTH_MAX} steps")
    if "\0" in pointer or _STRAY_TILDE.search(pointer):
        raise InvalidPointer('"~" is written "~0", and "/" within a name "~1"')
    steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])
    if any(_LOOKS_LIKE_AN_INDEX.fullmatch(step) and not _INDEX.fullmatch(step) for step in steps):
        raise InvalidPointer("an array index is 0 or a number without sign and leading zeros")
    return steps


def to_pointer(path: Sequence[str]) -> str:
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in path)


def find(data: Any, path: Path) -> Any:
    """What stands there; None where nothing does, or where null does."""
    for step in path:
        if type(data) is dict:
            data = data.get(step)
        elif type(data) is list and _INDEX.fullmatch(step) and int(step) < len(data):
            data = data[int(step)]
        else:
            return None
    return data
