"""A delivery is read into an event, or refused for a stated reason."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from libs.common.contracts.catalog import TenantChangedV1
from libs.common.contracts.envelope import Envelope
from libs.common.messaging.bus import Delivery
from libs.common.messaging.handlers import HandlerGroup, UnreadableMessage, read
from libs.common.messaging.inbox import ID_LENGTH_MAX, can_be_claimed

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
EVENT = TenantChangedV1(tenant="t", version=3, occurred_at=NOW, name="Cloudhop", mode="live")


async def nothing(event: object, uow: object) -> None:
    """A handler that does nothing."""


LISTENING: HandlerGroup[Any] = HandlerGroup("g", ("topic",), {TenantChangedV1: nothing})
DEAF: HandlerGroup[Any] = HandlerGroup("g", ("topic",), {})


def delivery(value: bytes | None = None, **headers: str) -> Delivery:
    envelope = Envelope(
        id="evt_1",
        type=EVENT.TYPE,
        source="/perennial/catalog",
        tenant="t",
        aggregate_id="t",
        aggregate_version=3,
        occurred_at=NOW,
        test_clock=None,
        traceparent="00-origin",
        data=EVENT.model_dump_json().encode(),
    )
    told = {**envelope.headers(hop_traceparent="00-hop"), **headers}
    return Delivery("topic", 0, 0, envelope.key, told, envelope.data if value is None else value)


def test_an_event_is_read_as_it_was_written() -> None:
    message = read(delivery(), LISTENING)
    assert message.event == EVENT
    assert (message.envelope.id, message.envelope.aggregate_version) == ("evt_1", 3)
    assert message.envelope.occurred_at == NOW


def test_the_hop_is_the_parent_of_what_follows() -> None:
    assert read(delivery(), LISTENING).envelope.traceparent == "00-hop"
    assert read(delivery(traceparent=""), LISTENING).envelope.traceparent == "00-origin"


def test_a_field_that_a_newer_version_added_is_ignored() -> None:
    value = EVENT.model_dump_json().encode()[:-1] + b', "added": 1}'
    assert read(delivery(value), LISTENING).event == EVENT


def test_what_the_group_does_not_listen_to_is_not_even_decoded() -> None:
    assert read(delivery(b"\xff"), DEAF).event is None


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ({"ce_type": "perennial.catalog.tenant.changed.v2"}, None),
        ({"ce_time": "soon"}, None),
        ({"ce_aggregateversion": "x"}, None),
        ({"ce_id": ""}, None),
        ({"ce_id": "x" * (ID_LENGTH_MAX + 1)}, None),
        ({}, b""),
        ({}, b"\xff"),
        ({}, b"null"),
        ({}, b'{"tenant": "t"}'),
    ],
)
def test_what_cannot_be_read_is_refused(headers: dict[str, str], value: bytes | None) -> None:
    with pytest.raises(UnreadableMessage):
        read(delivery(value, **headers), LISTENING)


@pytest.mark.parametrize(
    ("id", "claimable"),
    [
        ("evt_01jz3v6m1qk0c8n4r2d5s7t9wx", True),
        ("https://example.com/é 1", True),
        ("x" * ID_LENGTH_MAX, True),
        ("x" * (ID_LENGTH_MAX + 1), False),
        ("", False),
        ("a\x00b", False),
        ("a\nb", False),
        ("\ud800", False),
    ],
)
def test_which_ids_can_be_claimed(id: str, claimable: bool) -> None:
    assert can_be_claimed(id) is claimable
