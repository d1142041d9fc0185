"""What is observed of every HTTP request: one span, one count, one duration, under the route's template.

Pure ASGI, one layer for all three. FastAPI's own spans cost three times as much and the stock instrumentation
eight times; on a route that takes a tenth of a millisecond that is most of it. So FastAPI's are turned off.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any, Protocol

from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    set_span_in_context,
)

from libs.common.telemetry import metrics
from libs.common.telemetry.service import ASGIApp, Message, Receive, Scope, Send, current_service
from libs.common.telemetry.spans import TraceBudget, record_failure, span_context_from, start_span, unrecorded

UNMATCHED = "unmatched"
QUIET_PATHS = ("/health", "/healthz", "/livez", "/readyz", "/metrics", "/ops")

_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"}
)


class ObservableApp(Protocol):
    """What is needed of a FastAPI or Starlette app; who only observes need not import a web framework."""

    state: Any

    def build_middleware_stack(self) -> Any: ...


def instrument_app(
    app: ObservableApp,
    service: str,
    *,
    quiet_paths: tuple[str, ...] = QUIET_PATHS,
    traces: Mapping[str, TraceBudget] | None = None,
) -> None:
    """Observe an app's requests as this service's. Call it before the first request; twice is once.

    `quiet_paths`, and what lies below them, leave neither spans nor counts. `traces` maps the path of a hot route
    to how many of its requests have their spans recorded; all have a trace id and are counted, and a caller that
    sends a sampled trace of its own is always recorded.
    """
    if getattr(app.state, "observed_as", None) is not None:
        return
    app.state.observed_as = service
    leave_out_native_spans(app)
    build = app.build_middleware_stack

    def build_observed() -> Any:
        # Around everything, the handler of unexpected errors too: its answer carries the trace id.
        return RequestTelemetry(
            build(),
            service=service,
            quiet_paths=quiet_paths,
            traces=traces,
        )

    app.build_middleware_stack = build_observed  # type: ignore[method-assign]  # the one place outside of it


def leave_out_native_spans(app: Any) -> None:
    """FastAPI traces requests by itself once a global tracer provider is set: four spans each, in a trace of its own."""
    native = getattr(app, "_telemetry", None)  # absent before FastAPI could trace itself
    if isinstance(native, dict):
        native.update(tracing=False, metrics=False, logs=False, auto_configure=False)


class RequestTelemetry:
    """ASGI middleware; see `instrument_app`."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        service: str,
        quiet_paths: tuple[str, ...] = QUIET_PATHS,
        traces: Mapping[str, TraceBudget] | None = None,
    ) -> None:
        self._app = app
        self._service = service
        self._quiet = frozenset(quiet_paths)
        self._below_quiet = tuple(f"{path}/" for path in quiet_paths)
        self._traces = dict(traces or {})
        self._plain_routes: dict[Any, list[Any]] = {}
        self._in_flight = metrics.in_flight(service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = current_service.set(self._service)
        try:
            if scope["type"] != "http" or self._is_quiet(scope["path"]):
                await self._app(scope, receive, send)
            else:
                await self._observe(scope, receive, send)
        finally:
            current_service.reset(token)

    def _is_quiet(self, path: str) -> bool:
        return path in self._quiet or path.startswith(self._below_quiet)

    async def _observe(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        span = self._start(scope, method)
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        token = attach(set_span_in_context(span))
        began = perf_counter()
        self._in_flight.inc()
        try:
            await self._app(scope, receive, send_and_note)
        except Exception as error:
            status = 500
            record_failure(error, span)
            raise
        finally:
            detach(token)
            self._in_flight.dec()
            route = self._route_template(scope)
            metrics.http_request(self._service, route, method, status, perf_counter() - began)
            _finish(span, method, route, status)

    def _route_template(self, scope: Scope) -> str:
        """The path as it was declared, `/v1/plans/{plan_id}`: names of bounded number for spans and metrics."""
        # For an included router `route` lacks the prefix; the whole path stands in FastAPI's own corner.
        effective = scope.get("fastapi", {}).get("effective_route_context")
        route = getattr(effective, "starlette_route", None) or effective or scope.get("route")
        route = route or self._find_plain_route(scope)
        return getattr(route, "path_format", None) or UNMATCHED

    def _find_plain_route(self, scope: Scope) -> Any:
        """Starlette's own routes leave only their endpoint behind."""
        endpoint = scope.get("endpoint")
        if endpoint is None:
            return None
        routes = self._plain_routes.get(endpoint)
        if routes is None:
            declared = getattr(scope.get("app"), "routes", ())
            routes = [route for route in declared if getattr(route, "endpoint", None) is endpoint]
            self._plain_routes[endpoint] = routes
        return next((route for route in routes if route.path_regex.match(scope["path"])), None)

    def _start(self, scope: Scope, method: str) -> Span:
        parent = _caller(scope)
        path = scope["path"]
        budget = self._traces.get(path)
        if budget is not None and (parent is None or not parent.trace_flags.sampled) and not budget.take():
            return unrecorded(parent)
        return start_span(
            method,
            context=Context() if parent is None else set_span_in_context(NonRecordingSpan(parent), Context()),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": method,
                "url.path": path,
                "url.scheme": scope.get("scheme", "http"),
            },
        )


def _finish(span: Span, method: str, route: str, status: int) -> None:
    if span.is_recording():
        if route != UNMATCHED:
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)
        if status:
            span.set_attribute("http.response.status_code", status)
        if (status >= 500 or not status) and not _is_failed(span):
            span.set_status(StatusCode.ERROR, f"answered {status}" if status else "no answer")
    span.end()


def _is_failed(span: Span) -> bool:
    """Whoever answered the error may have recorded it, which says more than its status."""
    return isinstance(span, ReadableSpan) and span.status.status_code is StatusCode.ERROR


def _caller(scope: Scope) -> SpanContext | None:
    traceparent = tracestate = None
    for name, value in scope["headers"]:
        if name == b"traceparent":
            traceparent = value.decode("latin-1")
        elif name == b"tracestate":
            tracestate = value.decode("latin-1")
    return span_context_from(traceparent, tracestate) if traceparent else None
