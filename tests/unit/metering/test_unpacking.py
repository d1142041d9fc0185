"""Packed bodies: whole ones come out as they went in, all others are refused, and none before it has grown too large."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import zstandard

from libs.common.errors import ServiceError
from services.metering.entrypoints.unpacking import unpack

BYTES_MAX = 10_000_000
TEXT = b'{"id":"a"}' * 1_000


def zstd(body: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(body)


def zstd_with_a_window_of_128_mib(body: bytes) -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(body) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd}
RANDOM = os.urandom(1_000_000)


@pytest.mark.parametrize("encoding", PACKERS)
@pytest.mark.parametrize("body", [b"", b"x", TEXT, RANDOM], ids=["empty", "byte", "text", "random"])
async def test_what_was_packed_comes_out(encoding: str, body: bytes) -> None:
    assert await unpack(PACKERS[encoding](body), encoding, bytes_max=BYTES_MAX) == body


async def test_a_frame_that_does_not_say_its_length_is_unpacked() -> None:
    packed = zstd(TEXT, write_content_size=False, write_checksum=True)
    assert await unpack(packed, "zstd", bytes_max=BYTES_MAX) == TEXT


class Bad(NamedTuple):
    name: str
    encoding: str
    body: bytes
    code: str


ZEROS = b"\0" * (BYTES_MAX + 1)
BAD = [
    Bad("gzip_none", "gzip", b"no gzip", "body_malformed"),
    Bad("gzip_nothing", "gzip", b"", "body_malformed"),
    Bad("gzip_cut", "gzip", gzip.compress(TEXT)[:-4], "body_malformed"),
    Bad("gzip_twice", "gzip", gzip.compress(TEXT) * 2, "body_malformed"),
    Bad("gzip_is_zstd", "gzip", zstd(TEXT), "body_malformed"),
    Bad("gzip_bomb", "gzip", gzip.compress(ZEROS), "body_too_large"),
    Bad("zstd_none", "zstd", b"no zstd", "body_malformed"),
    Bad("zstd_nothing", "zstd", b"", "body_malformed"),
    Bad("zstd_cut", "zstd", zstd(TEXT)[:-1], "body_malformed"),
    Bad("zstd_cut_long", "zstd", zstd(RANDOM)[:500_000], "body_malformed"),
    Bad("zstd_twice", "zstd", zstd(TEXT) * 2, "body_malformed"),
    Bad("zstd_and_more", "zstd", zstd(TEXT) + b"x" * 500, "body_malformed"),
    Bad("zstd_broken", "zstd", zstd(TEXT, write_checksum=True)[:-1] + b"!", "body_malformed"),
    Bad("zstd_wide_window", "zstd", zstd_with_a_window_of_128_mib(TEXT), "body_malformed"),
    Bad("zstd_bomb", "zstd", zstd(ZEROS), "body_too_large"),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
async def test_what_is_not_one_whole_body_is_refused(case: Bad) -> None:
    with pytest.raises(ServiceError) as refused:
        await unpack(case.body, case.encoding, bytes_max=BYTES_MAX)
    assert refused.value.code == case.code


@pytest.mark.parametrize("encoding", PACKERS)
async def test_a_bomb_is_refused_before_it_has_grown(encoding: str) -> None:
    bomb = PACKERS[encoding](b"\0" * 300_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(ServiceError):
            await unpack(bomb, encoding, bytes_max=1_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


async def test_a_body_as_long_as_may_be_is_unpacked() -> None:
    assert len(await unpack(zstd(TEXT), "zstd", bytes_max=len(TEXT))) == len(TEXT)
