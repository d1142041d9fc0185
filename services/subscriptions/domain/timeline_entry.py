"""What happened to a subscription, in the order in which it did, for people to read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """`at` is business time. `event` is the type of the event that told of it, `about` the id of what it names: an
    invoice, a payment attempt, a window of usage; `trace_id` leads to the trace that it happened in."""

    id: str
    subscription_id: str
    at: datetime
    event: str
    words: str
    about: str | None
    trace_id: str | None
