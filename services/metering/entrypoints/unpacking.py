"""Bodies that were packed for the way, unpacked in bounded pieces."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from typing import ClassVar

import zstandard

from libs.common.web.limits import BodyTooLarge
from libs.common.web.problem import BadRequest

PIECE_BYTES = 262_144
# Four bytes of zstd may stand for 128 KiB, and it does not stop before it has unpacked what it was given: so it is given
# little, of which at most 4 MiB come.
ZSTD_PIECE_BYTES = 128
ZSTD_WINDOW_BYTES_MAX = 8 * 1024 * 1024  # which every reader has to allow (RFC 8878)


class BodyMalformed(BadRequest):
    code: ClassVar[str] = "body_malformed"
    title: ClassVar[str] = "The body cannot be unpacked or is not UTF-8"


def _nothing(byte_count: int) -> None:
    """Nobody counts."""


async def unpack(
    body: bytes, encoding: str, *, bytes_max: int, take: Callable[[int], None] = _nothing
) -> bytes:
    """One whole gzip member or zstd frame, in turns that others can share; `take` is told of each piece.

    Small as a body may be, what it unpacks to is refused before it has grown.
    Raises: BodyMalformed, BodyTooLarge, and whatever `take` raises.
    """
    pieces: list[bytes] = []
    length = yielded = 0
    try:
        for piece in _UNPACKERS[encoding](body):
            pieces.append(piece)
            length += len(piece)
            if length > bytes_max:
                raise BodyTooLarge(
                    f"the body unpacks to more than {bytes_max} bytes",
                    bytes_max=bytes_max,
                    remedy="Send it in smaller parts.",
                )
            take(len(piece))
            if length - yielded >= PIECE_BYTES:
                yielded = length
                await asyncio.sleep(0)
    except (zlib.error, zstandard.ZstdError):
        raise BodyMalformed(f"the body is not {encoding}") from None
    return b"".join(pieces)


def _gunzipped(body: bytes) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    rest = body
    while rest and not unpacker.eof:
        yield unpacker.decompress(rest, PIECE_BYTES)
        rest = unpacker.unconsumed_tail
    _check_whole(unpacker.eof and not unpacker.unused_data, "gzip member")


def _unzstandard(body: bytes) -> Iterator[bytes]:
    unpacker = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX).decompressobj()
    for start in range(0, len(body), ZSTD_PIECE_BYTES):
        if unpacker.eof:
            break
        yield unpacker.decompress(body[start : start + ZSTD_PIECE_BYTES])
    else:
        start = len(body)
    _check_whole(unpacker.eof and start >= len(body) and not unpacker.unused_data, "zstd frame")


def _check_whole(is_whole: bool, what: str) -> None:
    if not is_whole:
        raise BodyMalformed(f"the body is not one whole {what}")


_UNPACKERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {"gzip": _gunzipped, "zstd": _unzstandard}
ENCODINGS = tuple(_UNPACKERS)
