"""Attributes of spans around messages, by the current OpenTelemetry names.

Span names are `{operation} {destination}`; kinds are PRODUCER for send, CLIENT for poll and commit, CONSUMER
for process. A single message's process span has the stored context as its parent, batches link to theirs.
Source: OpenTelemetry semantic conventions, messaging and Kafka (status Development, hence all in one place).
"""

from __future__ import annotations

from opentelemetry.util.types import AttributeValue

EMBEDDED_SYSTEM = "perennial_bus"
KAFKA_SYSTEM = "kafka"


class _Transport:
    system = EMBEDDED_SYSTEM


def use_messaging_system(system: str) -> None:
    """Say once, when the process is put together, which transport its messages travel on."""
    _Transport.system = system


def _operation(name: str, kind: str, destination: str) -> dict[str, AttributeValue]:
    return {
        "messaging.system": _Transport.system,
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.destination.name": destination,
    }


def send_attributes(
    destination: str, event_type: str | None = None, *, message_count: int | None = None
) -> dict[str, AttributeValue]:
    """Of a span that publishes: one event by its type, or a batch by its count."""
    attributes = _operation("send", "send", destination)
    if event_type is not None:
        attributes["perennial.event.type"] = event_type
    if message_count is not None:
        attributes["messaging.batch.message_count"] = message_count
    return attributes


def poll_attributes(destination: str, group: str, message_count: int) -> dict[str, AttributeValue]:
    """Of a span that takes what waits."""
    attributes = _operation("poll", "receive", destination)
    attributes["messaging.consumer.group.name"] = group
    attributes["messaging.batch.message_count"] = message_count
    return attributes


def process_attributes(
    destination: str, group: str, partition: int, offset: int, event_type: str | None = None
) -> dict[str, AttributeValue]:
    """Of a span that handles one message."""
    attributes = _operation("process", "process", destination)
    attributes["messaging.consumer.group.name"] = group
    attributes["messaging.destination.partition.id"] = str(partition)
    attributes[f"messaging.{_Transport.system}.offset"] = offset
    if event_type is not None:
        attributes["perennial.event.type"] = event_type
    return attributes


def process_batch_attributes(destination: str, group: str, message_count: int) -> dict[str, AttributeValue]:
    """Of a span that handles a whole poll in one transaction, linked to its messages."""
    attributes = _operation("process", "process", destination)
    attributes["messaging.consumer.group.name"] = group
    attributes["messaging.batch.message_count"] = message_count
    return attributes


def settle_attributes(destination: str, group: str, message_count: int) -> dict[str, AttributeValue]:
    """Of a span that acknowledges: offsets committed after the database."""
    attributes = _operation("commit", "settle", destination)
    attributes["messaging.consumer.group.name"] = group
    attributes["messaging.batch.message_count"] = message_count
    return attributes
