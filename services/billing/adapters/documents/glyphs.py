"""Which characters the shipped fonts can draw, as their tables say: what they cannot is told, and never stops a page."""

from __future__ import annotations

import struct
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FONT_PACKAGES = (
    "fontpkg_noto_sans",
    "fontpkg_noto_sans_arabic",
    "pylopdf_fonts_he",
    "noto_cjk_sans_jp_regular",
)
FONT_SUFFIXES = (".ttf", ".otf")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# What directs text and has no shape of its own: joiners, marks of direction, isolates.
_DIRECTING = frozenset("\u200b\u200c\u200d\u200e\u200f\u061c\u2066\u2067\u2068\u2069")
_SEGMENTED, _GROUPED = 4, 12
_NO_GLYPH_SEGMENT = 0xFFFF


def font_folders() -> list[Path]:
    """Where the wheels with the fonts were installed; their code is not run."""
    found = []
    for package in FONT_PACKAGES:
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations:
            found.append(Path(spec.submodule_search_locations[0]))
    return found


class Glyphs:
    """The characters of all fonts together, as sorted stretches of code points."""

    def __init__(self, fonts: Iterable[Path]) -> None:
        stretches = sorted(stretch for font in fonts for stretch in covered(font.read_bytes()))
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in stretches:
            if self._ends and start <= self._ends[-1] + 1:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def __contains__(self, character: str) -> bool:
        code = ord(character)
        place = bisect_right(self._starts, code) - 1
        return place >= 0 and code <= self._ends[place]

    def drawable(self, value: Any, missing: set[str]) -> Any:
        """The value with every text in it as it can be drawn; what cannot be is added to `missing`."""
        if isinstance(value, str):
            return value if value.isascii() and value.isprintable() else self._text(value, missing)
        if isinstance(value, list):
            return [self.drawable(one, missing) for one in value]
        if isinstance(value, dict):
            return {name: self.drawable(one, missing) for name, one in value.items()}
        return value

    def _text(self, text: str, missing: set[str]) -> str:
        drawn = []
        for character in unicodedata.normalize("NFC", text):
            if character in _DIRECTING:
                drawn.append(character)
            elif unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp"):
                drawn.append(" " if character in "\t\n\r\v\f\u2028\u2029" else "")
            elif "\ufe00" <= character <= "\ufe0f":  # chooses among shapes, of which the fonts have one
                continue
            elif character in self:
                drawn.append(character)
            else:
                missing.add(character)
                drawn.append(REPLACEMENT)
        return "".join(drawn)


def covered(font: bytes) -> Iterator[tuple[int, int]]:
    """The stretches of code points that a font has glyphs for, both ends included.

    Source: OpenType 1.9, `cmap`, formats 4 and 12.
    """
    table = _table(font, b"cmap")
    (count,) = struct.unpack_from(">H", font, table + 2)
    for place in range(count):
        platform, _, offset = struct.unpack_from(">HHI", font, table + 4 + 8 * place)
        if platform not in (0, 3):
            continue
        (form,) = struct.unpack_from(">H", font, table + offset)
        if form == _SEGMENTED:
            yield from _segments(font, table + offset)
        elif form == _GROUPED:
            (groups,) = struct.unpack_from(">I", font, table + offset + 12)
            for group in range(groups):
                start, end, _ = struct.unpack_from(">III", font, table + offset + 16 + 12 * group)
                yield start, end


def _table(font: bytes, name: bytes) -> int:
    (count,) = struct.unpack_from(">H", font, 4)
    for place in range(count):
        tag, _, offset, _ = struct.unpack_from(">4sIII", font, 12 + 16 * place)
        if tag == name:
            return int(offset)
    raise ValueError(f"the font has no table {name.decode()}")


def _segments(font: bytes, at: int) -> Iterator[tuple[int, int]]:
    (twice,) = struct.unpack_from(">H", font, at + 6)
    ends = struct.unpack_from(f">{twice // 2}H", font, at + 14)
    starts = struct.unpack_from(f">{twice // 2}H", font, at + 16 + twice)
    for start, end in zip(starts, ends, strict=True):
        if start != _NO_GLYPH_SEGMENT:
            yield start, min(end, _NO_GLYPH_SEGMENT - 1)
