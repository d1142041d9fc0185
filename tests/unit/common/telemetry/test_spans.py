"""Spans, and the contexts that are stored and taken up again."""

from __future__ import annotations

from typing import ClassVar

import pytest
from opentelemetry.trace import SpanKind, get_current_span

from libs.common.errors import RuleViolation
from libs.common.telemetry import (
    TraceRing,
    context_from,
    current_trace_id,
    current_traceparent,
    process_attributes,
    record_failure,
    root_span,
    send_attributes,
    span,
    traceparent_of,
    use_messaging_system,
)
from libs.common.telemetry.messages import EMBEDDED_SYSTEM, KAFKA_SYSTEM
from libs.common.telemetry.ring import TraceView

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def only_trace(ring: TraceRing) -> TraceView:
    (summary,) = ring.list_traces()
    view = ring.find_trace(summary.trace_id)
    assert view is not None
    return view


@pytest.mark.parametrize(
    ("traceparent", "flags"),
    [
        (f"00-{TRACE}-{SPAN}-00", 0),
        (f"00-{TRACE}-{SPAN}-01", 1),
        (f"00-{TRACE}-{SPAN}-03", 3),
        (f"00-{TRACE}-{SPAN}-ff", 3),
        (f"01-{TRACE}-{SPAN}-01-what-comes-later", 1),
    ],
)
def test_a_stored_context_is_read(traceparent: str, flags: int) -> None:
    context = get_current_span(context_from(traceparent, "vendor=1")).get_span_context()

    assert (f"{context.trace_id:032x}", f"{context.span_id:016x}") == (TRACE, SPAN)
    assert context.trace_flags == flags
    assert context.is_remote
    assert context.trace_state.get("vendor") == "1"


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
    ],
)
def test_what_is_no_context_starts_a_new_trace(traceparent: str | None, ring: TraceRing) -> None:
    assert not get_current_span(context_from(traceparent)).get_span_context().is_valid

    with span("process topic", parent=traceparent):
        assert current_trace_id() not in {None, TRACE}


def test_without_tracing_nothing_is_current() -> None:
    with span("anything"):
        assert current_traceparent() is None
        assert current_trace_id() is None


def test_a_stored_context_becomes_the_parent(ring: TraceRing) -> None:
    with span("publish") as first:
        stored = current_traceparent()
    with span("process", parent=stored, kind=SpanKind.CONSUMER):
        assert current_trace_id() == f"{first.get_span_context().trace_id:032x}"

    view = only_trace(ring)
    assert [s.name for s in view.spans] == ["publish", "process"]
    assert view.spans[1].parent_id == view.spans[0].span_id
    assert view.spans[1].kind == "consumer"


def test_a_context_with_random_bit_is_recorded(ring: TraceRing) -> None:
    with span("process", parent=f"00-{TRACE}-{SPAN}-03"):
        pass

    assert only_trace(ring).summary.trace_id == TRACE


def test_a_span_that_is_not_current_has_no_children(ring: TraceRing) -> None:
    with span("send", current=False) as send:
        assert current_traceparent() is None
        assert traceparent_of(send) is not None


def test_each_renewal_is_its_own_trace_and_leads_back_to_its_tick(ring: TraceRing) -> None:
    with span("tick"):
        tick = current_trace_id()
        for _ in range(2):
            with root_span("renew"):
                assert current_trace_id() != tick
        assert current_trace_id() == tick

    assert ring.names() == {"renew": 2, "tick": 1}
    assert tick is not None
    view = ring.find_trace(tick)
    assert view is not None
    assert [summary.name for summary in view.linked_from] == ["renew", "renew"]


def test_a_batch_links_to_each_of_its_messages_once(ring: TraceRing) -> None:
    messages = [f"00-{n:032x}-{n:016x}-01" for n in range(1, 501)]

    with span("process batch", links=[*messages, None, "broken", messages[0]]):
        pass

    assert len(only_trace(ring).spans[0].links) == 500


def test_an_error_marks_the_span_and_goes_on(ring: TraceRing) -> None:
    with pytest.raises(ValueError, match="no"), span("work"):
        raise ValueError("no, said Bearer abcdefghijklmnop")

    (failed,) = only_trace(ring).spans
    assert failed.failed
    assert failed.status_text == "ValueError: no, said Bearer [redacted]"
    assert failed.attributes["error.type"] == "ValueError"
    (event,) = failed.events
    assert event.attributes["exception.message"] == "no, said Bearer [redacted]"
    assert "abcdefghijklmnop" not in event.attributes["exception.stacktrace"]
    assert "test_spans.py" in event.attributes["exception.stacktrace"]


def test_a_refusal_is_known_by_its_code(ring: TraceRing) -> None:
    class TooEarly(RuleViolation):
        code: ClassVar[str] = "too_early"

    with span("work"):
        record_failure(TooEarly("not yet"))

    assert only_trace(ring).spans[0].attributes["error.type"] == "too_early"


def test_messaging_attributes_have_current_names() -> None:
    assert send_attributes("perennial.billing.v1", "perennial.billing.invoice.paid.v1") == {
        "messaging.system": EMBEDDED_SYSTEM,
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "perennial.billing.v1",
        "perennial.event.type": "perennial.billing.invoice.paid.v1",
    }
    use_messaging_system(KAFKA_SYSTEM)
    try:
        assert process_attributes("perennial.billing.v1", "subscriptions", 3, 17) == {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": "perennial.billing.v1",
            "messaging.destination.partition.id": "3",
            "messaging.consumer.group.name": "subscriptions",
            "messaging.kafka.offset": 17,
        }
    finally:
        use_messaging_system(EMBEDDED_SYSTEM)
