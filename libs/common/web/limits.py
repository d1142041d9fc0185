"""What a request may cost before a route has seen it: bytes, time, nesting, values, digits, how often."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common.errors import TooLarge
from libs.common.web.card_numbers import refuse_card_numbers
from libs.common.web.problem import BadRequest, RequestTimedOut, UnsupportedMedia
from libs.common.web.strict_json import JsonCheck

MEBIBYTE = 1024 * 1024


class BodyTooLarge(TooLarge):
    """The body has more bytes than this route reads."""

    code: ClassVar[str] = "body_too_large"
    title: ClassVar[str] = "The body is too large"


class ContentLengthInvalid(BadRequest):
    code: ClassVar[str] = "content_length_invalid"
    title: ClassVar[str] = "Content-Length is no length"


class AddressMalformed(BadRequest):
    """The path or the query holds a NUL character, which no id or filter can."""

    code: ClassVar[str] = "address_malformed"
    title: ClassVar[str] = "The address is malformed"


@dataclass(frozen=True, slots=True)
class Limits:
    """Prefixes are of paths; the longest that fits decides.

    `raw_body_prefixes` are the routes that read their bodies themselves: bounded in bytes, but neither read
    in advance nor checked, and of any media type. Bodies under `card_free_prefixes` may hold no card numbers.
    """

    body_bytes_max: int = MEBIBYTE
    body_bytes_max_by_prefix: Mapping[str, int] = field(default_factory=dict)
    raw_body_prefixes: tuple[str, ...] = ()
    card_free_prefixes: tuple[str, ...] = ()
    body_timeout_s: float = 30.0
    depth_max: int = 32
    digits_max: int = 40
    values_max: int = 20_000
    values_max_by_prefix: Mapping[str, int] = field(default_factory=dict)
    token_requests_per_s: float = 5_000.0
    token_requests_burst: int = 10_000
    stranger_requests_per_s: float = 200.0  # from one address, with tokens not verified lately
    stranger_requests_burst: int = 1_000

    def body_bytes_for(self, path: str) -> int:
        return _of_longest_prefix(self.body_bytes_max_by_prefix, path, self.body_bytes_max)

    def values_for(self, path: str) -> int:
        return _of_longest_prefix(self.values_max_by_prefix, path, self.values_max)


def _of_longest_prefix(by_prefix: Mapping[str, int], path: str, otherwise: int) -> int:
    fitting = [prefix for prefix in by_prefix if path.startswith(prefix)]
    return by_prefix[max(fitting, key=len)] if fitting else otherwise


class BodyBudget:
    """How many bytes of bodies one process has in hand at most, however many requests bring them.

    One that is longer than all that is allowed is taken when it is the only one. What was taken is given back.
    """

    __slots__ = ("_bytes_max", "held_bytes")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.held_bytes = 0

    def take(self, byte_count: int) -> bool:
        """False when there is no room: the sender is to come again."""
        if self.held_bytes and self.held_bytes + byte_count > self._bytes_max:
            return False
        self.held_bytes += byte_count
        return True

    def give(self, byte_count: int) -> None:
        self.held_bytes -= byte_count


class BodyLimits:
    """Reads JSON bodies whole, bounded and checked, and hands them on; bounds all others as they stream."""

    def __init__(self, app: ASGIApp, *, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._json = {
            values_max: JsonCheck(
                depth_max=limits.depth_max, digits_max=limits.digits_max, values_max=values_max
            )
            for values_max in {limits.values_max, *limits.values_max_by_prefix.values()}
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if "\0" in path or b"%00" in scope["query_string"]:
            raise AddressMalformed("the address holds a NUL character")
        headers = dict(scope["headers"])
        bytes_max = self._limits.body_bytes_for(path)
        declared = _declared_length(headers)
        if declared is not None and declared > bytes_max:
            raise _too_large(bytes_max)
        if path.startswith(self._limits.raw_body_prefixes):
            await self._app(scope, _Bounded(receive, bytes_max).receive, send)
            return
        if not declared and b"transfer-encoding" not in headers:
            await self._app(scope, receive, send)
            return
        body = await self._read(receive, bytes_max)
        if body:
            _check_media(headers)
            self._json[self._limits.values_for(path)].check(body)
            if path.startswith(self._limits.card_free_prefixes):
                refuse_card_numbers(body)
        await self._app(scope, _Replayed(body, receive).receive, send)

    async def _read(self, receive: Receive, bytes_max: int) -> bytes:
        bounded = _Bounded(receive, bytes_max)
        parts = []
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                more = True
                while more:
                    message = await bounded.receive()
                    if message["type"] == "http.disconnect":
                        raise RequestTimedOut("the connection ended before the body did")
                    parts.append(message.get("body", b""))
                    more = message.get("more_body", False)
        except TimeoutError:
            raise RequestTimedOut(
                f"the body did not arrive within {self._limits.body_timeout_s:g} seconds"
            ) from None
        return b"".join(parts)


class _Bounded:
    """Counts what arrives, since a chunked body does not say its length."""

    def __init__(self, receive: Receive, bytes_max: int) -> None:
        self._receive = receive
        self._bytes_max = bytes_max
        self._left = bytes_max

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise _too_large(self._bytes_max)
        return message


class _Replayed:
    """The body in one piece, then whatever else the connection has to say."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def receive(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _declared_length(headers: Mapping[bytes, bytes]) -> int | None:
    declared = headers.get(b"content-length")
    if declared is None:
        return None
    if not declared.isdigit() or len(declared) > 18:
        raise ContentLengthInvalid("Content-Length is not a number of bytes")
    return int(declared)


def _check_media(headers: Mapping[bytes, bytes]) -> None:
    media_type = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise UnsupportedMedia(
            "this route reads application/json only", remedy="Send the header Content-Type: application/json."
        )
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMedia("this route does not read compressed bodies", remedy="Send it uncompressed.")


def _too_large(bytes_max: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body has more than {bytes_max} bytes", bytes_max=bytes_max, remedy="Send it in smaller parts."
    )
