"""Meters for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from services.metering.domain.meter import Aggregation, Meter, new_meter


def a_meter(
    code: str = "minutes",
    *,
    aggregation: Aggregation = "sum",
    value: str | None = "/minutes",
    group_by: Sequence[str] = (),
    filter: Mapping[str, Sequence[str]] | None = None,
    bucket_s: int = 900,
    event_type: str = "flight.landed",
) -> Meter:
    return new_meter(
        id=f"mtr_{code}",
        code=code,
        event_type=event_type,
        aggregation=aggregation,
        value=None if aggregation == "count" else value,
        group_by=group_by,
        filter=filter or {},
        unit=None,
        description=None,
        bucket_s=bucket_s,
        created_at=datetime(2025, 1, 1, tzinfo=UTC),
    )
