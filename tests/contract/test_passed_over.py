"""A service reads whole topics: what it does not listen to is passed over, whatever it holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.common.contracts import EVENTS, HEARS, SERVICES, Envelope, Event, topic_of
from libs.common.messaging.bus import Delivery
from libs.common.messaging.handlers import HandlerGroup, UnreadableMessage, read
from services.billing.entrypoints.event_handlers import HANDLERS as BILLING
from services.catalog.entrypoints.event_handlers import HANDLERS as CATALOG
from services.metering.entrypoints.event_handlers import handlers as metering_handlers
from services.subscriptions.entrypoints.event_handlers import HANDLERS as SUBSCRIPTIONS

GROUPS: dict[str, HandlerGroup[Any]] = {
    "catalog": CATALOG,
    "subscriptions": SUBSCRIPTIONS,
    "metering": metering_handlers(grace=timedelta(hours=1)),
    "billing": BILLING,
}
HEARD = [
    pytest.param(service, kind, id=f"{service}-{kind.__name__}")
    for service in SERVICES
    for type, kind in EVENTS.items()
    if type.split(".")[1] in HEARS[service]
]


def a_delivery(kind: type[Event], data: bytes) -> Delivery:
    envelope = Envelope(
        id="evt_1",
        type=kind.TYPE,
        source="/perennial/test",
        tenant="00000000-0000-4000-8000-000000000001",
        aggregate_id="agg_1",
        aggregate_version=1,
        occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        test_clock=None,
        traceparent=None,
        data=data,
    )
    headers = envelope.headers(hop_traceparent=None)
    return Delivery(topic_of(kind.TYPE.split(".")[1]), 0, 0, envelope.key, headers, data)


@pytest.mark.parametrize(("service", "kind"), HEARD)
def test_an_event_is_read_by_those_who_listen_to_it_and_by_nobody_else(
    service: str, kind: type[Event]
) -> None:
    group, nonsense = GROUPS[service], a_delivery(kind, b'{"unheard": "of"}')
    if kind in group.handle:
        with pytest.raises(UnreadableMessage):
            read(nonsense, group)
    else:
        assert read(nonsense, group).event is None


@pytest.mark.parametrize("service", SERVICES)
def test_a_group_reads_the_topics_of_all_it_listens_to(service: str) -> None:
    group = GROUPS[service]
    assert {topic_of(kind.TYPE.split(".")[1]) for kind in group.handle} <= set(group.topics)
    assert set(group.topics) == {topic_of(heard) for heard in HEARS[service]}
