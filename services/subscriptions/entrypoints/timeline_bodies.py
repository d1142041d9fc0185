"""Answers about what happened to a subscription."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from libs.common.web.bodies import Instant, StrictBody
from services.subscriptions.domain.timeline_entry import TimelineEntry


class TimelineEntryBody(StrictBody):
    """`about` is the id of what it names: an invoice, a payment attempt, a window of usage, a receipt.

    `trace_id` leads to the trace of it (`/ops/traces/{trace_id}` for operators).
    """

    id: str = Field(examples=["tle_01jz3v6m1qk0c8n4r2d5s7t9wx"])
    at: Instant
    event: str = Field(examples=["SubscriptionRenewed"])
    words: str = Field(examples=["Renewed; period 3, 2026-04-01 until 2026-05-01"])
    about: str | None = Field(examples=[None])
    trace_id: str | None = Field(examples=["0af7651916cd43dd8448eb211c80319c"])

    @classmethod
    def from_domain(cls, entry: TimelineEntry) -> Self:
        return cls(**{name: getattr(entry, name) for name in cls.model_fields})
