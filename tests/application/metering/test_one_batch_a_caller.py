"""Requests that share a commit: whose changes they are."""

from __future__ import annotations

from datetime import UTC, datetime

from services.metering.application.ingest_usage_events import UsageBatch, one_batch_a_caller

FIRST, SECOND = datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 6, 2, tzinfo=UTC)


def test_requests_of_one_caller_become_one_batch_and_keep_their_arrivals() -> None:
    batches = [
        UsageBatch("b1", "token:ada", FIRST, ()),
        UsageBatch("b2", "token:bob", FIRST, ()),
        UsageBatch("b3", "token:ada", SECOND, ()),
    ]
    assert one_batch_a_caller(batches, lambda: "made") == [
        UsageBatch("b1", "token:ada", FIRST, ()),
        UsageBatch("b2", "token:bob", FIRST, ()),
        UsageBatch("b1", "token:ada", SECOND, ()),
    ]
