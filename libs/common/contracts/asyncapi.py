"""AsyncAPI 3 documents, one per service, generated from the contracts: what is published and what is heard."""

from __future__ import annotations

from typing import Any

from libs.common.contracts import EVENTS, HEARS, Event, group_of, topic_of

ASYNCAPI_VERSION = "3.0.0"

_HEADERS: dict[str, Any] = {
    "type": "object",
    "required": ["content-type", "ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time"],
    "properties": {
        "content-type": {"const": "application/json"},
        "ce_specversion": {"const": "1.0"},
        "ce_id": {
            "type": "string",
            "description": "With ce_source unique: what readers recognise a repeat by.",
        },
        "ce_type": {"type": "string"},
        "ce_source": {"type": "string"},
        "ce_subject": {"type": "string", "description": "The aggregate's id."},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_tenant": {"type": "string", "format": "uuid"},
        "ce_aggregateversion": {"type": "string"},
        "ce_partitionkey": {"type": "string"},
        "ce_testclock": {"type": "string"},
        "ce_traceparent": {"type": "string", "description": "Where the story began."},
        "traceparent": {"type": "string", "description": "This hop: the producer's span."},
    },
}


def service_of(event: type[Event]) -> str:
    """`perennial.<service>.…` names the service that publishes it."""
    return event.TYPE.split(".")[1]


def events_of(service: str) -> list[type[Event]]:
    return sorted((e for e in EVENTS.values() if service_of(e) == service), key=lambda e: e.TYPE)


def document_of(service: str) -> dict[str, Any]:
    """The document of one service. Schemas of nested snapshots stand in `components`."""
    schemas: dict[str, Any] = {}
    topics = (service, *(heard for heard in HEARS[service] if heard != service))
    channels = {heard: _channel(heard, schemas) for heard in topics}
    operations: dict[str, Any] = {
        "publish": {"action": "send", "channel": {"$ref": f"#/channels/{service}"}},
    }
    for heard in HEARS[service]:
        operations[f"hear-{heard}"] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{heard}"},
            "bindings": {"kafka": {"groupId": {"const": group_of(service)}, "bindingVersion": "0.5.0"}},
        }
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": f"Perennial {service}",
            "version": "1",
            "description": "CloudEvents 1.0 in binary mode, JSON data. Adding an optional field keeps the version.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def _channel(service: str, schemas: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": topic_of(service),
        "messages": {event.__name__: _message(event, schemas) for event in events_of(service)},
    }


def _message(event: type[Event], schemas: dict[str, Any]) -> dict[str, Any]:
    schema = event.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas[event.__name__] = schema
    return {
        "name": event.TYPE,
        "summary": (event.__doc__ or "").strip().splitlines()[0] if event.__doc__ else event.__name__,
        "contentType": "application/json",
        "headers": _HEADERS,
        "payload": {"$ref": f"#/components/schemas/{event.__name__}"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": "tenant/aggregate id"},
                "bindingVersion": "0.5.0",
            }
        },
    }
