"""A gateway's word that something happened to one of its things. What happened is asked for when it is worked off."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

SubjectKind = Literal["payment", "refund", "dispute", "method"]

PAUSE_MAX = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class GatewayEvent:
    """`event_id` is the gateway's: the same one again is no other event. `our_id` is the attempt or the refund that it is
    about. `due_at` and `retry_at` are the wall's; done ones are due no more.
    """

    id: str
    gateway: str
    account: str
    event_id: str
    type: str
    subject_kind: SubjectKind
    subject_id: str
    our_id: str | None
    happened_at: datetime
    created_at: datetime
    due_at: datetime | None
    attempts: int = 0
    retry_at: datetime | None = None
    done_at: datetime | None = None
    last_error: str | None = None
    traceparent: str | None = None


def taken_up(event: GatewayEvent, *, now: datetime, until: datetime) -> GatewayEvent:
    """While it is worked off nobody else looks at it: until `until`, and longer each time that it was in vain."""
    pause = min(timedelta(seconds=2 ** min(event.attempts, 12)), PAUSE_MAX)
    rest = max(until, now + pause) if event.attempts else until
    return replace(event, retry_at=rest, attempts=event.attempts + 1)


def let_go(event: GatewayEvent) -> GatewayEvent:
    """It was not worked off after all: it is due again at once."""
    return replace(event, retry_at=None, attempts=max(0, event.attempts - 1))


def worked_off(event: GatewayEvent, *, now: datetime) -> GatewayEvent:
    return replace(event, due_at=None, retry_at=None, done_at=now)
