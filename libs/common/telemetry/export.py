"""Spans on their way out: each under the service that made it, however many share the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.util.types import AttributeValue

from libs.common.telemetry.redaction import redact
from libs.common.telemetry.service import current_service

SERVICE_ATTRIBUTE = "perennial.service"

# Attributes that instrumentations fill with text that came from outside.
FREE_TEXT = frozenset(
    {"url.full", "url.query", "url.path", "db.query.text", "exception.message", "exception.stacktrace"}
)


def attributes_of(span: ReadableSpan | Event) -> dict[str, AttributeValue]:
    """A copy. The SDK's view forwards `copy()` to its dict, ten times faster than walking the view."""
    attributes = cast("dict[str, AttributeValue] | None", span.attributes)
    return attributes.copy() if attributes else {}


class ServiceStamp(SpanProcessor):
    """Writes the name of the service at work on every span that starts, whoever starts it."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        span.set_attribute(SERVICE_ATTRIBUTE, current_service.get())


class ByServiceExporter(SpanExporter):
    """Hands spans on under the resource of their service, since one process has only one resource of its own.

    Secrets are taken out on the way. Runs on the exporter's thread, not where spans are made.
    """

    def __init__(self, exporter: SpanExporter, resource: Resource) -> None:
        self._exporter = exporter
        self._resource = resource
        self._resources: dict[str, Resource] = {}

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([self._readable(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _readable(self, span: ReadableSpan) -> ReadableSpan:
        attributes = attributes_of(span)
        service = str(attributes.get(SERVICE_ATTRIBUTE) or "")
        return ReadableSpan(
            name=span.name,
            context=span.context,
            parent=span.parent,
            resource=self._resource_of(service),
            attributes=_without_secrets(attributes),
            events=[
                Event(event.name, _without_secrets(attributes_of(event)), event.timestamp)
                for event in span.events
            ],
            links=span.links,
            kind=span.kind,
            status=span.status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _resource_of(self, service: str) -> Resource:
        resource = self._resources.get(service)
        if resource is None:
            name = f"perennial-{service}" if service else "perennial"
            resource = self._resource.merge(Resource({SERVICE_NAME: name}))
            self._resources[service] = resource
        return resource


def _without_secrets(attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
    return {
        key: redact(value) if key in FREE_TEXT and isinstance(value, str) else value
        for key, value in attributes.items()
    }
