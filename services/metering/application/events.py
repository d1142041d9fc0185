"""What metering decided, as the events that others read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from libs.common.contracts.metering import (
    MeterDefinedV1,
    UsageCorrectedV1,
    UsageTotalV1,
    UsageWindowClosedV1,
)
from services.metering.domain.meter import Meter
from services.metering.domain.usage_window import UsageTotal, UsageWindow


def for_meter(meter: Meter, *, tenant: str) -> MeterDefinedV1:
    return MeterDefinedV1(
        tenant=tenant,
        version=1,
        occurred_at=meter.created_at,
        meter_id=meter.id,
        code=meter.code,
        aggregation=meter.aggregation,
        unit=meter.unit,
    )


def for_closed(window: UsageWindow, *, tenant: str, now: datetime) -> UsageWindowClosedV1:
    return UsageWindowClosedV1(
        tenant=tenant,
        version=window.revision + 1,
        occurred_at=now,
        test_clock=window.clock_id,
        window_id=window.id,
        subscription_id=window.subscription_id,
        period_index=window.period_index,
        window_start=window.window_start,
        window_end=window.window_end,
        totals=_told(window.totals),
    )


def for_corrected(
    window: UsageWindow, before: Sequence[UsageTotal], *, tenant: str, now: datetime
) -> UsageCorrectedV1:
    return UsageCorrectedV1(
        tenant=tenant,
        version=window.revision + 1,
        occurred_at=now,
        test_clock=window.clock_id,
        window_id=window.id,
        subscription_id=window.subscription_id,
        period_index=window.period_index,
        revision=window.revision,
        window_start=window.window_start,
        window_end=window.window_end,
        before=_told(before),
        totals=_told(window.totals),
    )


def _told(totals: Sequence[UsageTotal]) -> tuple[UsageTotalV1, ...]:
    return tuple(
        UsageTotalV1(item_id=t.item_id, meter=t.meter, quantity=t.quantity, event_count=t.event_count)
        for t in totals
    )
