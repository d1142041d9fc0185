"""A lane for hot routes: a plain request goes from the server to its handler, with no framework in between.

It lets in whom the gate would: a token that was verified lately and is good still, with the scope, within its
rate. Whatever is unusual about a request (a token seen for the first time, packed bodies, unknown lengths, another
media type, a trace that is to be recorded) sends it the long way, which accepts the same requests and says what is
wrong with others. Errors are answered by the same hand as everywhere. The server's protocol asks the lane:
`libs.common.serving.hot_protocol`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from libs.common.access.caller import Caller
from libs.common.access.token import TokenVerifier
from libs.common.ids import random_hex
from libs.common.telemetry import TraceBudget, current_service, metrics, span_context_from
from libs.common.web.context import UNLESS_SAID, request_id_from
from libs.common.web.limits import BodyBudget
from libs.common.web.problem import RequestTimedOut, problem_from
from libs.common.web.rates import RateLimiter

_BEARER = b"bearer "
_LENGTH_DIGITS_MAX = 18
_PACKED = frozenset({b"content-encoding", b"transfer-encoding"})
_ALWAYS = b"".join([b"%b: %b\r\n" % header for header in UNLESS_SAID])


class PlainRequest(NamedTuple):
    """What is left of a request: who sends it, and the whole body, of a media type that the route named."""

    caller: Caller
    tenant: str
    media_type: str
    body: bytes


Told = bytes | Exception
"""The body of an answer, or what went wrong."""


@dataclass(frozen=True, slots=True)
class HotRoute:
    """A POST that answers 200 with JSON. The same route must stand among the others, for all that is not plain.

    `begin` takes requests of at most `begun_bytes_max` bytes and waits for nothing: it returns at once, and calls back
    once when it can be told what came of it. So a short request needs no task of its own. `answer` takes all others.

    `unusual_headers` (in lower case) are those that the lane does not understand, beside those of packed and
    endless bodies. `traces` says how many requests have their spans recorded: these go the long way. So do those for
    whose bodies there is no room among `bodies`, to be told so.
    """

    path: str
    token_scope: str
    media_types: frozenset[str]
    body_bytes_max: int
    body_timeout_s: float
    traces: TraceBudget
    answer: Callable[[PlainRequest], Awaitable[bytes]]
    unusual_headers: frozenset[bytes] = frozenset()
    begin: Callable[[PlainRequest, Callable[[Told], None]], None] | None = None
    begun_bytes_max: int = -1
    bodies: BodyBudget = field(default_factory=lambda: BodyBudget(sys.maxsize))

    @property
    def not_plain(self) -> frozenset[bytes]:
        return self.unusual_headers | _PACKED


class Admitted(NamedTuple):
    """A plain request whose caller was let in; its body is as long as `length`, and may still be on its way."""

    route: HotRoute
    caller: Caller
    tenant: str
    media_type: str
    length: int
    request_id: str
    trace_id: str


class Answer(NamedTuple):
    """`head`: the lines of its headers, but for those of the connection."""

    status: int
    head: bytes
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
        self._begun_count = 0
        self._ended: list[tuple[str, int, float]] = []
        self._is_telling = False

    def admit(self, route: HotRoute, headers: Sequence[tuple[bytes, bytes]]) -> Admitted | None:
        """None when there is more to the request than the lane understands; its names are in lower case.

        The length of one that is let in is taken from the route's `bodies`, and given back by whoever answers it.
        """
        given = dict(headers)
        if len(given) < len(headers) or not given.keys().isdisjoint(route.not_plain):
            return None
        authorization = given.get(b"authorization", b"")
        media_type = self._media_types.get(given.get(b"content-type", b""))
        length = given.get(b"content-length", b"")
        if media_type not in route.media_types or authorization[: len(_BEARER)].lower() != _BEARER:
            return None
        bearer = authorization[len(_BEARER) :].decode("latin-1").strip()
        if not bearer or not length.isdigit():
            return None
        if len(length) > _LENGTH_DIGITS_MAX or int(length) > route.body_bytes_max:
            return None
        caller = self._verifier.find_good(bearer)
        if caller is None or caller.tenant is None or not _may(caller, route):
            return None
        traceparent = given.get(b"traceparent")
        parent = span_context_from(traceparent.decode("latin-1")) if traceparent else None
        if (parent is not None and parent.trace_flags.sampled) or route.traces.take():
            return None
        if not route.bodies.take(int(length)):
            return None
        return Admitted(
            route,
            caller,
            caller.tenant,
            media_type,
            int(length),
            request_id_from(given[b"x-request-id"]) if b"x-request-id" in given else random_hex(),
            format(parent.trace_id, "032x") if parent is not None else random_hex(),
        )

    def begin(self, admitted: Admitted, body: bytes, answered: Callable[[Answer], None]) -> bool:
        """Whether it was begun: `answered` is called once then, maybe before this returns. Else it is for `answer`."""
        route = admitted.route
        if route.begin is None or len(body) > route.begun_bytes_max:
            return False
        finish = partial(self._finish, admitted, answered, time.perf_counter())
        self._begun_count += 1
        try:
            self._callers.take(admitted.caller.token_id)
            route.begin(PlainRequest(admitted.caller, admitted.tenant, admitted.media_type, body), finish)
        except Exception as error:
            finish(error)
        return True

    def _finish(
        self, admitted: Admitted, answered: Callable[[Answer], None], began: float, told: Told
    ) -> None:
        answer = self._answer_of(admitted, told)
        self._count(admitted, answer.status, began)
        answered(answer)

    async def answer(self, admitted: Admitted, body: bytes | None) -> Answer:
        """With `body` None, which did not come in time, that is told."""
        token = current_service.set(self._service)
        began = time.perf_counter()
        self._begun_count += 1
        status = 0
        try:
            answer = self._answer_of(admitted, await self._told(admitted, body))
            status = answer.status
        finally:
            self._count(admitted, status, began)
            current_service.reset(token)
        return answer

    async def _told(self, admitted: Admitted, body: bytes | None) -> Told:
        route = admitted.route
        try:
            self._callers.take(admitted.caller.token_id)
            if body is None:
                raise RequestTimedOut(f"the body did not arrive within {route.body_timeout_s:g} seconds")
            return await route.answer(
                PlainRequest(admitted.caller, admitted.tenant, admitted.media_type, body)
            )
        except Exception as error:
            return error

    def _answer_of(self, admitted: Admitted, told: Told) -> Answer:
        named = b"x-request-id: %b\r\nx-trace-id: %b\r\n%b" % (
            admitted.request_id.encode("ascii"),
            admitted.trace_id.encode("ascii"),
            _ALWAYS,
        )
        if isinstance(told, bytes):
            head = b"content-length: %d\r\ncontent-type: application/json\r\n%b" % (len(told), named)
            return Answer(200, head, told)
        token = current_service.set(self._service)
        try:
            problem = problem_from(told, trace_id=admitted.trace_id)
        finally:
            current_service.reset(token)
        lines = b"".join([b"%b: %b\r\n" % header for header in problem.raw_headers])
        return Answer(problem.status_code, lines + named, bytes(problem.body))

    def _count(self, admitted: Admitted, status: int, began: float) -> None:
        """Told to the metrics once for all that end in one turn of the loop: each time they are told they take locks."""
        self._ended.append((admitted.route.path, status, time.perf_counter() - began))
        if not self._is_telling:
            self._is_telling = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        ended, self._ended, self._is_telling = self._ended, [], False
        begun, self._begun_count = self._begun_count, 0
        self._in_flight.inc(begun - len(ended))
        for path, status in {(path, status) for path, status, _ in ended}:
            elapsed = [seconds for of, was, seconds in ended if of == path and was == status]
            metrics.http_requests(self._service, path, "POST", status, elapsed)


def _may(caller: Caller, route: HotRoute) -> bool:
    """As `Authorised` would say, which tells others why not."""
    return caller.customer is None and route.token_scope in caller.scopes
