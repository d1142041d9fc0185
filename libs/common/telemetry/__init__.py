"""What can be seen of a running system: traces, log lines and metrics, each naming its service."""

from libs.common.telemetry import metrics
from libs.common.telemetry.logs import setup_logging
from libs.common.telemetry.loop_lag import sample_loop_lag
from libs.common.telemetry.messages import (
    EMBEDDED_SYSTEM,
    KAFKA_SYSTEM,
    poll_attributes,
    process_attributes,
    process_batch_attributes,
    send_attributes,
    settle_attributes,
    use_messaging_system,
)
from libs.common.telemetry.metrics import metrics_app
from libs.common.telemetry.requests import RequestTelemetry, instrument_app
from libs.common.telemetry.ring import TraceRing
from libs.common.telemetry.service import current_service, service_scope, within_service
from libs.common.telemetry.spans import (
    TraceBudget,
    context_from,
    current_trace_id,
    current_traceparent,
    record_failure,
    recorded_traceparent,
    root_span,
    span,
    span_context_from,
    traceparent_of,
)
from libs.common.telemetry.tracing import Tracing, setup_tracing

__all__ = [
    "EMBEDDED_SYSTEM",
    "KAFKA_SYSTEM",
    "RequestTelemetry",
    "TraceBudget",
    "TraceRing",
    "Tracing",
    "context_from",
    "current_service",
    "current_trace_id",
    "current_traceparent",
    "instrument_app",
    "metrics",
    "metrics_app",
    "poll_attributes",
    "process_attributes",
    "process_batch_attributes",
    "record_failure",
    "recorded_traceparent",
    "root_span",
    "sample_loop_lag",
    "send_attributes",
    "service_scope",
    "settle_attributes",
    "setup_logging",
    "setup_tracing",
    "span",
    "span_context_from",
    "traceparent_of",
    "use_messaging_system",
    "within_service",
]
