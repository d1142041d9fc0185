"""Spans around messages: what was sent, polled and processed, and which trace it belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from opentelemetry.trace import SpanKind

from libs.common.contracts.envelope import Envelope
from libs.common.messaging.bus import Delivery
from libs.common.telemetry import (
    process_attributes,
    process_batch_attributes,
    root_span,
    send_attributes,
    span,
    traceparent_of,
)


@contextmanager
def send_spans(topic: str, envelopes: Sequence[Envelope]) -> Iterator[list[str | None]]:
    """One producer span per event, each in the trace stored with its outbox row; yields their contexts."""
    with ExitStack() as stack:
        hops: list[str | None] = []
        for envelope in envelopes:
            if envelope.traceparent is None:
                hops.append(None)
                continue
            started = stack.enter_context(
                span(
                    f"send {topic}",
                    kind=SpanKind.PRODUCER,
                    parent=envelope.traceparent,
                    attributes=send_attributes(topic, envelope.type),
                    current=False,
                )
            )
            hops.append(traceparent_of(started))
        yield hops


@contextmanager
def process_span(group: str, delivery: Delivery, envelope: Envelope) -> Iterator[None]:
    """The handling of one message: its stored context is the parent, so that one story is one trace."""
    with span(
        f"process {delivery.topic}",
        kind=SpanKind.CONSUMER,
        parent=envelope.traceparent,
        attributes={
            **process_attributes(delivery.topic, group, delivery.partition, delivery.offset),
            "perennial.event.type": envelope.type,
        },
    ):
        yield


@contextmanager
def batch_span(group: str, handled: Sequence[tuple[Delivery, Envelope]]) -> Iterator[None]:
    """What a batch shares, its transaction above all: a trace of its own, linked to those of its messages."""
    topics = sorted({delivery.topic for delivery, _ in handled})
    with root_span(
        f"process batch {group}",
        kind=SpanKind.CONSUMER,
        links=[envelope.traceparent for _, envelope in handled],
        attributes=process_batch_attributes(",".join(topics), group, len(handled)),
    ):
        yield
