"""A lane for hot routes: a plain request goes from the server to its handler, with no framework in between.

It lets in whom the gate would: a token that was verified lately and is good still, with the scope, within its
rate. Whatever is unusual about a request (a token seen for the first time, packed bodies, unknown lengths, another
media type, a trace that is to be recorded) sends it the long way, which accepts the same requests and says what is
wrong with others. Errors are answered by the same hand as everywhere. The server's protocol asks the lane:
`libs.common.serving.hot_protocol`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from libs.common.access.caller import Caller
from libs.common.access.token import TokenVerifier
from libs.common.ids import random_hex
from libs.common.telemetry import TraceBudget, current_service, metrics, span_context_from
from libs.common.web.context import UNLESS_SAID, request_id_from
from libs.common.web.problem import RequestTimedOut, problem_from
from libs.common.web.rates import RateLimiter

_BEARER = b"bearer "
_LENGTH_DIGITS_MAX = 18
_PACKED = frozenset({b"content-encoding", b"transfer-encoding"})


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
    endless bodies. `traces` says how many requests have their spans recorded: these go the long way.
    """

    path: str
    token_scope: str
    media_types: frozenset[str]
    body_bytes_max: int
    body_timeout_s: float
    traces: TraceBudget
    answer: Callable[[PlainRequest], Awaitable[bytes]]
    unusual_headers: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Admitted:
    """A plain request whose caller was let in; its body is as long as `length`, and may still be on its way."""

    route: HotRoute
    caller: Caller
    tenant: str
    media_type: str
    length: int
    request_id: str
    trace_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class HotLane:
    """The hot routes of one service. `callers` is the gate's, so that both ways count together."""

    def __init__(
        self, service: str, *, routes: Sequence[HotRoute], verifier: TokenVerifier, callers: RateLimiter
    ) -> None:
        self._service = service
        self.routes = {route.path: route for route in routes}
        self._verifier, self._callers = verifier, callers
        self._media_types = {
            media_type.encode(): media_type for route in routes for media_type in route.media_types
        }
        self._in_flight = metrics.in_flight(service)

    def admit(self, route: HotRoute, headers: Iterable[tuple[bytes, bytes]]) -> Admitted | None:
        """None when there is more to the request than the lane understands; its names are in lower case."""
        bearer = media_type = ""
        length = given_id = traceparent = b""
        for name, value in headers:
            if name == b"authorization":
                if bearer or value[: len(_BEARER)].lower() != _BEARER:
                    return None
                bearer = value[len(_BEARER) :].decode("latin-1").strip()
            elif name == b"content-type":
                media_type = self._media_types.get(value, "")
            elif name == b"content-length":
                length = value
            elif name == b"x-request-id":
                given_id = value
            elif name == b"traceparent":
                traceparent = value
            elif name in _PACKED or name in route.unusual_headers:
                return None
        if media_type not in route.media_types or not bearer:
            return None
        if not length.isdigit() or len(length) > _LENGTH_DIGITS_MAX or int(length) > route.body_bytes_max:
            return None
        caller = self._verifier.find_good(bearer)
        if caller is None or caller.tenant is None or not _may(caller, route):
            return None
        parent = span_context_from(traceparent.decode("latin-1")) if traceparent else None
        if (parent is not None and parent.trace_flags.sampled) or route.traces.take():
            return None
        return Admitted(
            route,
            caller,
            caller.tenant,
            media_type,
            int(length),
            request_id_from(given_id),
            format(parent.trace_id, "032x") if parent is not None else random_hex(16),
        )

    async def answer(self, admitted: Admitted, body: bytes | None) -> Answer:
        """With `body` None, which did not come in time, that is told."""
        token = current_service.set(self._service)
        began = time.perf_counter()
        self._in_flight.inc()
        status = 0
        try:
            answer = await self._answer(admitted, body)
            status = answer.status
        finally:
            self._in_flight.dec()
            route = admitted.route.path
            metrics.http_request(self._service, route, "POST", status, time.perf_counter() - began)
            current_service.reset(token)
        return answer

    async def _answer(self, admitted: Admitted, body: bytes | None) -> Answer:
        named = (
            (b"x-request-id", admitted.request_id.encode("ascii")),
            (b"x-trace-id", admitted.trace_id.encode("ascii")),
            *UNLESS_SAID,
        )
        route = admitted.route
        try:
            self._callers.take(admitted.caller.token_id)
            if body is None:
                raise RequestTimedOut(f"the body did not arrive within {route.body_timeout_s:g} seconds")
            told = await route.answer(
                PlainRequest(admitted.caller, admitted.tenant, admitted.media_type, body)
            )
        except Exception as error:
            problem = problem_from(error, trace_id=admitted.trace_id)
            return Answer(problem.status_code, (*problem.raw_headers, *named), bytes(problem.body))
        length = (b"content-length", b"%d" % len(told))
        return Answer(HTTPStatus.OK, (length, (b"content-type", b"application/json"), *named), told)


def _may(caller: Caller, route: HotRoute) -> bool:
    """As `Authorised` would say, which tells others why not."""
    return caller.customer is None and route.token_scope in caller.scopes
