"""A lane for hot routes: a plain request goes from the server to its handler, with no framework in between.

It stands where the gate stands, and lets in whom the gate would: a token that was verified lately and is good
still, with the scope, within its rate. Whatever is unusual about a request (a token seen for the first time,
packed bodies, unknown lengths, another media type) sends it the long way, which accepts the same requests and
says what is wrong with others. Errors are answered by the same hand as everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from opentelemetry import trace
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.access.caller import Caller
from libs.common.access.token import TokenVerifier
from libs.common.web.context import CALLER, RequestContext
from libs.common.web.problem import RequestTimedOut
from libs.common.web.rates import RateLimiter

_BEARER = b"bearer "
_LENGTH_DIGITS_MAX = 18
_PACKED = frozenset({b"content-encoding", b"transfer-encoding"})
_NOT_PLAIN = ("", "")
_MEDIA_TYPE = "perennial.media_type"


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """What is left of a request: who sends it, and the whole body, of a media type that the route named."""

    caller: Caller
    tenant: str
    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class HotRoute:
    """A POST that answers 200 with JSON. The same route must stand among the others, for all that is not plain.

    `unusual_headers` (in lower case) are those that the lane does not understand, beside those of packed and
    endless bodies.
    """

    path: str
    token_scope: str
    media_types: frozenset[str]
    body_bytes_max: int
    body_timeout_s: float
    answer: Callable[[PlainRequest], Awaitable[bytes]]
    unusual_headers: frozenset[bytes] = frozenset()
    path_format: str = field(init=False)  # how telemetry knows a route

    def __post_init__(self) -> None:
        object.__setattr__(self, "path_format", self.path)


class HotLane:
    """ASGI middleware; see above. `callers` is the gate's, so that both lanes count together."""

    def __init__(
        self, app: ASGIApp, *, routes: Sequence[HotRoute], verifier: TokenVerifier, callers: RateLimiter
    ) -> None:
        self._app = app
        self._named = RequestContext(self._answer)
        self._routes = {route.path: route for route in routes}
        self._verifier, self._callers = verifier, callers
        self._media_types = {
            media_type.encode(): media_type for route in routes for media_type in route.media_types
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._routes.get(scope.get("path", ""))
        if route is None or scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        bearer, media_type = self._plain(route, scope)
        caller = self._verifier.find_good(bearer) if bearer else None
        if caller is None or not _may(caller, route):
            await self._app(scope, receive, send)
        else:
            scope[CALLER] = caller
            scope[_MEDIA_TYPE] = media_type
            scope["route"] = route
            await self._named(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        route: HotRoute = scope["route"]
        caller: Caller = scope[CALLER]
        assert caller.tenant is not None, "the long way is theirs who have none"
        self._callers.take(caller.token_id)
        trace.get_current_span().set_attribute("perennial.tenant", caller.tenant)
        body = await _body(receive, route.body_timeout_s)
        answer = await route.answer(PlainRequest(caller, caller.tenant, scope[_MEDIA_TYPE], body))
        headers = [(b"content-length", b"%d" % len(answer)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _plain(self, route: HotRoute, scope: Scope) -> tuple[str, str]:
        """Token and media type, or empty ones when there is more to the request than the lane understands."""
        bearer = media_type = ""
        length = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                if bearer or value[: len(_BEARER)].lower() != _BEARER:
                    return _NOT_PLAIN
                bearer = value[len(_BEARER) :].decode("latin-1").strip()
            elif name == b"content-type":
                media_type = self._media_types.get(value, "")
            elif name == b"content-length":
                length = value
            elif name in _PACKED or name in route.unusual_headers:
                return _NOT_PLAIN
        if media_type not in route.media_types or scope["query_string"]:
            return _NOT_PLAIN
        if not length.isdigit() or len(length) > _LENGTH_DIGITS_MAX or int(length) > route.body_bytes_max:
            return _NOT_PLAIN
        return bearer, media_type


def _may(caller: Caller, route: HotRoute) -> bool:
    """As `Authorised` would say, which tells others why not."""
    return caller.tenant is not None and caller.customer is None and route.token_scope in caller.scopes


async def _body(receive: Receive, timeout_s: float) -> bytes:
    """The whole of it: it is as long as it said, for the server reads no further.

    Raises: RequestTimedOut.
    """
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(timeout_s):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestTimedOut("the connection ended before the body did")
                parts.append(message.get("body", b""))
                more = message.get("more_body", False)
    except TimeoutError:
        raise RequestTimedOut(f"the body did not arrive within {timeout_s:g} seconds") from None
    return parts[0] if len(parts) == 1 else b"".join(parts)
