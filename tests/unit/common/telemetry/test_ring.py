"""What the ring keeps, and what makes room for what."""

from __future__ import annotations

import gc
import secrets
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import TracerProvider

from libs.common.telemetry import TraceRing, current_traceparent, root_span, service_scope, span
from libs.common.telemetry.export import ServiceStamp
from libs.common.telemetry.ring import MEMORY_MAX_BYTES
from libs.common.telemetry.spans import use_tracer
from libs.common.telemetry.tracing import _limits


@contextmanager
def recording_to(ring: TraceRing) -> Iterator[None]:
    provider = TracerProvider(shutdown_on_exit=False, span_limits=_limits())
    provider.add_span_processor(ServiceStamp())
    provider.add_span_processor(ring)
    use_tracer(provider.get_tracer("test"))
    yield
    use_tracer(None)


def trace_of(name: str, spans: int = 1) -> None:
    with root_span(name, links=()):
        for index in range(spans - 1):
            with span("step", attributes={"index": index}):
                pass


def test_a_noisy_kind_pushes_out_itself_only() -> None:
    ring = TraceRing(traces_max=100)
    with recording_to(ring):
        for _ in range(10):
            trace_of("renew")
        for _ in range(5_000):
            trace_of("tick that found nothing")

    assert ring.names()["renew"] == 10
    assert sum(ring.names().values()) <= 100


def test_kinds_share_evenly_when_each_wants_all() -> None:
    ring = TraceRing(traces_max=300)
    with recording_to(ring):
        for name in ("renew", "ingest", "tick"):
            for _ in range(1_000):
                trace_of(name)

    assert all(90 <= count <= 110 for count in ring.names().values())


def test_of_a_kind_the_oldest_go_first() -> None:
    ring = TraceRing(traces_max=10)
    with recording_to(ring):
        for index in range(30):
            with root_span("renew", links=(), attributes={"index": index}):
                pass
    views = [ring.find_trace(summary.trace_id) for summary in ring.list_traces()]
    kept = [view.spans[0].attributes["index"] for view in views if view is not None]

    assert kept == list(range(29, 29 - len(kept), -1))
    assert len(kept) >= 9


def test_large_traces_are_weighed_by_their_size() -> None:
    ring = TraceRing(memory_max_bytes=400_000)
    with recording_to(ring):
        for _ in range(20):
            trace_of("small")
        for _ in range(50):
            trace_of("large", spans=100)

    assert ring.names()["small"] == 20
    assert ring.memory_bytes <= 400_000


@pytest.mark.parametrize("kind", ["unique texts", "statements", "bare"])
def test_memory_stays_within_its_bound(kind: str) -> None:
    statements = [f"SELECT {index} " + "column, " * 60 for index in range(300)]
    bound = MEMORY_MAX_BYTES // 24  # the same holds for the whole, and takes as many times as long to fill
    ring = TraceRing(memory_max_bytes=bound)
    with recording_to(ring):
        trace_of("warm up")
        ring.clear()
        gc.collect()
        tracemalloc.start()
        try:
            while ring.memory_bytes < bound * 0.95:
                with root_span("work", links=()):
                    for index in range(50):
                        attributes: dict[str, str | int] = {"index": index}
                        if kind == "unique texts":
                            attributes["text"] = secrets.token_hex(200)
                        if kind == "statements":
                            attributes["db.query.text"] = statements[index * 6 % 300]
                        with span("step", attributes=attributes):
                            pass
            gc.collect()
            used = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    assert used < 1.25 * bound
    assert used > 0.6 * ring.memory_bytes, "the estimate wastes room"


def test_one_endless_trace_is_cut_off_and_says_so() -> None:
    ring = TraceRing(spans_per_trace_max=50)
    with recording_to(ring):
        trace_of("endless", spans=200)

    (summary,) = ring.list_traces()
    assert (summary.name, summary.span_count, summary.dropped_count) == ("endless", 200, 150)


def test_a_trace_is_named_by_its_root_not_by_what_came_later(ring: TraceRing) -> None:
    with span("renew"):
        stored = current_traceparent()
    with span("process perennial.subscriptions.v1", parent=stored):
        pass

    assert ring.names() == {"renew": 1}


def test_a_trace_begun_elsewhere_is_named_by_where_it_came_in(ring: TraceRing) -> None:
    elsewhere = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for name in ("process first", "process second"):
        with span(name, parent=elsewhere), span("inner"):
            pass

    assert ring.names() == {"process first": 1}


def test_traces_are_found_by_text_service_and_outcome(ring: TraceRing) -> None:
    with service_scope("billing"), span("collect", attributes={"perennial.attempt": "pay_01ABC"}):
        pass
    with pytest.raises(RuntimeError), service_scope("metering"), span("close"):
        raise RuntimeError("no bucket")

    def names(**wanted: object) -> list[str]:
        return [trace.name for trace in ring.list_traces(**wanted)]  # type: ignore[arg-type]

    assert names() == ["close", "collect"]
    assert names(limit=1) == ["close"]
    assert names(text="PAY_01abc") == ["collect"]
    assert names(text="no bucket") == ["close"]
    assert names(text="nowhere") == []
    assert names(service="billing") == ["collect"]
    assert names(name="close") == ["close"]
    assert names(failed_only=True) == ["close"]
    assert names(text=ring.list_traces()[0].trace_id) == ["close"]
    assert ring.services() == ["billing", "metering"]


def test_secrets_in_free_texts_are_not_kept(ring: TraceRing) -> None:
    with span("call", attributes={"url.full": "https://user:hunter22@example.org/?token=abc"}):
        pass

    (summary,) = ring.list_traces()
    view = ring.find_trace(summary.trace_id)
    assert view is not None
    kept = view.spans[0].attributes["url.full"]
    assert kept == "https://user:[redacted]@example.org/?token=[redacted]"


@pytest.mark.parametrize("trace_id", ["", "x", "ff" * 16, "../etc"])
def test_an_unknown_trace_is_none(trace_id: str, ring: TraceRing) -> None:
    assert ring.find_trace(trace_id) is None
