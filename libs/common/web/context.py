"""What every request is known by, its request id and trace id; and the last catch of errors.

It stands outside all other middleware of the app, so that whatever they raise becomes a problem with both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from opentelemetry import trace
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common.access.caller import Caller
from libs.common.errors import DomainError
from libs.common.ids import random_hex
from libs.common.telemetry import record_failure
from libs.common.web.problem import problem_from

REQUEST_ID = "perennial.request_id"
TRACE_ID = "perennial.trace_id"
CALLER = "perennial.caller"

_REQUEST_ID_OF_CALLER = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
_NO_TRACE = "0" * 32
UNLESS_SAID = ((b"cache-control", b"private, no-cache"), (b"x-content-type-options", b"nosniff"))


class RequestContext:
    """Names the request, and answers what was raised and not answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[REQUEST_ID] = request_id = _request_id(scope)
        scope[TRACE_ID] = trace_id = _trace_id(scope)
        started = False

        async def send_named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = _named(message.get("headers", ()), request_id, trace_id)
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except Exception as error:
            if not isinstance(error, DomainError):  # a refusal is no failure of ours
                record_failure(error)
            if started:  # nothing can be said any more; the server breaks the connection off
                raise
            await problem_from(error, trace_id=trace_id)(scope, receive, send_named)


def _named(
    headers: Iterable[tuple[bytes, bytes]], request_id: str, trace_id: str
) -> list[tuple[bytes, bytes]]:
    """The answer's headers with ours added: by hand, since this is done for every answer."""
    named = list(headers)
    there = {name.lower() for name, _ in named}
    ours = (
        (b"x-request-id", request_id.encode("ascii")),
        (b"x-trace-id", trace_id.encode("ascii")),
        *UNLESS_SAID,
    )
    named += [(name, value) for name, value in ours if name not in there]
    return named


def trace_id_of(scope: Scope) -> str:
    trace_id: str = scope.get(TRACE_ID, _NO_TRACE)
    return trace_id


def caller_of(scope: Scope) -> Caller | None:
    """Who was let in by the gate; None where no token is needed."""
    caller: Caller | None = scope.get(CALLER)
    return caller


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _request_id(scope: Scope) -> str:
    return request_id_from(_header(scope, b"x-request-id"))


def request_id_from(given: bytes) -> str:
    """The caller's own, when it is harmless in a log line; else a new one."""
    return given.decode("ascii") if _REQUEST_ID_OF_CALLER.fullmatch(given) else random_hex()


def _trace_id(scope: Scope) -> str:
    """The running span's; without tracing the caller's, so that his logs and ours still meet."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        return format(context.trace_id, "032x")
    given = _TRACEPARENT.fullmatch(_header(scope, b"traceparent"))
    trace_id = given.group(1).decode("ascii") if given else _NO_TRACE
    return trace_id if trace_id != _NO_TRACE else random_hex()
