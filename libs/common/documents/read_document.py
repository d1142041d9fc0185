"""What was read of a document that somebody wrote, and what is wrong with one that cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from libs.common.errors import InvalidInput


class Plain(str):
    """Text that stands there without quotes: `3.20`, `true`. What it means, its reader knows from where it stands."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """`line` counts from 1; None is the whole document."""

    line: int | None
    detail: str


class DocumentUnreadable(InvalidInput):
    """It is not what its format wants. Each fault has its line, as far as that is known."""

    code: ClassVar[str] = "document_unreadable"
    title: ClassVar[str] = "The document cannot be read"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("the document cannot be read", remedy="Correct what is listed.")
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long, how deep and how much a document may be: aliases count as often as they stand for something."""

    bytes_max: int = 8 * 1024 * 1024
    depth_max: int = 32
    values_max: int = 200_000


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """`value` is made of dicts, lists and text, whose unquoted parts are `Plain`. `lines` is by JSON pointer."""

    value: Any
    lines: Mapping[str, int]

    def line_of(self, pointer: str) -> int | None:
        """Where it stands, or else what it belongs to."""
        while pointer and pointer not in self.lines:
            pointer = pointer.rpartition("/")[0]
        return self.lines.get(pointer)


def text_of(content: bytes, bounds: Bounds) -> str:
    """Raises: DocumentUnreadable."""
    if len(content) > bounds.bytes_max:
        raise DocumentUnreadable(
            [Fault(None, f"has more than {bounds.bytes_max} bytes: make it several files")]
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DocumentUnreadable([Fault(line, "is not UTF-8: save it as UTF-8")]) from None
