"""What a collector receives."""

from __future__ import annotations

import httpx
import pytest

from libs.common.telemetry import TraceRing, current_traceparent, service_scope, setup_tracing, span
from libs.common.telemetry.spans import Attributes
from tests.support.otlp_receiver import OtlpReceiver

SERVICES = ("catalog", "subscriptions", "metering", "billing")


def test_a_collector_sees_four_services_and_one_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        tracing = setup_tracing()
        try:
            stored = None
            for name in SERVICES:
                attributes: Attributes = {"url.full": "https://a:hunter22@example.org/", "lines": 3}
                with service_scope(name), span(f"in {name}", parent=stored, attributes=attributes):
                    stored = current_traceparent()
            assert tracing.flush()
        finally:
            tracing.shutdown()
        spans = receiver.wait_for(lambda spans: len(spans) == 4)

    assert {s.service: s.name for s in spans} == {f"perennial-{name}": f"in {name}" for name in SERVICES}
    assert len({s.trace_id for s in spans}) == 1
    for received in spans:
        assert received.attributes["lines"] == 3
        assert received.attributes["perennial.service"] == received.service.removeprefix("perennial-")
        assert received.attributes["url.full"] == "https://a:[redacted]@example.org/"
        assert received.resource["service.namespace"] == "perennial"
        assert received.resource["deployment.environment.name"] == "test"


def test_what_is_left_is_sent_when_the_process_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{receiver.endpoint}/v1/traces")
        tracing = setup_tracing()
        with pytest.raises(ValueError, match="no"), service_scope("billing"), span("last"):
            raise ValueError("no")
        tracing.shutdown()

        (received,) = receiver.spans
    assert (received.service, received.name, received.failed) == ("perennial-billing", "last", True)


@pytest.mark.parametrize("variable", ["OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED"])
def test_the_standard_switches_hold(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        monkeypatch.setenv(variable, {"OTEL_TRACES_EXPORTER": "none"}.get(variable, "true"))
        tracing = setup_tracing()
        with span("unheard"):
            pass
        tracing.shutdown()

        assert receiver.spans == []


async def test_a_call_to_another_process_is_a_span_and_carries_the_trace(ring: TraceRing) -> None:
    with OtlpReceiver() as peer:
        async with httpx.AsyncClient() as client:
            with span("work") as work:
                answer = await client.get(f"{peer.endpoint}/v1/x?token=abc")
    trace_id = f"{work.get_span_context().trace_id:032x}"

    assert trace_id in answer.request.headers["traceparent"]
    view = ring.find_trace(trace_id)
    assert view is not None
    call = view.spans[1]
    assert (call.name, call.kind) == ("GET", "client")
    assert call.attributes["url.full"] == f"{peer.endpoint}/v1/x?token=[redacted]"
    assert call.attributes["http.response.status_code"] == 501


def test_setting_up_twice_is_once() -> None:
    tracing = setup_tracing()
    try:
        assert setup_tracing() is tracing
    finally:
        tracing.shutdown()
    tracing.shutdown()
    assert setup_tracing() is not tracing
    setup_tracing().shutdown()
