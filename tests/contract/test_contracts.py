"""What others were promised has not changed unseen: stored documents equal what the code says now."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deploy.contracts import FOLDER, text_of
from libs.common.contracts import EVENTS, HEARS, SERVICES, Envelope, topic_of
from libs.common.contracts.asyncapi import events_of
from tests.contract.documents import documents

NAMES = [f"{kind}-{service}.json" for kind in ("asyncapi", "openapi") for service in sorted(SERVICES)]


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_document_is_what_the_code_says(name: str) -> None:
    stored = (FOLDER / name).read_text(encoding="utf-8") if (FOLDER / name).exists() else ""
    assert stored == text_of(documents()[name]), (
        f"docs/contracts/{name} differs: run `make contracts`, look at the diff"
    )


def test_every_document_is_looked_at() -> None:
    assert sorted(documents()) == NAMES


def test_every_event_belongs_to_one_service() -> None:
    assert sorted(e.TYPE for service in SERVICES for e in events_of(service)) == sorted(EVENTS)


def test_every_type_ends_in_its_version() -> None:
    for type, event in EVENTS.items():
        assert type.rsplit(".", 1)[1] == f"v{event.__name__.rsplit('V', 1)[1]}"


def test_the_path_segments_of_services_do_not_overlap() -> None:
    segments = {
        service: {
            path.split("/")[2]
            for path in documents()[f"openapi-{service}.json"]["paths"]
            if path.startswith("/v1/")
        }
        for service in SERVICES
    }
    everything = [segment for owned in segments.values() for segment in owned]
    assert len(everything) == len(set(everything)), segments


def test_all_services_hear_of_tenants_tokens_and_clocks() -> None:
    for service in SERVICES:
        assert {"catalog", "subscriptions"} <= set(HEARS[service]), service
        assert topic_of(service) == f"perennial.{service}.v1"


def test_an_envelope_survives_its_headers() -> None:
    envelope = Envelope(
        id="evt_1",
        type="perennial.catalog.tenant.changed.v1",
        source="/perennial/catalog",
        tenant="00000000-0000-4000-8000-000000000001",
        aggregate_id="ten_1",
        aggregate_version=3,
        occurred_at=datetime(2025, 6, 1, 12, 30, 0, 250, tzinfo=UTC),
        test_clock="clk_1",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        data=b"{}",
    )
    assert Envelope.from_headers(envelope.headers(hop_traceparent=None), envelope.data) == envelope
