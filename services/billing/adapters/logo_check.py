"""What is sent as a logo, looked at before anything draws it: what its bytes are, how large, and that it is shapes only.

Whoever sends it is trusted to issue invoices, and not to run anything here or where a document is read.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from services.billing.domain.seller_logo import LOGO_BYTES_MAX, LogoRefused, LogoType

if TYPE_CHECKING:
    from lxml.etree import _Element

PIXELS_MAX: Final = 4_000_000
ELEMENTS_MAX: Final = 5_000
DEPTH_MAX: Final = 40
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = (1, 2, 4, 8, 16)
_SVG: Final = "http://www.w3.org/2000/svg"
# What drawing programs note of themselves, which nothing draws or runs.
_NOTED: Final = frozenset(
    (
        "http://www.inkscape.org/namespaces/inkscape",
        "http://sodipodi.sourceforge.net/dtd/sodipodi-0.dtd",
        "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
        "http://creativecommons.org/ns#",
        "http://purl.org/dc/elements/1.1/",
    )
)
_DRAWN = """
svg g defs title desc path rect circle ellipse line polyline polygon linearGradient
radialGradient stop clipPath mask style metadata
"""
_SHAPES: Final = frozenset(_DRAWN.split())
_OUTSIDE: Final = re.compile(r"url\(\s*(?![\s'\"]*#)|@|\\|expression|javascript:|data:", re.IGNORECASE)
_SHAPES_REMEDY: Final = (
    "Export it with text as paths and without scripts, pictures, links, filters or repeated parts."
)


def checked_type(content: bytes) -> LogoType:
    """What the content is, whatever it was called.

    Raises: LogoRefused.
    """
    if not content:
        raise _refused("it is empty", "Send a PNG or an SVG.")
    if len(content) > LOGO_BYTES_MAX:
        raise _refused(f"it has more than {LOGO_BYTES_MAX} bytes", "Send a smaller picture.")
    if content.startswith(_PNG):
        _check_png(content)
        return "image/png"
    _check_svg(content)
    return "image/svg+xml"


def _check_png(content: bytes) -> None:
    """Source: PNG, third edition (W3C, 2025), 5 and 11."""
    chunks = list(_chunks(content))
    kinds = [kind for kind, _ in chunks]
    if not chunks or kinds[0] != b"IHDR" or kinds[-1] != b"IEND" or len(chunks[0][1]) != 13:
        raise _broken()
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    if not width or not height or colour not in _CHANNELS or depth not in _DEPTHS:
        raise _broken()
    if width * height > PIXELS_MAX:
        raise _refused(f"it has more than {PIXELS_MAX} pixels", "Send a smaller picture.")
    bits = width * _CHANNELS[colour] * depth
    most = (height * (1 + (bits + 7) // 8)) * (2 if interlace else 1) + 64
    unpacking = zlib.decompressobj()
    try:
        pixels = unpacking.decompress(b"".join(part for kind, part in chunks if kind == b"IDAT"), most + 1)
    except zlib.error:
        raise _broken() from None
    if not pixels or len(pixels) > most:
        raise _broken()


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(_PNG)
    while place < len(content):
        if place + 12 > len(content):
            raise _broken()
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        if end + 4 > len(content):
            raise _broken()
        part = content[place + 8 : end]
        if struct.unpack_from(">I", content, end)[0] != zlib.crc32(kind + part):
            raise _broken()
        yield kind, part
        place = end + 4


def _check_svg(content: bytes) -> None:
    from lxml import etree

    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise _refused("it declares entities of its own", _SHAPES_REMEDY)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError:
        raise _refused("it is neither a PNG nor an SVG", "Send a PNG or an SVG.") from None
    if root.tag != f"{{{_SVG}}}svg":
        raise _refused("it is neither a PNG nor an SVG", "Send a PNG or an SVG.")
    for count, (element, depth) in enumerate(_elements(root), start=1):
        if count > ELEMENTS_MAX or depth > DEPTH_MAX:
            raise _refused("it has too many parts", "Send a simpler drawing.")
        _check_element(element)


def _elements(root: _Element) -> Iterator[tuple[_Element, int]]:
    waiting = [(root, 0)]
    while waiting:
        element, depth = waiting.pop()
        if not isinstance(element.tag, str):  # a comment; instructions and entities are refused
            if element.__class__.__name__ != "_Comment":
                raise _refused("it holds instructions to programs", _SHAPES_REMEDY)
            continue
        yield element, depth
        waiting += [(child, depth + 1) for child in element]


def _check_element(element: _Element) -> None:
    space, name = _parts(str(element.tag))
    if space in _NOTED:
        return
    if space != _SVG:
        raise _refused("it holds something that is no shape", _SHAPES_REMEDY)
    if name not in _SHAPES:
        raise _refused(f"it holds <{name[:40]}>", _SHAPES_REMEDY)
    for key, value in element.attrib.items():
        space, attribute = _parts(str(key).lower())
        if space in _NOTED:
            continue
        is_link = attribute in ("href", "src", "base") and not str(value).startswith("#")
        if attribute.startswith("on") or is_link or _OUTSIDE.search(str(value)):
            raise _refused(
                f"its attribute {attribute[:40]} leads elsewhere or runs something", _SHAPES_REMEDY
            )
    if name == "style" and _OUTSIDE.search(element.text or ""):
        raise _refused("its styles lead elsewhere", _SHAPES_REMEDY)


def _parts(name: str) -> tuple[str, str]:
    """The namespace and the local name."""
    space, _, local = name.rpartition("}")
    return space.removeprefix("{"), local


def _broken() -> LogoRefused:
    return _refused("the PNG is damaged", "Export the picture anew.")


def _refused(message: str, remedy: str) -> LogoRefused:
    return LogoRefused(message, pointer="/content", remedy=remedy)
