"""Tracing as a whole: the provider, where its spans go, and which libraries are observed."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from libs.common.telemetry.export import ByServiceExporter, ServiceStamp
from libs.common.telemetry.ring import MEMORY_MAX_BYTES, TraceRing
from libs.common.telemetry.spans import use_tracer
from libs.common.telemetry.sql import observe_sql, stop_observing_sql

log = logging.getLogger(__name__)

# Current names; instrumentations still default to those of 2023, and can be told so by this variable only.
SEMANTIC_NAMES = "http,database,messaging"

ATTRIBUTE_LENGTH_MAX = 1_000
EVENT_ATTRIBUTE_LENGTH_MAX = 4_000
ATTRIBUTES_MAX = 64
EVENTS_MAX = 32
LINKS_MAX = 512  # a batch span links to each of its messages, and a batch has up to 500
EXPORT_QUEUE_MAX = 16_384


class Tracing:
    """What `setup_tracing` made. `ring` holds the latest traces; `shutdown` sends the rest and undoes all."""

    def __init__(self, provider: TracerProvider, ring: TraceRing) -> None:
        self.provider = provider
        self.ring = ring

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until the spans so far are exported; False when that took too long."""
        return self.provider.force_flush(int(timeout_s * 1000))

    def shutdown(self) -> None:
        """Blocks while the last spans are sent: call it on a thread where a loop runs."""
        if _Current.tracing is not self:
            return
        _Current.tracing = None
        use_tracer(None)
        stop_observing_sql()
        HTTPXClientInstrumentor().uninstrument()
        self.provider.shutdown()


class _Current:
    tracing: Tracing | None = None


def setup_tracing(
    *,
    ring_memory_max_bytes: int = MEMORY_MAX_BYTES,
    record_sql: bool = True,
    exporters: Sequence[SpanExporter] = (),
    instance: str = "",
) -> Tracing:
    """Record spans from now on; a second call returns what the first one made. `instance` names this process.

    Spans go to the ring, to `exporters`, and over OTLP/HTTP when OTEL_EXPORTER_OTLP_ENDPOINT or
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set. All standard OTEL_* variables hold, among them
    OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_EXPORTER=none and OTEL_SDK_DISABLED: they are
    the one kind of setting that is not read in a bootstrap, since the SDK reads them itself.
    """
    if _Current.tracing is not None:
        return _Current.tracing
    os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", SEMANTIC_NAMES)
    # Every exporter gets its own resource per service, so this one names none.
    named = {"service.instance.id": instance} if instance else {}
    resource = Resource.create({"service.namespace": "perennial", "service.version": _version(), **named})
    provider = TracerProvider(resource=resource, span_limits=_limits())
    provider.add_span_processor(ServiceStamp())
    ring = TraceRing(memory_max_bytes=ring_memory_max_bytes)
    provider.add_span_processor(ring)
    for exporter in (*exporters, *_exporters_asked_for()):
        provider.add_span_processor(
            BatchSpanProcessor(
                ByServiceExporter(exporter, resource),
                max_queue_size=None if "OTEL_BSP_MAX_QUEUE_SIZE" in os.environ else EXPORT_QUEUE_MAX,
            )
        )
    tracer = provider.get_tracer("perennial", _version())
    use_tracer(tracer)
    if record_sql:
        observe_sql(tracer)
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(provider)  # can be done once in a process; for code that is not ours
    _Current.tracing = Tracing(provider, ring)
    return _Current.tracing


def _exporters_asked_for() -> list[SpanExporter]:
    asked = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or os.environ.get(
        "OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    if not asked or os.environ.get("OTEL_TRACES_EXPORTER", "otlp").strip() == "none":
        return []
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    if protocol != "http/protobuf":
        log.warning("traces are sent as http/protobuf only", extra={"asked_for": protocol})
    return [OTLPSpanExporter()]


def _limits() -> SpanLimits:
    """Ours where the operator has set none: a bulk statement or a long list must not fill the ring."""

    def unless_set(variable: str, value: int) -> int | None:
        return None if variable in os.environ else value

    return SpanLimits(
        max_span_attributes=unless_set("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", ATTRIBUTES_MAX),
        max_events=unless_set("OTEL_SPAN_EVENT_COUNT_LIMIT", EVENTS_MAX),
        max_links=unless_set("OTEL_SPAN_LINK_COUNT_LIMIT", LINKS_MAX),
        max_span_attribute_length=unless_set("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", ATTRIBUTE_LENGTH_MAX),
        max_attribute_length=unless_set("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", EVENT_ATTRIBUTE_LENGTH_MAX),
    )


def _version() -> str:
    try:
        return version("perennial")
    except PackageNotFoundError:
        return "0"  # run from a checkout that was never installed
