"""What metering decided, as the events that others read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from libs.common.contracts.metering import (
    ChangedEventV1,
    MeterDefinedV1,
    MeterReadingHeldV1,
    TrueUpV1,
    UsageBalanceUpdatedV1,
    UsageCorrectedV1,
    UsageDifferenceV1,
    UsageDigestV1,
    UsageThresholdReachedV1,
    UsageTotalV1,
    UsageWindowClosedV1,
    UsageWindowSealedV1,
)
from services.metering.domain.late_usage import WindowCorrection
from services.metering.domain.meter import Aggregation, Meter
from services.metering.domain.reading_exception import ReadingException
from services.metering.domain.usage_alert import Firing, UsageAlert
from services.metering.domain.usage_balance import UsageBalance
from services.metering.domain.usage_seal import UsageDigest
from services.metering.domain.usage_window import UsageTotal, UsageWindow


def for_meter(meter: Meter, *, tenant: str) -> MeterDefinedV1:
    return MeterDefinedV1(
        tenant=tenant,
        version=meter.version,
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


def for_corrected(correction: WindowCorrection, window: UsageWindow, *, tenant: str) -> UsageCorrectedV1:
    """`window` as the correction has made it."""
    return UsageCorrectedV1(
        tenant=tenant,
        version=correction.revision + 1,
        occurred_at=correction.corrected_at,
        test_clock=window.clock_id,
        window_id=correction.window_id,
        subscription_id=correction.subscription_id,
        period_index=correction.period_index,
        revision=correction.revision,
        window_start=correction.window_start,
        window_end=correction.window_end,
        before=_told(correction.before),
        totals=_told(correction.totals),
        differences=tuple(
            UsageDifferenceV1(
                item_id=difference.item_id,
                meter=difference.meter,
                quantity=difference.quantity,
                event_count=difference.event_count,
                price_id=difference.price_id,
            )
            for difference in correction.differences
        ),
        events=tuple(
            ChangedEventV1(source=event.source, event_id=event.event_id, cause=event.cause)
            for event in correction.events.first
        ),
        changed_event_count=correction.events.count,
        policy=correction.policy,
        is_billable=correction.is_billable,
    )


def for_sealed(
    window: UsageWindow, digests: Sequence[UsageDigest], *, tenant: str, now: datetime
) -> UsageWindowSealedV1:
    """`digests` are those of one seal."""
    return UsageWindowSealedV1(
        tenant=tenant,
        version=digests[0].seal,
        occurred_at=now,
        test_clock=window.clock_id,
        window_id=window.id,
        subscription_id=window.subscription_id,
        period_index=window.period_index,
        revision=window.revision,
        seal=digests[0].seal,
        digests=tuple(
            UsageDigestV1(
                item_id=digest.item_id,
                meter=digest.meter,
                quantity=digest.quantity,
                event_count=digest.event_count,
                leaf_count=digest.leaf_count,
                root=digest.root.hex(),
                price_id=digest.price_id,
            )
            for digest in digests
        ),
    )


def for_exception(exception: ReadingException, *, tenant: str) -> MeterReadingHeldV1:
    return MeterReadingHeldV1(
        tenant=tenant,
        occurred_at=exception.opened_at,
        exception_id=exception.id,
        kind=exception.kind,
        meter=exception.meter,
        subject=exception.subject,
        reading_id=exception.reading_id,
        told=exception.told,
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


def for_firing(
    alert: UsageAlert, firing: Firing, window: UsageWindow, *, tenant: str, now: datetime, as_of: datetime
) -> UsageThresholdReachedV1:
    return UsageThresholdReachedV1(
        tenant=tenant,
        occurred_at=now,
        test_clock=window.clock_id,
        alert_id=alert.id,
        subscription_id=alert.subscription_id,
        customer_id=alert.customer_id,
        item_id=firing.item_id,
        meter=alert.meter,
        period_index=window.period_index,
        period_start=window.window_start,
        period_end=window.window_end,
        threshold=firing.mark.threshold,
        percent=firing.mark.percent,
        limit=alert.limit,
        quantity=firing.quantity,
        as_of=as_of,
    )


def _told(totals: Sequence[UsageTotal]) -> tuple[UsageTotalV1, ...]:
    return tuple(
        UsageTotalV1(
            item_id=t.item_id,
            meter=t.meter,
            quantity=t.quantity,
            event_count=t.event_count,
            price_id=t.price_id,
            estimated_quantity=t.estimated_quantity,
            true_ups=tuple(
                TrueUpV1(
                    subject=true_up.subject,
                    start=true_up.start,
                    end=true_up.end,
                    actual_quantity=true_up.actual_quantity,
                    estimated_quantity=true_up.estimated_quantity,
                )
                for true_up in t.true_ups
            ),
        )
        for t in totals
    )
