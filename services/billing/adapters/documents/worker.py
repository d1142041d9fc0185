"""The process that sets pages: `python -m services.billing.adapters.documents.worker`, asked over its standard input.

Fonts and the typesetter take some 70 MB; a process of their own gives them back when it ends, and can be ended when a
page takes too long. It is told nothing but what is to stand on the page.
"""

from __future__ import annotations

import json
import resource
import struct
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any, BinaryIO

MEMORY_BYTES_MAX = 3 * 1024**3  # of addresses, most of which are never touched
TEMPLATES = ("parts.typ", "document.typ", "statement.typ", "logo.typ")
_FOLDER = Path(__file__).parent
_LENGTH = struct.Struct(">I")


def read_frame(stream: BinaryIO) -> bytes | None:
    """One message with its length before it; None where the other side has closed."""
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    size = int(_LENGTH.unpack(length)[0])
    found = stream.read(size)
    return found if len(found) == size else None


def write_frame(stream: BinaryIO, message: bytes) -> None:
    stream.write(_LENGTH.pack(len(message)))
    stream.write(message)
    stream.flush()


class Typesetter:
    """The templates and the fonts, read once."""

    def __init__(self) -> None:
        import typst

        from services.billing.adapters.documents.glyphs import FONT_SUFFIXES, Glyphs, font_folders

        self._compile: Any = typst.compile  # several files are a mapping of names, which its stub leaves out
        self._templates = {name: (_FOLDER / name).read_bytes() for name in TEMPLATES}
        folders = font_folders()
        self._fonts = typst.Fonts(
            include_system_fonts=False,
            include_embedded_fonts=False,
            font_paths=[str(path) for path in folders],
        )
        files = (path for folder in folders for path in sorted(folder.rglob("*")))
        self._glyphs = Glyphs(path for path in files if path.suffix in FONT_SUFFIXES)

    def set(self, request: dict[str, Any]) -> tuple[bytes, set[str]]:
        """The pages, and the characters that no font has.

        As pictures they come one after another, each with its length before it.
        """
        missing: set[str] = set()
        sheet = self._glyphs.drawable(request["sheet"], missing)
        files: dict[str, bytes] = {
            **self._templates,
            **{name: b64decode(content) for name, content in request["files"].items()},
            "main.typ": f'#include "/{request["template"]}.typ"'.encode(),
            "sheet.json": json.dumps(sheet).encode(),
        }
        if request["format"] == "pdf":
            pages = self._compile(
                files,
                font_paths=self._fonts,
                ignore_system_fonts=True,
                format="pdf",
                pdf_standards=["a-3b"],
                timestamp=request["timestamp_s"],
            )
            return pages, missing
        pictures = self._compile(
            files,
            font_paths=self._fonts,
            ignore_system_fonts=True,
            format="png",
            ppi=request["pixels_per_inch"],
        )
        each = pictures if isinstance(pictures, list) else [pictures]
        return b"".join(_LENGTH.pack(len(picture)) + picture for picture in each), missing


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    typesetter = Typesetter()
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    while (frame := read_frame(asked)) is not None:
        try:
            pages, missing = typesetter.set(json.loads(frame))
            told: dict[str, Any] = {"missing": sorted(missing)}
        except Exception as error:  # whatever it is, who asked is told, and the next page is set
            pages, told = b"", {"error": str(getattr(error, "message", error))[:1_000]}
        write_frame(answers, json.dumps(told).encode())
        write_frame(answers, pages)


if __name__ == "__main__":
    main()
