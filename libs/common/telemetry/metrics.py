"""Numbers for Prometheus, each labelled with its service; `metrics_app` shows them as text.

Each function is one thing worth knowing, named as the business would. Labels come from sets of bounded size:
route templates, event types, job names, outcomes; never ids, tenants or customers. None is called `job` or
`instance`: Prometheus writes those itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

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
_http_in_flight = Gauge(
    "perennial_http_requests_in_flight",
    "HTTP requests that are being answered.",
    ("service",),
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
_batch_seconds = Histogram(
    "perennial_consumer_batch_duration_seconds",
    "Time from the first message of a batch to its commit, of batches that were committed.",
    ("service", "group"),
    buckets=(*_DURATION_BUCKETS_S, 30.0, 60.0),
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
_outbox_refused = Gauge(
    "perennial_outbox_refused_events",
    "Events saved that the bus does not take, such as one too large; tried again every minute.",
    ("service",),
    registry=REGISTRY,
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
_usage_waiting_max = Gauge(
    "perennial_usage_events_waiting_max",
    "Usage events that may wait before senders are told to slow down.",
    ("service",),
    registry=REGISTRY,
)
_windows_overdue = Gauge(
    "perennial_usage_windows_overdue", "Usage windows due and not closed.", ("service",), registry=REGISTRY
)
_invoices_overdue = Gauge(
    "perennial_invoices_overdue",
    "Draft invoices that were due a minute ago or more and are not finalized.",
    ("service",),
    registry=REGISTRY,
)
_due_rows_overdue = Gauge(
    "perennial_due_rows_overdue",
    "Rows that were due a minute ago or more and are not done, those of test clocks left out.",
    ("service", "table"),
    registry=REGISTRY,
)
_due_rows_failing = Gauge(
    "perennial_due_rows_failing",
    "Due rows set aside after an error, until their next try.",
    ("service", "table"),
    registry=REGISTRY,
)
_due_row_failures = Counter(
    "perennial_due_row_failures", "Times a due row failed alone.", ("service", "task"), registry=REGISTRY
)
_payments = Counter(
    "perennial_payments",
    "Payment attempts by outcome: succeeded, declined, processing, unknown.",
    ("service", "outcome"),
    registry=REGISTRY,
)
_gateway_events = Counter(
    "perennial_gateway_events",
    "Events that payment gateways sent: kept, repeated, passed_over, refused.",
    ("service", "outcome"),
    registry=REGISTRY,
)
_watched_at = Gauge(
    "perennial_watch_last_look_timestamp_seconds",
    "When a worker last saw database and bus, and set its gauges of lag and of overdue rows.",
    ("service",),
    registry=REGISTRY,
)
_tidied_at = Gauge(
    "perennial_housekeeping_last_run_timestamp_seconds",
    "When a worker last deleted what is over.",
    ("service",),
    registry=REGISTRY,
)
_ready = Gauge(
    "perennial_ready",
    "1 when the last answer of /health/ready was good, 0 when it was not; absent before it is first asked.",
    ("service",),
    registry=REGISTRY,
)
_audit_findings = Gauge(
    "perennial_audit_findings",
    "Problems that the service's last audit found.",
    ("service",),
    registry=REGISTRY,
)
_audited_at = Gauge(
    "perennial_audit_last_run_timestamp_seconds",
    "When the service was last audited.",
    ("service",),
    registry=REGISTRY,
)
_connections_in_use = Gauge(
    "perennial_database_connections_in_use",
    "Connections to the database that are at work.",
    ("service", "login"),
    registry=REGISTRY,
)
_connections_max = Gauge(
    "perennial_database_connections_max",
    "Connections to the database that may be at work at once.",
    ("service", "login"),
    registry=REGISTRY,
)
_loop_lag = Histogram(
    "perennial_event_loop_lag_seconds",
    "How late the process's loop wakes up, sampled four times a second.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    registry=REGISTRY,
)

# `labels()` takes a lock and makes strings; on the path of every request the children are remembered.
_requests_by_labels: dict[tuple[str, str, str, int], tuple[Counter, Histogram]] = {}


def http_request(service: str, route: str, method: str, status: int, elapsed_s: float) -> None:
    """One answered request; status 0 when no answer was given."""
    http_requests(service, route, method, status, (elapsed_s,))


def http_requests(service: str, route: str, method: str, status: int, elapsed_s: Sequence[float]) -> None:
    """Several that came to the same, and how long each took."""
    key = (service, route, method, status)
    children = _requests_by_labels.get(key)
    if children is None:
        children = (
            _http_requests.labels(service, route, method, str(status or "none")),
            _http_seconds.labels(service, route, method),
        )
        _requests_by_labels[key] = children
    children[0].inc(len(elapsed_s))
    for seconds in elapsed_s:
        children[1].observe(seconds)


def in_flight(service: str) -> Gauge:
    """The gauge of requests that are being answered, for whoever counts them up and down."""
    return _http_in_flight.labels(service)


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


@contextmanager
def consumer_batch(service: str, group: str) -> Iterator[None]:
    """How long a batch took, if it comes to its end."""
    began = time.perf_counter()
    yield
    _batch_seconds.labels(service, group).observe(time.perf_counter() - began)


def consumer_lag(service: str, group: str, topic: str, messages: int) -> None:
    """How far a group is behind the end of a topic."""
    _consumer_lag.labels(service, group, topic).set(messages)


def outbox(service: str, *, waiting: int, age_s: float | None, refused: int = 0) -> None:
    """What the relay has still to publish; `age_s` None when nothing waits. Refused events do not count as waiting."""
    _outbox_refused.labels(service).set(refused)
    _outbox_backlog.labels(service).set(waiting)
    _outbox_age.labels(service).set(float(age_s or 0))


def outbox_is_elsewhere(service: str) -> None:
    """Another process publishes for the service: what this one knew of the outbox is old."""
    for gauge in (_outbox_backlog, _outbox_age, _outbox_refused):
        gauge.remove_by_labels({"service": service})


def dead_letters(service: str, count: int, *, group: str = "") -> None:
    """Messages given up by a group."""
    _dead_letters.labels(service, group).set(count)


def usage_events(service: str, result: str, count: int = 1) -> None:
    """Usage events received, by result."""
    _usage_events.labels(service, result).inc(count)


def usage_waiting(service: str) -> Gauge:
    """The gauge of usage events that wait for a writer, or for its commit, for whoever sets it."""
    return _usage_waiting.labels(service)


def usage_waiting_max(service: str, count: int) -> None:
    """How many usage events may wait; none does yet."""
    _usage_waiting_max.labels(service).set(count)
    _usage_waiting.labels(service).set(0)


def windows_overdue(service: str, count: int) -> None:
    _windows_overdue.labels(service).set(count)


def invoices_overdue(service: str, count: int) -> None:
    _invoices_overdue.labels(service).set(count)


def due_rows_overdue(service: str, table: str, count: int) -> None:
    """Due rows of a table that should have been done by now."""
    _due_rows_overdue.labels(service, table).set(count)


def due_rows_failing(service: str, table: str, count: int) -> None:
    """Due rows that are set aside at this moment."""
    _due_rows_failing.labels(service, table).set(count)


def due_row_failed(service: str, task: str) -> None:
    """A due row failed alone, and was set aside."""
    _due_row_failures.labels(service, task).inc()


def payment(service: str, outcome: str) -> None:
    """A payment attempt came to an outcome."""
    _payments.labels(service, outcome).inc()


def gateway_event(service: str, outcome: str) -> None:
    """A payment gateway, or somebody who says so, told us something."""
    _gateway_events.labels(service, outcome).inc()


def watched(service: str) -> None:
    """Database and bus were there just now, and the gauges of the watch are fresh."""
    _watched_at.labels(service).set_to_current_time()


def tidied(service: str) -> None:
    """What is over was deleted just now."""
    _tidied_at.labels(service).set_to_current_time()


def ready(service: str, is_ready: bool) -> None:
    """What /health/ready answered."""
    _ready.labels(service).set(is_ready)


def audited(service: str, findings: int) -> None:
    """An audit of the service ended just now."""
    _audit_findings.labels(service).set(findings)
    _audited_at.labels(service).set_to_current_time()


def database_connections(service: str, login: str, *, in_use: Callable[[], float], count_max: int) -> None:
    """A pool of connections; `in_use` is asked whenever the metrics are shown."""
    _connections_in_use.labels(service, login).set_function(in_use)
    _connections_max.labels(service, login).set(count_max)


def loop_lag(late_s: float) -> None:
    """How late the loop woke up."""
    _loop_lag.observe(late_s)


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
