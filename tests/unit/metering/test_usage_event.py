"""What makes two deliveries one event, and when an event is too early or too late."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.metering.domain.usage_event import AcceptWindow, UsageEvent, event_key, month_of

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)


def an_event(**changes: Any) -> UsageEvent:
    given: dict[str, Any] = {
        "tenant": "t",
        "source": "s",
        "event_id": "1",
        "type": "a",
        "subject": "b",
        "time": NOW,
        "arrived_at": NOW,
        "data": {"x": 1},
        "data_json": b'{"x":1}',
    }
    return UsageEvent(**{**given, **changes})


def test_identity_is_tenant_source_and_id_and_nothing_else() -> None:
    same = an_event(type="z", subject="z", time=None, data=None, data_json=None)
    assert same.key == an_event().key
    keys = {event_key(t, s, i) for t in ("a", "b") for s in ("a", "b") for i in ("a", "b")}
    assert len(keys) == 8
    assert event_key("t", "ab", "c") != event_key("t", "a", "bc")


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "z"},
        {"subject": "z"},
        {"time": NOW + timedelta(microseconds=1)},
        {"time": None},
        {"data_json": b'{"x":2}'},
        {"data_json": None},
        {"type": "ab", "subject": ""},
    ],
)
def test_another_payload_has_another_digest(changes: dict[str, Any]) -> None:
    assert an_event(**changes).digest != an_event().digest


def test_an_event_without_a_time_has_one_digest_whenever_it_arrives() -> None:
    first = an_event(time=None)
    again = an_event(time=None, arrived_at=NOW + timedelta(days=1))
    assert (first.digest, first.occurred_at) == (again.digest, NOW)


def test_the_payload_is_told_as_a_cloudevent() -> None:
    assert json.loads(an_event().payload()) == {
        "id": "1",
        "source": "s",
        "type": "a",
        "subject": "b",
        "time": "2025-06-01T12:00:00Z",
        "data": {"x": 1},
    }
    assert "time" not in json.loads(an_event(time=None).payload())


@pytest.mark.parametrize(
    ("past_s", "offset_s", "code"),
    [
        (None, -(10**9), None),
        (None, 300, None),
        (None, 300.000001, "time_in_future"),
        (60, -60, None),
        (60, -60.000001, "time_too_old"),
    ],
)
def test_the_accept_window(past_s: int | None, offset_s: float, code: str | None) -> None:
    accept = AcceptWindow(past=None if past_s is None else timedelta(seconds=past_s))
    reasons = accept.refusals(NOW + timedelta(seconds=offset_s), NOW)
    assert [reason.code for reason in reasons] == ([code] if code else [])


def test_the_month_of_an_event_is_utc() -> None:
    assert month_of(datetime(2025, 2, 28, 23, 59, tzinfo=UTC)).isoformat() == "2025-02-01"
