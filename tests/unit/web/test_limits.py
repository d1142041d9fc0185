"""Bodies: how long, how deep, of which kind; and that bad ones get a clear answer."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from libs.common.web.limits import MEBIBYTE, Limits
from tests.unit.web.small_app import SmallApp, a_small_app
from tests.unit.web.test_calls import problem

JSON = {"content-type": "application/json"}
CASES = [
    # name                    body                                          expected
    ("nan", b'{"name": NaN}', (400, "json_malformed")),
    ("infinity", b'{"name": -Infinity}', (400, "json_malformed")),
    ("trailing_comma", b'{"name": "x",}', (400, "json_malformed")),
    ("cut_off", b'{"name": "x"', (400, "json_malformed")),
    ("two_values", b'{"name": "x"} {}', (400, "json_malformed")),
    ("not_utf8", b'{"name": "\xff"}', (400, "json_malformed")),
    ("byte_order_mark", b'\xef\xbb\xbf{"name": "x"}', (400, "json_malformed")),
    ("lone_surrogate", b'{"name": "\\ud800"}', (400, "json_malformed")),
    ("nul", b'{"name": "a\\u0000"}', (422, "text_not_storable")),
    ("ten_thousand_digits", b'{"name": ' + b"9" * 10_000 + b"}", (422, "json_number_too_long")),
    ("forty_one_decimals", b'{"name": 0.' + b"1" * 41 + b"}", (422, "json_number_too_long")),
    ("large_exponent", b'{"name": 1e999}', (422, "json_number_too_long")),
    ("deep_arrays", b"[" * 33 + b"]" * 33, (422, "json_too_deep")),
    ("deep_mixed", b'{"a":[' * 17 + b"]}" * 17, (422, "json_too_deep")),
    ("very_deep", b"[" * 100_000 + b"]" * 100_000, (422, "json_too_deep")),
    ("twenty_thousand_values", b"[" + b"1," * 19_999 + b"1]", (422, "invalid_body")),
    ("more_values_than_that", b"[" + b"1," * 20_000 + b"1]", (422, "json_too_many_values")),
    ("no_object", b"[]", (422, "invalid_body")),
    ("null", b"null", (422, "invalid_body")),
    ("digits_in_text", b'{"name": "' + b"9" * 100 + b'"}', 201),
    ("brackets_in_text", b'{"name": "' + b"[" * 100 + b'\\""}', 201),
    ("escaped_backslash", b'{"name": "a\\\\u0000"}', 201),
]


@pytest.mark.parametrize(("body", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_bodies(client: httpx.AsyncClient, body: bytes, expected: tuple[int, str] | int) -> None:
    answer = await client.post("/v1/notes", content=body, headers=JSON)
    assert (answer.status_code if isinstance(expected, int) else problem(answer)) == expected


async def test_thirty_two_levels_are_not_too_deep(client: httpx.AsyncClient) -> None:
    body = b"[" * 32 + b"]" * 32
    assert problem(await client.post("/v1/notes", content=body, headers=JSON)) == (422, "invalid_body")


async def test_a_route_may_take_more_values_than_others(tmp_path: Path) -> None:
    small = a_small_app(
        tmp_path, limits=Limits(values_max=3, values_max_by_prefix={"/v1/notes/": 1, "/v1/notes": 5})
    )
    async with small.client() as client:
        for values, code in ((5, "invalid_body"), (6, "json_too_many_values")):
            body = b"[" + b",".join([b"1"] * values) + b"]"
            answer = await client.post("/v1/notes", content=body, headers=JSON)
            assert problem(answer) == (422, code)
    assert [small_limits.values_for(path) for path in ("/v1/a", "/v1/ab", "/v1/b")] == [2, 4, 3]


small_limits = Limits(values_max=3, values_max_by_prefix={"/v1/a": 2, "/v1/ab": 4})


async def test_a_body_is_long_enough_at_one_mebibyte_and_too_long_beyond(client: httpx.AsyncClient) -> None:
    padding = b" " * (MEBIBYTE - len(b'{"name":"x"}'))
    fits = b'{"name":"x"}' + padding
    assert (await client.post("/v1/notes", content=fits, headers=JSON)).status_code == 201
    answer = await client.post("/v1/notes", content=fits + b" ", headers=JSON)
    assert problem(answer) == (413, "body_too_large")


async def test_a_streamed_body_is_bounded_too(client: httpx.AsyncClient) -> None:
    sent = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 100_000

    answer = await client.post("/v1/notes", content=parts(), headers=JSON)
    assert problem(answer) == (413, "body_too_large")
    assert sent < 15, "the rest was not read"


async def test_raw_routes_have_their_own_bound_and_any_media_type(client: httpx.AsyncClient) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 1000

    assert (await client.post("/v1/raw", content=b"[NaN" * 500)).json()["length"] == 2000
    assert problem(await client.post("/v1/raw", content=b"x" * 2001)) == (413, "body_too_large")
    assert problem(await client.post("/v1/raw", content=parts())) == (413, "body_too_large")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/xml"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_other_media_is_refused(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.post("/v1/notes", content=b'{"name": "x"}', headers=headers)
    assert problem(answer) == (415, "unsupported_media_type")


async def test_the_media_type_may_have_parameters(client: httpx.AsyncClient) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert (await client.post("/v1/notes", content=b'{"name": "x"}', headers=headers)).status_code == 201


async def test_a_missing_body_is_invalid(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/notes", headers=JSON)
    assert problem(answer) == (422, "invalid_body")
    assert answer.json()["errors"] == [{"pointer": "", "detail": "is required"}]


async def test_a_body_that_does_not_arrive_is_given_up(tmp_path: Path) -> None:
    small = a_small_app(tmp_path, limits=Limits(body_timeout_s=0.05))

    async def slow() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    async with small.client() as client:
        assert problem(await client.post("/v1/notes", content=slow(), headers=JSON)) == (
            408,
            "request_timed_out",
        )


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "9" * 30])
async def test_a_length_that_is_none(client: httpx.AsyncClient, length: str) -> None:
    answer = await client.post("/v1/notes", content=b"{}", headers={**JSON, "content-length": length})
    assert problem(answer) == (400, "content_length_invalid")


@pytest.mark.parametrize("path", ["/v1/notes/a%00b", "/v1/notes?cursor=%00"])
async def test_an_address_with_nul_is_malformed(client: httpx.AsyncClient, path: str) -> None:
    assert problem(await client.get(path)) == (400, "address_malformed")


def test_checking_the_worst_bodies_takes_no_long_time(small: SmallApp) -> None:
    """The event loop must not be held: a mebibyte of anything is checked in a small part of a second."""
    import contextlib
    import time

    from libs.common.errors import InvalidInput
    from libs.common.web.strict_json import JsonCheck

    check = JsonCheck(depth_max=32, digits_max=40, values_max=20_000)
    bodies = [
        b'"' + b'\\"' * (MEBIBYTE // 2),
        b"[" + b"[]," * (MEBIBYTE // 3) + b"[]]",
        b'["' + b"9" * MEBIBYTE + b'"]',
        b'["\\u0000' + b"\\\\" * (MEBIBYTE // 2) + b'"]',
        b'["' + b"\\\\" * (MEBIBYTE // 2) + b'\\u0000"]',
        b"[" * MEBIBYTE,
        b"[" + b"9" * MEBIBYTE + b"]",
    ]
    for body in bodies:
        started = time.process_time()
        with contextlib.suppress(InvalidInput):
            check.check(body)
        assert time.process_time() - started < 0.5, body[:10]
