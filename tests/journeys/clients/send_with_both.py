"""Run in the environment of the clients: `send_with_both.py BASE_URL TOKEN TYPE` says in JSON what came of it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import requests
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent
from corehttp.exceptions import HttpResponseError
from openmeter import Client
from openmeter.models import Event

SUBJECT, SOURCE = "washer-7", "https://clients.example/washers"
AT = datetime(2025, 1, 10, 10, 30, tzinfo=UTC)


def send_as_openmeter(client: Client, event_type: str) -> dict[str, object]:
    def event(id: str, litres: object) -> Event:
        return Event(
            id=id,
            source=SOURCE,
            specversion="1.0",
            type=event_type,
            subject=SUBJECT,
            time=AT,
            data={"litres": litres},
        )

    client.events.ingest_event(event("one", 1))
    client.events.ingest_events([event("two", 2.5), event("three", "4")])
    client.events.ingest_event(event("one", 1))  # a repeat is none
    try:
        client.events.ingest_events([event("four", 8), event("five", "many")])
    except HttpResponseError as error:
        told = error.model
        return {"status": error.status_code, "title": told.title, "detail": told.detail}
    return {"status": 204}


def send_as_cloudevents(url: str, token: str, event_type: str) -> list[int]:
    def event(id: str, litres: object) -> CloudEvent:
        attributes = {
            "id": id,
            "source": SOURCE,
            "type": event_type,
            "subject": SUBJECT,
            "time": AT.isoformat(),
        }
        return CloudEvent(attributes, {"litres": litres})

    statuses = []
    for headers, body in (to_structured(event("six", 16)), to_binary(event("seven", 32.25))):
        for path in ("/api/v1/events", "/v1/usage-events"):
            answer = requests.post(
                url + path, headers={**headers, "authorization": f"Bearer {token}"}, data=body, timeout=30
            )
            statuses.append(answer.status_code)
    return statuses


if __name__ == "__main__":
    url, token, event_type = sys.argv[1:]
    with Client(endpoint=url, token=token) as client:
        refused = send_as_openmeter(client, event_type)
    print(json.dumps({"refused": refused, "cloudevents": send_as_cloudevents(url, token, event_type)}))
