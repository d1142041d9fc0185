"""Meters for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from services.metering.domain.meter import NO_OPTIONS, Aggregation, Meter, MeterOptions, new_meter


def a_meter(
    code: str = "minutes",
    *,
    aggregation: Aggregation = "sum",
    value: str | None = "/minutes",
    group_by: Sequence[str | tuple[str, str]] = (),
    filter: Mapping[str, Sequence[str | None]] | None = None,
    bucket_s: int = 900,
    event_type: str = "flight.landed",
    value_expression: str | None = None,
    exclude: Sequence[Mapping[str, Sequence[str | None]]] = (),
    filter_expression: str | None = None,
    options: MeterOptions = NO_OPTIONS,
) -> Meter:
    return new_meter(
        id=f"mtr_{code}",
        code=code,
        event_type=event_type,
        aggregation=aggregation,
        value=None if aggregation == "count" or value_expression else value,
        group_by=group_by,
        filter=filter or {},
        unit=None,
        description=None,
        bucket_s=bucket_s,
        created_at=datetime(2025, 1, 1, tzinfo=UTC),
        value_expression=value_expression,
        exclude=exclude,
        filter_expression=filter_expression,
        options=options,
    )
