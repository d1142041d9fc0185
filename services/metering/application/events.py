"""What metering decided, as the events that others read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from libs.common.contracts.metering import (
    MeterDefinedV1,
    UsageBalanceUpdatedV1,
    UsageCorrectedV1,
    UsageTotalV1,
    UsageWindowClosedV1,
)
from services.metering.domain.meter import Aggregation, Meter
from services.metering.domain.usage_balance import UsageBalance
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


def for_balance(
    balance: UsageBalance,
    window: UsageWindow,
    total: UsageTotal,
    *,
    aggregation: Aggregation,
    tenant: str,
    now: datetime,
    as_of: datetime,
) -> UsageBalanceUpdatedV1:
    return UsageBalanceUpdatedV1(
        tenant=tenant,
        version=balance.version,
        occurred_at=now,
        test_clock=window.clock_id,
        subscription_id=window.subscription_id,
        item_id=balance.item_id,
        meter=total.meter,
        period_index=window.period_index,
        period_start=window.window_start,
        period_end=window.window_end,
        quantity=total.quantity,
        as_of=as_of,
        aggregation=aggregation,
    )


def _told(totals: Sequence[UsageTotal]) -> tuple[UsageTotalV1, ...]:
    return tuple(
        UsageTotalV1(
            item_id=t.item_id,
            meter=t.meter,
            quantity=t.quantity,
            event_count=t.event_count,
            price_id=t.price_id,
        )
        for t in totals
    )
