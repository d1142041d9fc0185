"""Numbers for Prometheus, each labelled with its service; `metrics_app` shows them as text.

Each function is one thing worth knowing, named as the business would. Labels come from sets of bounded size:
route templates, event types, job names, outcomes; never ids, tenants or customers.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder

from libs.common.telemetry.service import Receive, Scope, Send

# One of our own: the library's global one can be filled by anybody.
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

_DURATION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_http_requests = Counter(
    "perennial_http_requests",
    "HTTP requests answered.",
    ("service", "route", "method", "status"),
    registry=REGISTRY,
)
_http_seconds = Histogram(
    "perennial_http_request_duration_seconds",
    "Time from the request to the end of its answer.",
    ("service", "route", "method"),
    buckets=_DURATION_BUCKETS_S,
    registry=REGISTRY,
)
_published = Counter(
    "perennial_events_published", "Events the relay put on the bus.", ("service", "type"), registry=REGISTRY
)
_consumed = Counter(
    "perennial_events_consumed", "Events handled and committed.", ("service", "type"), registry=REGISTRY
)
_failed = Counter(
    "perennial_events_failed",
    "Tries at which an event failed by itself.",
    ("service", "type"),
    registry=REGISTRY,
)
_consumer_lag = Gauge(
    "perennial_consumer_lag_messages",
    "Messages published and not yet handled by the group.",
    ("service", "group", "topic"),
    registry=REGISTRY,
)
_outbox_age = Gauge(
    "perennial_outbox_age_seconds", "Age of the oldest unpublished event.", ("service",), registry=REGISTRY
)
_outbox_backlog = Gauge(
    "perennial_outbox_backlog_events", "Events saved and not yet published.", ("service",), registry=REGISTRY
)
_dead_letters = Gauge(
    "perennial_dead_letters",
    "Messages given up, waiting for an operator.",
    ("service", "group"),
    registry=REGISTRY,
)
_usage_events = Counter(
    "perennial_usage_events",
    "Usage events received, by what became of them: stored, duplicate, conflict, rejected, accepted.",
    ("service", "result"),
    registry=REGISTRY,
)
_usage_waiting = Gauge(
    "perennial_usage_events_waiting",
    "Usage events received and not stored yet.",
    ("service",),
    registry=REGISTRY,
)
_windows_overdue = Gauge(
    "perennial_usage_windows_overdue", "Usage windows due and not closed.", ("service",), registry=REGISTRY
)
_invoices_overdue = Gauge(
    "perennial_invoices_overdue",
    "Billing periods whose invoice should exist and does not, or is not finalized.",
    ("service",),
    registry=REGISTRY,
)
_due_rows_failing = Gauge(
    "perennial_due_rows_failing",
    "Due rows set aside after an error, until their next try.",
    ("service", "job"),
    registry=REGISTRY,
)
_due_row_failures = Counter(
    "perennial_due_row_failures", "Times a due row failed alone.", ("service", "job"), registry=REGISTRY
)
_payments = Counter(
    "perennial_payments",
    "Payment attempts by outcome: succeeded, declined, unknown, failed.",
    ("service", "outcome"),
    registry=REGISTRY,
)

# `labels()` takes a lock and makes strings; on the path of every request the children are remembered.
_requests_by_labels: dict[tuple[str, str, str, int], tuple[Counter, Histogram]] = {}


def http_request(service: str, route: str, method: str, status: int, elapsed_s: float) -> None:
    """One answered request; status 0 when no answer was given."""
    key = (service, route, method, status)
    children = _requests_by_labels.get(key)
    if children is None:
        children = (
            _http_requests.labels(service, route, method, str(status or "none")),
            _http_seconds.labels(service, route, method),
        )
        _requests_by_labels[key] = children
    children[0].inc()
    children[1].observe(elapsed_s)


def _count(counter: Counter, service: str, kinds: Iterable[str]) -> None:
    for kind, count in Tally(kinds).items():
        counter.labels(service, kind).inc(count)


def published(service: str, types: Iterable[str]) -> None:
    """Events put on the bus, by type."""
    _count(_published, service, types)


def consumed(service: str, types: Iterable[str]) -> None:
    """Events handled, by type."""
    _count(_consumed, service, types)


def failed(service: str, event_type: str) -> None:
    """An event failed by itself, once more."""
    _failed.labels(service, event_type).inc()


def consumer_lag(service: str, group: str, topic: str, messages: int) -> None:
    """How far a group is behind the end of a topic."""
    _consumer_lag.labels(service, group, topic).set(messages)


def outbox(service: str, *, waiting: int, age_s: float | None) -> None:
    """What the relay has still to publish; `age_s` None when nothing waits."""
    _outbox_backlog.labels(service).set(waiting)
    _outbox_age.labels(service).set(float(age_s or 0))


def dead_letters(service: str, count: int, *, group: str = "") -> None:
    """Messages given up by a group."""
    _dead_letters.labels(service, group).set(count)


def usage_events(service: str, result: str, count: int = 1) -> None:
    """Usage events received, by result."""
    _usage_events.labels(service, result).inc(count)


def usage_waiting(service: str, count: int) -> None:
    """Usage events that wait for a writer, or for its commit."""
    _usage_waiting.labels(service).set(count)


def windows_overdue(service: str, count: int) -> None:
    _windows_overdue.labels(service).set(count)


def invoices_overdue(service: str, count: int) -> None:
    _invoices_overdue.labels(service).set(count)


def due_rows_failing(service: str, job: str, count: int) -> None:
    """Due rows that are set aside at this moment."""
    _due_rows_failing.labels(service, job).set(count)


def due_row_failed(service: str, job: str) -> None:
    """A due row failed alone, and was set aside."""
    _due_row_failures.labels(service, job).inc()


def payment(service: str, outcome: str) -> None:
    """A payment attempt came to an outcome."""
    _payments.labels(service, outcome).inc()


class MetricsApp:
    """ASGI: the metrics as text. They show no tenant's business, only totals.

    An object, so that `Route("/metrics", metrics_app)` serves it as it is: a Mount would answer only /metrics/.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
        encode, content_type = choose_encoder(accept.decode("latin-1"))
        shown = scope["method"] in {"GET", "HEAD"}
        body = await asyncio.to_thread(encode, REGISTRY) if shown else b""  # reads /proc, and may be long
        headers = [(b"content-type", content_type.encode()), (b"cache-control", b"no-store")]
        if not shown:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": 200 if shown else 405, "headers": headers})
        await send({"type": "http.response.body", "body": body if scope["method"] == "GET" else b""})


metrics_app = MetricsApp()
